//! What does it cost to bring one task's events to many subscribers? `cargo bench --bench fan_out`
//!
//! One task, many subscribers. The upstream publishes events on schedule, each with the time when it was made; a load
//! generator that holds all subscribers reads them, checks that each of them is given each event once and in order, and
//! tells how long they were under way. Server, upstream and generator are processes of their own, over sockets.
//!
//! | row | |
//! |---|---|
//! | `latency` | 1,000 subscribers, 20 events/s: an ordinary stream |
//! | `throughput` | 1,000 subscribers, 2,000 events/s: more than can be written one by one |
//! | `many` | 5,000 subscribers, 1,000 events/s |
//! | `idle` | 10,000 subscribers to whom nothing comes: what they cost in memory |
//!
//! Each is measured on several sides, whose rounds take turns:
//!
//! | side | |
//! |---|---|
//! | `hand-over` | hearken as it is |
//! | `body` | hearken with `stream.hand_over = false` |
//! | `floor` | an epoll loop that makes the events itself and writes each to each subscriber, and does nothing else |
//! | `floor-c` | the same with all that is due in one write, where events come fast |
//! | `nchan` | nginx with the nchan module, where it is installed; each event is posted to it |
//!
//! Options, after `--`: `--row NAME`, `--server hearken|hand-over|body|floor|floor-c|nchan` (both as often as wanted),
//! `--rounds N` (3), `--seconds N` of publishing (10; 2 and 1 where events come fast), `--stuck N` subscribers among them
//! that read nothing meanwhile. For a row of one's own: `--subscribers N`, `--rate N` (0: idle), `--tasks N`.
//!
//! # How to read it
//!
//! - A figure is the median of its rounds. A ratio is the median of the ratios within a round, so that a slow minute of
//!   the machine hits both sides of it.
//! - Server CPU is what the kernel charges to the server's processes while events are published, to a hundredth of a
//!   second, for each event that a subscriber was given. Over loopback whoever writes pays for part of the reader's work,
//!   too: compare ratios. The floor has no upstream to read from.
//! - Latency is from the upstream's write to the return of the subscriber's read that ended the frame. The last event
//!   comes half a second after the last one that is counted: what the end of a task costs is in none of the figures.
//! - `B/sub` is the rise of the server's memory (PSS) by the subscribers before anything is published, without what the
//!   kernel holds for their sockets. With few subscribers it is coarse.
//! - Those that read nothing are in no figure but the server's memory, and must have all they missed in the end. Whether
//!   that memory grew is in the JSON: resident at the beginning, at half the time, at the end and at most.
//! - All share the machine. When a server takes no more from its publisher, events are made, and stamped, later: then
//!   fewer are delivered than are offered. `late` is how late the publisher was by itself.
//!
//! # What makes it refuse
//!
//! A side has no figures, and the exit status is a failure, when in any of its rounds
//!
//! - an event was missing or came twice, or a subscriber was refused, or hearken's response did not end with its task;
//! - a process would need more file descriptors than the system allows;
//! - the generator was the bottleneck: it used 95 % of a core;
//! - the publisher was the bottleneck: of its events one in a hundred was 50 ms late or more, while the server would have
//!   taken it.
//!
//! A round with such a bottleneck is repeated, three times in all: others may have used the machine.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it found")]
#![expect(clippy::print_stderr, reason = "how far it has come is no finding")]

mod support;

use std::process::ExitCode;

use support::bench::run;
use support::fan::measure::measure;
use support::fan::options::Options;
use support::fan::part::Part;
use support::fan::workload::Workload;
use support::helper::played;

/// What is said above the table.
const TITLE: &str = "One task's events, brought to many subscribers.";

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
