//! What does durability cost a submit? `cargo bench --bench submit`
//!
//! Measures how many asynchronous submits per second the server acknowledges durably, beside the very same
//! server with `store.sync = false`, which leaves it to the system when anything reaches the disk. Both are the
//! real program in a process of its own, over sockets, on a real disk; their rounds take turns, and each begins
//! with an empty data directory. The channel runs one task at most, at an upstream that never answers: what is
//! measured is acceptance alone.
//!
//! Options, after `--`: `--seconds N` a round (3), `--rounds N` of each server in each row (5),
//! `--connections N` for small bodies (64; 1 MB at most 16 of them, 15 MB at most 8).
//!
//! # How to read it
//!
//! - A figure is the median of its rounds. The ratio is the median of the ratios of neighbouring rounds, so that
//!   a slow minute of the machine hits both sides of it; its range stands beside it.
//! - Server CPU is what the kernel charges to the process. The kernel's own threads, which do part of the work
//!   of an fsync, are nobody's.
//! - Generator and server share the machine: where few cores are all busy, fewer submits per second than the
//!   server could do alone, on both sides. What others do on the machine costs more of them; the report says so.
//! - ext4 without a journal makes new files slowly for five minutes after many were deleted: on such a disk let
//!   them pass between two runs.
//!
//! # What makes it refuse
//!
//! - The data directory would lie in memory: an fsync is free there.
//! - A reply other than `200` with a task's id.
//! - An acknowledged task is lost. Each round of the durable server ends with SIGKILL in the middle of its load;
//!   it is started again and must list every task that it had acknowledged. (That a commit waits for the disk is
//!   not shown by this: only a machine that loses its power could. That their audio is there, too, is what the crash
//!   simulation of `tests/crash` checks.)
//! - The generator was the bottleneck. A connection has a thread of its own, so at each moment it waits either
//!   for the server or for the generator; the latter is when its thread runs, or is ready to run and has no core
//!   ([`Attention`](support::proc::Attention) is the kernel's account of both). A row stands when in the median
//!   of its rounds the connections waited mostly for the server, and the generator used less CPU than it did.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it found")]
#![expect(clippy::print_stderr, reason = "how far it has come is no finding")]

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

/// Rounds of each row, unless others are chosen.
const ROUNDS: usize = 5;
/// Not counted: the first connections, allocations and pages of a fresh server.
const WARM_UP: Duration = Duration::from_millis(500);

/// Rounds with bodies up to this many bytes leave their data where it is until the end: it takes little room, and
/// there are file systems that make files slowly when many were deleted just before.
const KEPT_BODY: usize = 10_000;

/// One row of the table.
struct Body {
    name: &'static str,
    /// Bytes of the request's body.
    bytes: usize,
    most_connections: usize,
}

const BODIES: [Body; 3] = [
    // A WAV of about 1 kB.
    Body { name: "small", bytes: 1_500, most_connections: usize::MAX },
    Body { name: "1 MB", bytes: 1_000_000, most_connections: 16 },
    Body { name: "15 MB", bytes: 15_000_000, most_connections: 8 },
];

fn main() -> ExitCode {
    run("submit", |arguments| LoadOptions::read(arguments, ROUNDS), measure)
}

fn measure(options: &LoadOptions) -> Outcome<Report> {
    let file_system = disk(place())?;
    let mut rows = Vec::new();
    let mut kept = Vec::new();
    for body in BODIES {
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

/// Whatever waits, waits longer than the benchmark, and there is room for all of it.
fn settings(silent: SocketAddr, sync: bool) -> String {
    format!(
        "[[channels]]\nkind = \"gemini\"\nbase_url = \"http://{silent}\"\napi_key = \"silent\"\n\
         models = [\"{MODEL}\"]\nmax_running_tasks = 1\nmax_retries = 0\n\
         first_chunk_timeout_ms = 86400000\ntotal_timeout_ms = 86400000\n\
         [limits]\nmax_pending_tasks = 100000000\nmax_spool_bytes = 1000000000000\n\
         [store]\nsync = {sync}\n"
    )
}

/// Loads a fresh server, kills it under its load, and asks its successor for what it had acknowledged. Returns
/// its directory, too.
fn one_round(load: &Load, side: Side) -> Outcome<(Worked, TempDir)> {
    let mut server = Server::start(|silent| settings(silent, side == Side::Synced))?;
    let worked = load.put_on(&mut server)?;
    // What the system was told about, it knows: also the server that does not sync survives a SIGKILL.
    server.restart()?;
    let known = listed(server.address())?;
    let lost = worked.acknowledged.iter().filter(|id| !known.contains(id)).count();
    if lost > 0 {
        let all = worked.acknowledged.len();
        return Err(format!("{lost} of {all} acknowledged tasks are lost after SIGKILL ({side})").into());
    }
    Ok((worked, server.end()?))
}
