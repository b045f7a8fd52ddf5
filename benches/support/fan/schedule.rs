//! When each event is due, and how well that was kept.

use serde::{Deserialize, Serialize};

use super::super::Outcome;
use super::super::clock::{now, sleep_until};
use super::super::stamp::Stamp;
use super::super::statistics::{Durations, Spread};
use super::workload::Workload;

/// From the word to begin until the first event: everybody has time to wake up.
const LEAD_NS: u64 = 30_000_000;
/// From one waking up to the next: it costs more than an event does, and a publisher shall cost little.
const TURN_NS: u64 = 250_000;

/// Where one event belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    /// From 0.
    pub(crate) task: usize,
    /// From 0 within its task.
    pub(crate) index: u64,
    /// Nanoseconds of the clock.
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
    /// The server would not take more for so long: what is due is due so much later, and nobody is late.
    held: u64,
    /// When it last woke up.
    woke: u64,
    late: Durations,
}

/// How the publishing went.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Published {
    pub(crate) events: u64,
    /// How long after they were due events were made, ms.
    pub(crate) late: Spread,
    /// How long the server did not take more, s.
    pub(crate) held: f64,
}

impl Schedule {
    /// One that begins in a moment.
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

    /// The event that comes next; `None` when all were made.
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

    /// Waits until it is time for the next event, and makes it; `None` when all were made.
    pub(crate) fn wait(&mut self) -> Option<(Due, Stamp)> {
        let due = self.next()?;
        if due.at > now() {
            sleep_until(due.at.max(self.woke + TURN_NS));
            self.woke = now();
        }
        Some((due, self.make(due)))
    }

    /// The server would not take more since then.
    pub(crate) fn held_since(&mut self, then: u64) {
        self.held += now().saturating_sub(then);
    }

    pub(crate) fn published(&self) -> Published {
        Published { events: self.made, late: self.late.spread(), held: self.held as f64 / 1e9 }
    }
}

/// Nanoseconds until so many events have passed at so many per second.
fn after(events: u64, rate: u64) -> u64 {
    let nanoseconds = u128::from(events) * 1_000_000_000 / u128::from(rate.max(1));
    u64::try_from(nanoseconds).unwrap_or(u64::MAX)
}
