//! Measures how much later a text arrives through hearken: `cargo bench --bench overhead`
//!
//! Sends an upstream the same question directly and through hearken, in turns: a synchronous stream, one at a time. The
//! upstream answers after 20 ms and stamps each text when it makes it. The benchmark measures the time to the first
//! text, which includes all that hearken does with a submit, and the transit time of each of the others. Upstream and
//! server are separate processes, over sockets; each question has a fresh connection, which is established before the
//! clock starts.
//!
//! Options, after `--`: `--pairs N` (200), `--texts N` of each answer (20), `--rate N` of them per second (200).
//!
//! # How to read the figures
//!
//! - `added` is the difference of the p50s. `paired` is the median of the differences between a direct question and the
//!   question through hearken next to it.
//! - The first time includes the upstream's 20 ms on both sides. Through hearken it also includes a commit: hearken
//!   calls no upstream before the task is durable. `submit` measures disks.
//! - A direct client opens its own connection to the upstream; hearken keeps its connections open, as a service does.
//! - Every process sleeps most of the time. Where other processes use the machine, wake-ups take longer; a question
//!   through hearken needs three wake-ups, a direct one two.
//!
//! # When it refuses to print figures
//!
//! - A text was missing or came again, or an answer did not end as it should.
//! - The generator was the bottleneck: it ran, or was ready to run and had no core, half of the time or more.
//! - The upstream was the bottleneck: one in a hundred of its texts was 10 ms late or more.
#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]
#![expect(clippy::print_stderr, reason = "progress is not a result")]

mod support;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use support::Outcome;
use support::arguments::Arguments;
use support::bench::run;
use support::helper::{Helper, played};
use support::kit::frames::Ends;
use support::overhead::added::Added;
use support::overhead::ask::Question;
use support::overhead::upstream::Upstream;
use support::request::{MODEL, short, to_gemini};
use support::server::Server;
use support::statistics::Spread;

/// The time until the upstream answers.
const ANSWERS_AFTER: Duration = Duration::from_millis(20);
/// The number of pairs that are not counted: they include the first connections, allocations and pages of a fresh
/// server.
const WARM_UP: usize = 10;

/// The options of the command line.
struct Options {
    pairs: usize,
    texts: u32,
    rate: u32,
}

impl Options {
    fn read(arguments: &Arguments) -> Outcome<Self> {
        Ok(Self {
            pairs: arguments.number("--pairs", 1)?.unwrap_or(200),
            texts: arguments.number("--texts", 1)?.unwrap_or(20),
            rate: arguments.number("--rate", 1)?.unwrap_or(200),
        })
    }
}

fn main() -> ExitCode {
    played(Upstream::play).unwrap_or_else(|| run("overhead", Options::read, measure))
}

fn measure(options: &Options) -> Outcome<Added> {
    let texts = u64::from(options.texts);
    let interval = Duration::from_secs(1) / options.rate;
    let mut upstream = Helper::start(&Upstream { answers_after: ANSWERS_AFTER, texts, interval })?;
    let gemini: SocketAddr = upstream.hear()?;
    let server = Server::start(|_| settings(gemini))?;
    let straight = Question { server: gemini, request: to_gemini()?, ends: Ends::returns(), texts };
    let through =
        Question { server: server.address(), request: short(true, true)?, ends: Ends::feeds(), texts };
    let mut pairs = Vec::new();
    for pair in 0..WARM_UP + options.pairs {
        // The two sides take turns in being first.
        let answers = if pair % 2 == 0 {
            (straight.ask()?, through.ask()?)
        } else {
            let through = through.ask()?;
            (straight.ask()?, through)
        };
        if pair >= WARM_UP {
            pairs.push(answers);
        }
    }
    eprintln!("{} pairs of answers: every text came once", pairs.len());
    upstream.go()?;
    let late: Spread = upstream.hear()?;
    Added::of(&pairs, late.p99)
}

fn settings(gemini: SocketAddr) -> String {
    format!(
        "[[channels]]\nkind = \"gemini\"\nbase_url = \"http://{gemini}/v1beta\"\napi_key = \"bench\"\n\
         models = [\"{MODEL}\"]\nmax_retries = 0\n"
    )
}
