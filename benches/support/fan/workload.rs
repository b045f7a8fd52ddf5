//! The load of a row: the number of tasks, subscribers and events.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The most file descriptors of a server beside those of its subscribers and tasks.
const OTHER_DESCRIPTORS: u64 = 200;

/// The load of a row, which is the same for all its sides.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Workload {
    pub(crate) name: String,
    pub(crate) tasks: u64,
    /// The subscribers of each task.
    pub(crate) subscribers: u64,
    /// The number of all subscribers that read nothing while the others are measured.
    pub(crate) stuck: u64,
    /// The events of each task per second; 0: none.
    pub(crate) rate: u64,
    /// The seconds in which events are published.
    pub(crate) seconds: u64,
}

impl Workload {
    pub(crate) fn new(name: &str, tasks: u64, subscribers: u64, rate: u64, seconds: u64) -> Self {
        Self { name: name.to_owned(), tasks, subscribers, stuck: 0, rate, seconds }
    }

    /// Returns true if no events come.
    pub(crate) fn is_idle(&self) -> bool {
        self.rate == 0
    }

    /// Returns the subscribers of all tasks.
    pub(crate) fn all_subscribers(&self) -> u64 {
        self.tasks * self.subscribers
    }

    /// Returns true if the subscriber with this number reads nothing. Such subscribers are spread evenly.
    pub(crate) fn is_stuck(&self, subscriber: u64) -> bool {
        let all = self.all_subscribers();
        subscriber * self.stuck / all != (subscriber + 1) * self.stuck / all
    }

    /// Returns the events of each task.
    pub(crate) fn events(&self) -> u64 {
        self.rate * self.seconds
    }

    /// Returns how long it takes to publish them.
    pub(crate) fn length(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// Returns the deliveries per second to all readers, if the server keeps up.
    pub(crate) fn offered(&self) -> u64 {
        (self.all_subscribers() - self.stuck) * self.rate
    }

    /// Returns the most file descriptors that a process needs.
    pub(crate) fn descriptors(&self) -> u64 {
        self.all_subscribers() + self.tasks + OTHER_DESCRIPTORS
    }
}
