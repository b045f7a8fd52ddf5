//! Measures the cost of delivering one task's events to many subscribers: `cargo bench --bench fan_out`
//!
//! One task, many subscribers. The upstream publishes events on schedule, each with the time when it was made. A load
//! generator that holds all subscribers reads the events, checks that each subscriber receives each event once and in
//! order, and measures how long the events took. Server, upstream and generator are separate processes and communicate
//! over sockets.
//!
//! | row | |
//! |---|---|
//! | `latency` | 1,000 subscribers, 20 events/s: an ordinary stream |
//! | `throughput` | 1,000 subscribers, 2,000 events/s: more than can be written one by one |
//! | `many` | 5,000 subscribers, 1,000 events/s |
//! | `idle` | 10,000 subscribers that receive nothing: their cost in memory |
//!
//! Each row is measured on several sides, whose rounds take turns:
//!
//! | side | |
//! |---|---|
//! | `hand-over` | hearken with its defaults |
//! | `body` | hearken with `stream.hand_over = false` |
//! | `floor` | an epoll loop that makes the events itself and writes each to each subscriber, and does nothing else |
//! | `floor-c` | the same, but it writes all due events in one write, where events come fast |
//! | `nchan` | nginx with the nchan module, where it is installed; each event is posted to it |
//!
//! Options, after `--`: `--row NAME`, `--server hearken|hand-over|body|floor|floor-c|nchan` (both may be repeated),
//! `--rounds N` (3), `--seconds N` of publishing (10; 2 and 1 where events come fast), `--stuck N` subscribers among
//! them that read nothing during the measurement. For a custom row: `--subscribers N`, `--rate N` (0: idle), `--tasks
//! N`.
//!
//! # How to read the figures
//!
//! - A figure is the median of its rounds. A ratio is the median of the ratios within a round, so that a slow minute of
//!   the machine affects both sides.
//! - Server CPU is what the kernel charges to the server's processes while events are published, to a hundredth of a
//!   second, divided by the events that all subscribers received. Over loopback, the writer also pays for part of the
//!   reader's work: compare ratios. The floor has no upstream to read from.
//! - Latency is from the upstream's write to the return of the subscriber's read that completed the frame. The last
//!   event comes half a second after the last one that is counted, so no figure includes the cost of a task's end.
//! - `B/sub` is the rise of the server's memory (PSS) by the subscribers before anything is published, without the
//!   memory that the kernel holds for their sockets. With few subscribers it is coarse.
//! - Subscribers that read nothing affect only the server's memory, and must have received all missed events in the
//!   end. The JSON shows whether that memory grew: resident at the beginning, after half the time, at the end and at
//!   most.
//! - All processes share the machine. When a server accepts no more from its publisher, events are made, and stamped,
//!   later: then fewer are delivered than are offered. `late` is the delay that the publisher itself caused.
//!
//! # When it refuses to print figures
//!
//! A side has no figures, and the exit status is a failure, if in any of its rounds
//!
//! - an event was missing or came twice, or a subscriber was refused, or hearken's response did not end with its task;
//! - a process would need more file descriptors than the system allows;
//! - the generator was the bottleneck: it used 95 % of a core;
//! - the publisher was the bottleneck: one in a hundred of its events was 50 ms late or more, although the server would
//!   have accepted it.
//!
//! A round with such a bottleneck is repeated, up to three times in all: other processes may have used the machine.
#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]
#![expect(clippy::print_stderr, reason = "progress is not a result")]

mod support;

use std::process::ExitCode;

use support::bench::run;
use support::fan::measure::measure;
use support::fan::options::Options;
use support::fan::part::Part;
use support::fan::workload::Workload;
use support::helper::played;

/// The title above the table.
const TITLE: &str = "One task's events, delivered to many subscribers.";

fn main() -> ExitCode {
    played(Part::play)
        .unwrap_or_else(|| run("fan_out", Options::read, |options| measure(TITLE, options, &rows())))
}

fn rows() -> [Workload; 4] {
    [
        Workload::new("latency", 1, 1_000, 20, 10),
        Workload::new("throughput", 1, 1_000, 2_000, 2),
        Workload::new("many", 1, 5_000, 1_000, 1),
        Workload::new("idle", 1, 10_000, 0, 0),
    ]
}
