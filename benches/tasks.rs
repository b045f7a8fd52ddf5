//! What does it cost to bring many tasks' events to a few subscribers each? `cargo bench --bench tasks`
//!
//! A thousand tasks run at the same time, each with 5 subscribers and 10 events per second: 50,000 deliveries per second,
//! none of which can be written together with another. Otherwise this is what `fan_out` is, with its sides and figures:
//! how to read them, and what makes it refuse, stands there. On nchan a task is a channel.
//!
//! Here the server has as much to do with the upstream's events as with the subscribers: each event is read, understood,
//! written to the journal and encoded for no more than 5 of them. The floor and nchan do none of that.
//!
//! Options, after `--`: `--server hearken|hand-over|body|floor|nchan` (as often as wanted), `--rounds N` (3),
//! `--seconds N` of publishing (5), `--stuck N` subscribers that read nothing meanwhile; `--tasks N`, `--subscribers N` of
//! each and `--rate N` of each for a row of one's own. Twice the rate fills two cores that all processes share.
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
const TITLE: &str = "Many tasks' events, brought to a few subscribers each.";

fn main() -> ExitCode {
    played(Part::play)
        .unwrap_or_else(|| run("tasks", Options::read, |options| measure(TITLE, options, &rows())))
}

fn rows() -> [Workload; 1] {
    [Workload::new("tasks", 1_000, 5, 10, 5)]
}
