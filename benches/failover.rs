//! Measures what a failing upstream costs the clients: `cargo bench --bench failover`
//!
//! Runs thousands of tasks over two channels, one of which fails half of its calls at random, and measures how much
//! longer the tasks take than over two working channels. The tasks are blocking calls, many at a time; the upstreams
//! are `hearken fake-upstream`s. Server, upstreams and clients are separate processes.
//!
//! Options, after `--`: `--tasks N` in each row (5000), `--connections N` (64).
//!
//! # How to read the figures
//!
//! - `added` is the difference of the mean to that of the first row with the same order of channels, where both work.
//! - A failed call is repeated after a pause of 250 to 500 ms, or at once on the other channel if the breaker of the
//!   failing one is open. This is the added time.
//!
//! # When it refuses to print figures
//!
//! - A task did not complete, or its text is not the whole text of its answer.
//! - Two answers have the same id.
//! - The upstreams gave more good answers than there were tasks: then one task was paid for twice.
#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]
#![expect(clippy::print_stderr, reason = "progress is not a result")]

mod support;

use std::collections::HashSet;
use std::fmt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use hearken::fake_upstream::text::whole;
use serde::Deserialize;
use serde_json::{Value, json};

use support::bench::{Findings, run};
use support::kit::fault_upstream::FaultUpstream;
use support::many_tasks::ManyTasks;
use support::request::{MODEL, short};
use support::server::Server;
use support::{Error, Outcome};

/// The number of texts in an answer, unless its script states another.
const CHUNKS: u64 = 5;

/// The relation of the failing channel to the other one, and how it fails.
struct Case {
    name: &'static str,
    /// True if the failing channel is preferred; false if both share the calls.
    preferred: bool,
    /// The script of its calls; `None`: it works.
    script: Option<&'static str>,
}

const CASES: [Case; 6] = [
    Case { name: "equal, both work", preferred: false, script: None },
    Case { name: "equal, half 500", preferred: false, script: Some("500") },
    Case { name: "equal, half cut", preferred: false, script: Some("cut=0") },
    Case { name: "preferred, both work", preferred: true, script: None },
    Case { name: "preferred, half 500", preferred: true, script: Some("500") },
    Case { name: "preferred, half cut", preferred: true, script: Some("cut=0") },
];

fn main() -> ExitCode {
    run("failover", |arguments| ManyTasks::read(arguments, 5000), measure)
}

fn measure(options: &ManyTasks) -> Outcome<Table> {
    let mut rows: Vec<Row> = Vec::new();
    for case in &CASES {
        let row = one_case(case, options)?;
        eprintln!("{}: all {} tasks completed, none was answered twice", case.name, options.tasks);
        rows.push(row);
    }
    Ok(Table { rows, tasks: options.tasks, connections: options.connections })
}

fn one_case(case: &Case, options: &ManyTasks) -> Outcome<Row> {
    let options_of_it: Vec<&str> = match case.script {
        Some(script) => vec!["--script", script, "--rate", "0.5", "--seed", "7"],
        None => Vec::new(),
    };
    let (doubtful, good) = (FaultUpstream::start(&options_of_it)?, FaultUpstream::start(&[])?);
    let channel = |name: &str, upstream: &FaultUpstream, priority: u8| {
        format!(
            "[[channels]]\nname = \"{name}\"\nkind = \"gemini\"\nbase_url = \"{}\"\napi_key = \"any\"\n\
             models = [\"{MODEL}\"]\npriority = {priority}\n",
            upstream.gemini_url()
        )
    };
    let settings = channel("doubtful", &doubtful, case.preferred.into()) + &channel("good", &good, 0);
    let server = Server::start(|_| settings)?;
    let request = short(false, true)?;
    let expected = whole(CHUNKS, None);
    let began = Instant::now();
    let done = options.run(server.address(), |connection| {
        let sent = Instant::now();
        let reply = connection.exchange(&request)?;
        let took = sent.elapsed();
        let said = String::from_utf8_lossy(reply.body);
        if reply.head.status != 200 {
            return Err(format!("a task failed with {}: {said}", reply.head.status).into());
        }
        let completion: Completion = serde_json::from_str(&said)?;
        let text = completion.choices.first().map(|choice| choice.message.content.as_str());
        if text != Some(expected.as_str()) {
            return Err(format!("an answer is not whole: {said}").into());
        }
        Ok((took, completion.id))
    })?;
    let time = began.elapsed();
    let ids: HashSet<&str> = done.iter().map(|(_, id)| id.as_str()).collect();
    let good_answers = |upstream: &FaultUpstream| Ok::<_, Error>(upstream.stats()?["answered_well"].as_u64());
    let by_doubtful = good_answers(&doubtful)?.unwrap_or(0);
    let answers = by_doubtful + good_answers(&good)?.unwrap_or(0);
    if ids.len() != options.tasks || answers != options.tasks as u64 {
        let (tasks, ids) = (options.tasks, ids.len());
        return Err(format!("{}: {tasks} tasks, {ids} ids, {answers} good answers", case.name).into());
    }
    let log = server.log();
    let count = |what: &str| log.lines().filter(|line| line.contains(what)).count();
    let mut latencies: Vec<Duration> = done.into_iter().map(|(took, _)| took).collect();
    latencies.sort_unstable();
    Ok(Row {
        name: case.name,
        time,
        failed_calls: count("upstream call failed"),
        rests: count("it rests for a while"),
        by_doubtful,
        latencies,
        baseline: case.script.is_none(),
    })
}

#[derive(Deserialize)]
struct Completion {
    id: String,
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    content: String,
}

struct Row {
    name: &'static str,
    time: Duration,
    failed_calls: usize,
    /// How often the breaker of the channel opened.
    rests: usize,
    by_doubtful: u64,
    /// The latencies, in order.
    latencies: Vec<Duration>,
    baseline: bool,
}

impl Row {
    fn percentile(&self, percent: usize) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let latency = self.latencies.get((self.latencies.len() * percent / 100).min(last));
        latency.map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
    }

    fn mean(&self) -> f64 {
        self.latencies.iter().map(Duration::as_secs_f64).sum::<f64>() * 1e3 / self.latencies.len() as f64
    }
}

struct Table {
    rows: Vec<Row>,
    tasks: usize,
    connections: usize,
}

impl Table {
    /// Returns each row with the mean of the working channels that it is compared to.
    fn compared(&self) -> impl Iterator<Item = (&Row, f64)> {
        self.rows.iter().scan(f64::NAN, |baseline, row| {
            if row.baseline {
                *baseline = row.mean();
            }
            Some((row, *baseline))
        })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} tasks in each row, {} at a time; milliseconds\n", self.tasks, self.connections)?;
        f.write_str("          two channels  tasks/s      p50      p99      max")?;
        f.write_str("     mean    added  calls failed  rests  doubtful\n")?;
        for (row, baseline) in self.compared() {
            writeln!(
                f,
                "{:>22} {:>8.0} {:>8.1} {:>8.1} {:>8.1} {:>8.1} {:>8.1} {:>13} {:>6} {:>8.0}%",
                row.name,
                self.tasks as f64 / row.time.as_secs_f64(),
                row.percentile(50),
                row.percentile(99),
                row.percentile(100),
                row.mean(),
                row.mean() - baseline,
                row.failed_calls,
                row.rests,
                row.by_doubtful as f64 * 100.0 / self.tasks as f64,
            )?;
        }
        Ok(())
    }
}

impl Findings for Table {
    fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .compared()
            .map(|(row, baseline)| {
                json!({"channels": row.name, "seconds": row.time.as_secs_f64(), "p50_ms": row.percentile(50),
                    "p99_ms": row.percentile(99), "max_ms": row.percentile(100), "mean_ms": row.mean(),
                    "added_ms": row.mean() - baseline, "calls_failed": row.failed_calls, "rests": row.rests,
                    "answered_by_doubtful": row.by_doubtful})
            })
            .collect();
        json!({"tasks": self.tasks, "connections": self.connections, "rows": rows})
    }
}
