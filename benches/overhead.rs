//! How much later does a text come through hearken? `cargo bench --bench overhead`
//!
//! Asks an upstream the same question straight and through hearken, in turns: a synchronous stream, one at a time. The
//! upstream answers after 20 ms and stamps each text when it makes it. What is measured is the time to the first text,
//! which holds all that hearken does with a submit, and the time that each of the others was under way. Upstream and
//! server are processes of their own, over sockets; each question has a fresh connection, which is up before the clock
//! starts.
//!
//! Options, after `--`: `--pairs N` (200), `--texts N` of each answer (20), `--rate N` of them per second (200).
//!
//! # How to read it
//!
//! - `added` is the difference of the p50s, `paired` the median of the differences between a question that was asked
//!   straight and the one that was asked through hearken next to it.
//! - The first time holds the upstream's 20 ms on both sides. Through hearken it holds a commit, too: no upstream is
//!   asked before the task is durable. `submit` measures disks.
//! - Whoever asks straight has an upstream's connection of its own; hearken keeps its own open, as a service does.
//! - Every process sleeps most of the time. Where others use the machine, waking up takes longer, and three have to wake
//!   up through hearken where two do without.
//!
//! # What makes it refuse
//!
//! - A text was missing or came again, or an answer did not end as it should.
//! - The generator was the bottleneck: it ran, or was ready to run and had no core, half of the time or more.
//! - The upstream was the bottleneck: of its texts one in a hundred was 10 ms late or more.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it found")]
#![expect(clippy::print_stderr, reason = "how far it has come is no finding")]

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

/// How long the upstream thinks.
const ANSWERS_AFTER: Duration = Duration::from_millis(20);
/// Not counted: the first connections, allocations and pages of a fresh server.
const WARM_UP: usize = 10;

/// What may be chosen.
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
    let straight = Question { whom: gemini, request: to_gemini()?, ends: Ends::returns(), texts };
    let through =
        Question { whom: server.address(), request: short(true, true)?, ends: Ends::feeds(), texts };
    let mut pairs = Vec::new();
    for pair in 0..WARM_UP + options.pairs {
        // Neither is always the first.
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
