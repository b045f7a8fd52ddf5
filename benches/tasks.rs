//! Measures the cost of delivering many tasks' events to a few subscribers each: `cargo bench --bench tasks`
//!
//! A thousand tasks run at the same time, each with 5 subscribers and 10 events per second: 50,000 deliveries per
//! second, none of which can be written together with another. Sides and figures are those of `fan_out`, which explains
//! how to read them and when it refuses to print them. On nchan, a task is a channel.
//!
//! Here the server has as much work with the upstream's events as with the subscribers: it reads, parses, journals and
//! encodes each event for only 5 subscribers. The floor and nchan do none of that.
//!
//! Options, after `--`: `--server hearken|hand-over|body|floor|nchan` (may be repeated), `--rounds N` (3), `--seconds
//! N` of publishing (5), `--stuck N` subscribers that read nothing during the measurement; `--tasks N`, `--subscribers
//! N` of each and `--rate N` of each for a custom row. Twice the rate saturates two cores that all processes share.
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
const TITLE: &str = "Many tasks' events, delivered to a few subscribers each.";

fn main() -> ExitCode {
    played(Part::play)
        .unwrap_or_else(|| run("tasks", Options::read, |options| measure(TITLE, options, &rows())))
}

fn rows() -> [Workload; 1] {
    [Workload::new("tasks", 1_000, 5, 10, 5)]
}
