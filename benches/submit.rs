//! Measures the cost of durability for a submit: `cargo bench --bench submit`
//!
//! Measures how many asynchronous submits per second the server acknowledges durably, and compares it with the same
//! server with `store.sync = false`, where the system decides when data reaches the disk. Both are the real program in
//! a separate process, over sockets, on a real disk. Their rounds take turns, and each begins with an empty data
//! directory. The channel runs at most one task, at an upstream that never answers, so only acceptance is measured.
//!
//! Options, after `--`: `--seconds N` a round (3), `--rounds N` of each server in each row (5), `--connections N` for
//! small bodies (64; for 1 MB at most 16 of them, for 15 MB at most 8).
//!
//! # How to read the figures
//!
//! - A figure is the median of its rounds. The ratio is the median of the ratios of neighbouring rounds, so that a slow
//!   minute of the machine affects both sides; its range is beside it.
//! - Server CPU is what the kernel charges to the process. The kernel's own threads, which do part of the work of an
//!   fsync, are charged to no process.
//! - Generator and server share the machine: if few cores are all busy, both sides reach fewer submits per second than
//!   the server could alone. Other processes on the machine reduce them further; the report shows it.
//! - ext4 without a journal creates files slowly for five minutes after many were deleted: on such a disk, wait that
//!   long between two runs.
//!
//! # When it refuses to print figures
//!
//! - The data directory would be in memory: an fsync is free there.
//! - A reply is not `200` with a task's id.
//! - An acknowledged task is lost. Each round of the durable server ends with SIGKILL in the middle of its load; the
//!   server is started again and must list every task that it had acknowledged. (This does not show that a commit waits
//!   for the disk: only a loss of power could. The crash simulation in `tests/crash` also checks the audio of the
//!   tasks.)
//! - The generator was the bottleneck. Each connection has its own thread, so at each moment it waits either for the
//!   server or for the generator: for the generator when its thread runs, or is ready to run and has no core
//!   ([`Attention`](support::proc::Attention) is the kernel's account of both). A row is valid if, in the median of its
//!   rounds, the connections waited mostly for the server, and the generator used less CPU than the server.
#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]
#![expect(clippy::print_stderr, reason = "progress is not a result")]

mod support;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use support::Outcome;
use support::bench::{place, run};
use support::load::{Load, LoadOptions, Worked};
use support::proc::disk;
use support::report::{Report, Row, Side};
use support::request::{MODEL, submit};
use support::server::{Server, settle};
use support::tasks::listed;
use tempfile::TempDir;

/// The default number of rounds of each row.
const ROUNDS: usize = 5;
/// The time at the start that is not counted: it includes the first connections, allocations and pages of a fresh
/// server.
const WARM_UP: Duration = Duration::from_millis(500);

/// The largest body whose rounds keep their data until the end: it takes little room, and some file systems create
/// files slowly after many were deleted.
const KEPT_BODY: usize = 10_000;

/// A size of request bodies: one row of the table.
struct BodySize {
    name: &'static str,
    /// The bytes of the request's body.
    bytes: usize,
    most_connections: usize,
}

const BODY_SIZES: [BodySize; 3] = [
    // A WAV of about 1 kB.
    BodySize { name: "small", bytes: 1_500, most_connections: usize::MAX },
    BodySize { name: "1 MB", bytes: 1_000_000, most_connections: 16 },
    BodySize { name: "15 MB", bytes: 15_000_000, most_connections: 8 },
];

fn main() -> ExitCode {
    run("submit", |arguments| LoadOptions::read(arguments, ROUNDS), measure)
}

fn measure(options: &LoadOptions) -> Outcome<Report> {
    let file_system = disk(place())?;
    let mut rows = Vec::new();
    let mut kept = Vec::new();
    for body in BODY_SIZES {
        let connections = options.connections.min(body.most_connections);
        let mut row = Row::new(body.name, body.bytes, connections);
        let load =
            Load { request: submit(body.bytes)?, connections, warm_up: WARM_UP, length: options.length };
        for round in 1..=options.rounds {
            for side in [Side::Synced, Side::Unsynced] {
                let (worked, directory) = one_round(&load, side)?;
                if body.bytes <= KEPT_BODY {
                    kept.push(directory);
                } else {
                    directory.close()?;
                }
                settle()?;
                eprintln!(
                    "{}, {side}, round {round} of {}: all {} acknowledged tasks are there",
                    body.name,
                    options.rounds,
                    worked.acknowledged.len()
                );
                row.add(side, &worked);
            }
        }
        rows.push(row);
    }
    Ok(Report { rows, file_system, rounds: options.rounds, seconds: options.length.as_secs() })
}

/// Returns settings whose timeouts are longer than the benchmark, with room for all its tasks.
fn settings(silent: SocketAddr, sync: bool) -> String {
    format!(
        "[[channels]]\nkind = \"gemini\"\nbase_url = \"http://{silent}\"\napi_key = \"silent\"\n\
         models = [\"{MODEL}\"]\nmax_running_tasks = 1\nmax_retries = 0\n\
         first_chunk_timeout_ms = 86400000\ntotal_timeout_ms = 86400000\n\
         [limits]\nmax_pending_tasks = 100000000\nmax_spool_bytes = 1000000000000\n\
         [store]\nsync = {sync}\n"
    )
}

/// Loads a fresh server, kills it under load, and checks that the restarted server lists what it had acknowledged.
/// Returns the results and the server's directory.
fn one_round(load: &Load, side: Side) -> Outcome<(Worked, TempDir)> {
    let mut server = Server::start(|silent| settings(silent, side == Side::Synced))?;
    let worked = load.put_on(&mut server)?;
    // Data that reached the system survives a SIGKILL, also on the server that does not sync.
    server.restart()?;
    let known = listed(server.address())?;
    let lost = worked.acknowledged.iter().filter(|id| !known.contains(id)).count();
    if lost > 0 {
        let all = worked.acknowledged.len();
        return Err(format!("{lost} of {all} acknowledged tasks are lost after SIGKILL ({side})").into());
    }
    Ok((worked, server.end()?))
}
