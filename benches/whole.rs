//! Measures the cost of a whole task, from its submit to its end: `cargo bench --bench whole`
//!
//! Connections send one question after the other and read the whole answer, three texts that the upstream sends at
//! once: as one completion (`blocking`), or as a stream over a separate connection (`streaming`). Server, upstream and
//! generator are separate processes, over sockets.
//!
//! Options, after `--`: `--seconds N` a round (3), `--rounds N` (3), `--connections N` (64).
//!
//! # How to read the figures
//!
//! - CPU is the server's for one task: it accepts the submit, makes it durable, calls the upstream, writes the answer
//!   to its journal, returns it, and makes the end durable. A figure is the median of its rounds.
//! - The upstream sends its last event 20 ms after its texts. The latency includes that time, and the time that a task
//!   waits for a core.
//!
//! # When it refuses to print figures
//!
//! - An answer is not whole.
//! - The generator was the bottleneck: it ran, or was ready to run and had no core, half of the time or more.
#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]
#![expect(clippy::print_stderr, reason = "progress is not a result")]

mod support;

use std::fmt;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::bench::{Findings, cores, run};
use support::helper::{Helper, played};
use support::kit::client::Connection;
use support::load::LoadOptions;
use support::overhead::upstream::Upstream;
use support::proc::{Attention, Stretch};
use support::request::{MODEL, short};
use support::server::{Server, settle};
use support::statistics::{Durations, Spread, median};
use support::tasks::unexpected;
use support::{Error, Outcome};

/// The default number of rounds of each row.
const ROUNDS: usize = 3;
/// The time at the start that is not counted: it includes the first connections, allocations and pages of a fresh
/// server.
const WARM_UP: Duration = Duration::from_millis(500);
/// The number of texts in an answer.
const TEXTS: u64 = 3;
/// The limit for the share of the time in which the generator was busy, or ready to run without a core.
const MOST_FOR_GENERATOR: f64 = 0.5;

/// How the answer is read.
#[derive(Debug, Clone, Copy)]
enum Answer {
    Blocking,
    Streaming,
}

/// The results of one round.
#[derive(Debug)]
struct Round {
    /// Tasks per second.
    rate: f64,
    /// The server's CPU for one task, in microseconds.
    cpu: f64,
    latency: Spread,
}

/// All rounds of each row.
#[derive(Debug)]
struct Whole {
    rows: Vec<(&'static str, Vec<Round>)>,
    connections: usize,
}

fn main() -> ExitCode {
    played(Upstream::play)
        .unwrap_or_else(|| run("whole", |arguments| LoadOptions::read(arguments, ROUNDS), measure))
}

fn measure(options: &LoadOptions) -> Outcome<Whole> {
    let mut upstream =
        Helper::start(&Upstream { answers_after: Duration::ZERO, texts: TEXTS, interval: Duration::ZERO })?;
    let gemini: SocketAddr = upstream.hear()?;
    let mut rows = Vec::new();
    for (name, answer) in [("blocking", Answer::Blocking), ("streaming", Answer::Streaming)] {
        let mut rounds = Vec::new();
        for round in 1..=options.rounds {
            rounds.push(one_round(options, answer, gemini)?);
            eprintln!("{name}, round {round} of {}: every answer was whole", options.rounds);
        }
        rows.push((name, rounds));
    }
    Ok(Whole { rows, connections: options.connections })
}

fn one_round(options: &LoadOptions, answer: Answer, gemini: SocketAddr) -> Outcome<Round> {
    let server = Server::start(|_| settings(gemini))?;
    let request = short(matches!(answer, Answer::Streaming), true)?;
    let (counts, over) = (AtomicBool::new(false), AtomicBool::new(false));
    let (measured, parts) = thread::scope(|scope| {
        let ask = || ask(answer, server.address(), &request, &counts, &over);
        let threads: Vec<_> = (0..options.connections).map(|_| scope.spawn(ask)).collect();
        thread::sleep(WARM_UP);
        let (began, before) = (Instant::now(), server.cpu_time());
        counts.store(true, Ordering::Release);
        thread::sleep(options.length);
        counts.store(false, Ordering::Release);
        let measured = (began.elapsed(), before, server.cpu_time());
        over.store(true, Ordering::Release);
        let parts = threads.into_iter().map(|thread| thread.join().map_err(|_| "a thread panicked")?);
        Ok::<_, Error>((measured, parts.collect::<Outcome<Vec<_>>>()?))
    })?;
    let (time, before, after) = measured;
    let generator = Attention::sum(parts.iter().map(|(_, attention)| *attention)).share();
    if generator >= MOST_FOR_GENERATOR {
        return Err(
            format!("the generator was the bottleneck: {:.0} % of the time", generator * 100.0).into()
        );
    }
    let mut latencies = Durations::new()?;
    let tasks: usize = parts.iter().map(|(latencies, _)| latencies.len()).sum();
    for latency in parts.iter().flat_map(|(latencies, _)| latencies) {
        latencies.add(u64::try_from(latency.as_nanos())?);
    }
    server.end()?.close()?;
    settle()?;
    Ok(Round {
        rate: tasks as f64 / time.as_secs_f64(),
        cpu: after?.saturating_sub(before?).as_secs_f64() * 1e6 / tasks as f64,
        latency: latencies.spread(),
    })
}

/// Sends one question after the other, and returns the latencies of those that ended while `counts` is set.
fn ask(
    answer: Answer,
    server: SocketAddr,
    request: &[u8],
    counts: &AtomicBool,
    over: &AtomicBool,
) -> Outcome<(Vec<Duration>, Attention)> {
    let mut latencies = Vec::new();
    let mut connection = Connection::open(server)?;
    let stretch = Stretch::begin()?;
    while !over.load(Ordering::Acquire) {
        let sent = Instant::now();
        let reply = connection.exchange(request)?;
        let is_whole = match answer {
            Answer::Blocking => reply.body.ends_with(b"}"),
            Answer::Streaming => reply.body.ends_with(b"data: [DONE]\n\n"),
        };
        if reply.head.status != 200 || !is_whole {
            return Err(unexpected(&reply));
        }
        if counts.load(Ordering::Acquire) {
            latencies.push(sent.elapsed());
        }
        if let Answer::Streaming = answer {
            // A stream is the last answer of its connection.
            connection = Connection::open(server)?;
        }
    }
    Ok((latencies, stretch.end()?))
}

fn settings(gemini: SocketAddr) -> String {
    format!(
        "[[channels]]\nkind = \"gemini\"\nbase_url = \"http://{gemini}/v1beta\"\napi_key = \"bench\"\n\
         models = [\"{MODEL}\"]\nmax_running_tasks = 1000\nmax_retries = 0\n"
    )
}

impl Whole {
    /// Returns the medians of a row: tasks per second, CPU of one in microseconds, p50 and p99 in milliseconds.
    fn figures(rounds: &[Round]) -> [f64; 4] {
        let figure = |of: fn(&Round) -> f64| median(rounds.iter().map(of));
        [
            figure(|round| round.rate),
            figure(|round| round.cpu),
            figure(|round| round.latency.p50),
            figure(|round| round.latency.p99),
        ]
    }
}

impl Findings for Whole {
    fn json(&self) -> Value {
        let rows = self.rows.iter().map(|(name, rounds)| {
            let [rate, cpu, p50, p99] = Self::figures(rounds);
            json!({"answer": name, "tasks_per_s": rate, "cpu_us": cpu, "p50_ms": p50, "p99_ms": p99})
        });
        json!({"cores": cores(), "connections": self.connections, "rows": rows.collect::<Vec<_>>()})
    }
}

impl fmt::Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Whole tasks, from the submit to the end of an answer of {TEXTS} texts; {} connections, {} cores.\n\n\
             {:>9} |  tasks/s  CPU us   p50 ms   p99 ms",
            self.connections,
            cores(),
            ""
        )?;
        for (name, rounds) in &self.rows {
            let [rate, cpu, p50, p99] = Self::figures(rounds);
            writeln!(f, "{name:>9} |{rate:>9.0}{cpu:>8.0}{p50:>9.1}{p99:>9.1}")?;
        }
        Ok(())
    }
}
