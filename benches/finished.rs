//! Measures the memory of a finished task while its chunks are kept: `cargo bench --bench finished`
//!
//! Runs tens of thousands of streaming tasks to their end, within the retention of their chunks, and measures how the
//! server's resident memory grows from one half of them to the other. The bytes of the frames, as a subscriber reads
//! them, are subtracted from that growth: the rest is the cost of a task beside its frames. Three lengths of answers
//! show the cost of a frame beside its bytes. The server is the real program in a separate process, a fresh one for
//! each row, and its upstream is a `hearken fake-upstream`.
//!
//! Options, after `--`: `--tasks N` in each half of a row (25000), `--connections N` (64).
//!
//! # How to read the figures
//!
//! - The second half is compared with the first: after the first half, the buffers, threads and pages that any load
//!   needs exist already.
//! - Resident memory includes what the allocator does not give back, and unused space between frames.
//! - `a task` and `a frame` come from the straight line through the first and the last row: its beginning and its
//!   slope.
//!
//! # When it refuses to print figures
//!
//! - A task does not complete.
//! - A task of the first half, whose stream is read at the end, lacks some of its frames.
#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]
#![expect(clippy::print_stderr, reason = "progress is not a result")]

mod support;

use std::fmt;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use hearken::task::TaskId;
use serde_json::{Value, json};

use support::Outcome;
use support::bench::{Findings, cores, run};
use support::kit::fault_upstream::FaultUpstream;
use support::many_tasks::ManyTasks;
use support::proc::resident;
use support::request::{MODEL, short};
use support::server::Server;
use support::tasks::{acknowledged, completed, stream_of};

/// The number of texts in an answer, for each row.
const TEXTS: [usize; 3] = [8, 24, 64];
/// The chunks of an answer without text, which are the role and the finish, and the terminal frame.
const OTHER_FRAMES: usize = 3;
/// The promised limit for the cost of a task beside its frames, in bytes.
const PROMISED: f64 = 4096.0;
/// The time from the end of a half to the measurement of resident memory.
const AFTER: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    run("finished", |arguments| ManyTasks::read(arguments, 25_000), measure)
}

fn measure(options: &ManyTasks) -> Outcome<Table> {
    let mut rows = Vec::new();
    for texts in TEXTS {
        let row = one_row(texts, options)?;
        eprintln!("{texts} texts: all {} tasks completed", 2 * options.tasks);
        rows.push(row);
    }
    Ok(Table { rows, tasks: options.tasks })
}

fn one_row(texts: usize, options: &ManyTasks) -> Outcome<Row> {
    let upstream = FaultUpstream::start(&["--script", &format!("chunks={texts}")])?;
    let settings = format!(
        "[[channels]]\nkind = \"gemini\"\nbase_url = \"{}\"\napi_key = \"any\"\nmodels = [\"{MODEL}\"]\n\
         max_running_tasks = {}\n[retention]\nchunks_seconds = 86400\n",
        upstream.gemini_url(),
        options.connections,
    );
    let server = Server::start(|_| settings)?;
    let fresh = resident(server.pid())?.now;
    let first = one_half(&server, options)?;
    let half = resident(server.pid())?.now;
    one_half(&server, options)?;
    let whole = resident(server.pid())?.now;
    let stream = stream_of(server.address(), &first)?;
    let frames = stream.matches("\n\n").count();
    if frames != texts + OTHER_FRAMES {
        return Err(format!("{first} has {frames} frames: {stream}").into());
    }
    Ok(Row {
        texts,
        frames,
        frame_bytes: stream.find("event: ").map_or(0, |first| stream.len() - first),
        fresh,
        half,
        whole,
        tasks: options.tasks,
    })
}

/// Runs the tasks of one half; returns the id of one of them.
fn one_half(server: &Server, options: &ManyTasks) -> Outcome<TaskId> {
    let request = short(true, false)?;
    let ran = options.run(server.address(), |connection| {
        let id = acknowledged(&connection.exchange(&request)?)?;
        completed(connection, &id)?;
        Ok(id)
    })?;
    thread::sleep(AFTER);
    ran.into_iter().next().ok_or_else(|| "no task was run".into())
}

struct Row {
    texts: usize,
    /// The frames of one task, and their bytes together.
    frames: usize,
    frame_bytes: usize,
    /// The resident bytes before, between and after the halves.
    fresh: u64,
    half: u64,
    whole: u64,
    /// The number of tasks in each half.
    tasks: usize,
}

impl Row {
    /// Returns the bytes by which a task makes the server grow.
    fn growth(&self) -> f64 {
        (self.whole as f64 - self.half as f64) / self.tasks as f64
    }

    /// Returns the growth without the bytes of the frames.
    fn beside(&self) -> f64 {
        self.growth() - self.frame_bytes as f64
    }
}

struct Table {
    rows: Vec<Row>,
    tasks: usize,
}

impl Table {
    /// Returns the cost of a task beside all of its frames, and the cost of a frame beside its bytes.
    fn line(&self) -> (f64, f64) {
        let (Some(short), Some(long)) = (self.rows.first(), self.rows.last()) else {
            return (f64::NAN, f64::NAN);
        };
        let frame = (long.beside() - short.beside()) / (long.frames as f64 - short.frames as f64);
        (short.beside() - frame * short.frames as f64, frame)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Resident memory of the server with {} and {} finished tasks whose chunks are kept. {} cores. Promised:\n\
             a task costs less than {PROMISED} bytes beside its frames.\n",
            self.tasks,
            2 * self.tasks,
            cores()
        )?;
        f.write_str(
            " texts  frames    frames' B  fresh MB   half MB  whole MB  B for a task beside frames\n",
        )?;
        for row in &self.rows {
            let mb = |bytes: u64| bytes as f64 / 1e6;
            writeln!(
                f,
                "{:>6} {:>7} {:>12} {:>9.1} {:>9.1} {:>9.1} {:>13.0} {:>13.0} {}",
                row.texts,
                row.frames,
                row.frame_bytes,
                mb(row.fresh),
                mb(row.half),
                mb(row.whole),
                row.growth(),
                row.beside(),
                if row.beside() < PROMISED { "kept" } else { "NOT KEPT" },
            )?;
        }
        let (task, frame) = self.line();
        writeln!(
            f,
            "\nThe line through them: {task:.0} bytes for a task, and {frame:.0} for each frame beside its own bytes."
        )
    }
}

impl Findings for Table {
    fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({"texts": row.texts, "frames": row.frames, "frame_bytes": row.frame_bytes,
                    "resident_bytes": {"fresh": row.fresh, "half": row.half, "whole": row.whole},
                    "bytes_for_a_task": row.growth(), "beside_its_frames": row.beside(),
                    "kept": row.beside() < PROMISED})
            })
            .collect();
        let (task, frame) = self.line();
        json!({"tasks_in_a_half": self.tasks, "cores": cores(), "promised_bytes": PROMISED, "rows": rows,
            "line": {"bytes_for_a_task": task, "bytes_for_a_frame": frame}})
    }
}
