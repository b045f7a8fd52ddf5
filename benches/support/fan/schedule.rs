//! When each event is due, and how late it was made.

use serde::{Deserialize, Serialize};

use super::super::Outcome;
use super::super::clock::{now, sleep_until};
use super::super::stamp::Stamp;
use super::super::statistics::{Durations, Spread};
use super::workload::Workload;

/// The time from the order to begin until the first event: all processes have time to wake up.
const LEAD_NS: u64 = 30_000_000;
/// The time from one wake-up to the next: a wake-up costs more than an event, and a publisher must cost little.
const TURN_NS: u64 = 250_000;

/// An event that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    /// The number of the task, from 0.
    pub(crate) task: usize,
    /// The number within its task, from 0.
    pub(crate) index: u64,
    /// When the event is due, in nanoseconds of the clock.
    pub(crate) at: u64,
}

/// A publisher's schedule: the events of all tasks in turn, evenly spread.
#[derive(Debug)]
pub(crate) struct Schedule {
    tasks: u64,
    rate: u64,
    all: u64,
    made: u64,
    begin: u64,
    /// How long the server accepted nothing: due times move by it, and no event counts as late.
    held: u64,
    /// When the publisher last woke up.
    woke: u64,
    late: Durations,
}

/// How the publishing went.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Published {
    pub(crate) events: u64,
    /// The delay with which events were made, ms.
    pub(crate) late: Spread,
    /// How long the server accepted nothing, s.
    pub(crate) held: f64,
}

impl Schedule {
    /// Returns a schedule that begins after a short lead.
    pub(crate) fn begin(workload: &Workload) -> Outcome<Self> {
        Ok(Self {
            tasks: workload.tasks,
            rate: workload.rate,
            all: workload.tasks * workload.events(),
            made: 0,
            begin: now() + LEAD_NS,
            held: 0,
            woke: 0,
            late: Durations::new()?,
        })
    }

    /// Returns the next event; `None` when all were made.
    pub(crate) fn next(&self) -> Option<Due> {
        (self.made < self.all).then(|| Due {
            task: (self.made % self.tasks) as usize,
            index: self.made / self.tasks,
            at: self.begin + self.held + after(self.made, self.tasks * self.rate),
        })
    }

    /// Makes an event now.
    pub(crate) fn make(&mut self, due: Due) -> Stamp {
        let made = now();
        self.late.add(made.saturating_sub(due.at));
        self.made += 1;
        Stamp { made, index: due.index }
    }

    /// Waits until it is time for the next event, and makes it; returns `None` when all were made.
    pub(crate) fn wait(&mut self) -> Option<(Due, Stamp)> {
        let due = self.next()?;
        if due.at > now() {
            sleep_until(due.at.max(self.woke + TURN_NS));
            self.woke = now();
        }
        Some((due, self.make(due)))
    }

    /// Records that the server accepted nothing since `then`.
    pub(crate) fn held_since(&mut self, then: u64) {
        self.held += now().saturating_sub(then);
    }

    pub(crate) fn published(&self) -> Published {
        Published { events: self.made, late: self.late.spread(), held: self.held as f64 / 1e9 }
    }
}

/// Returns the nanoseconds until `events` events have passed at `rate` per second.
fn after(events: u64, rate: u64) -> u64 {
    let nanoseconds = u128::from(events) * 1_000_000_000 / u128::from(rate.max(1));
    u64::try_from(nanoseconds).unwrap_or(u64::MAX)
}
