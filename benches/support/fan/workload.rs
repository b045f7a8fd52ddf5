//! How many read what, and how much of it comes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A server has, beside a descriptor for each subscriber and each task, at most so many others open.
const OTHER_DESCRIPTORS: u64 = 200;

/// What all sides of a row have to carry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Workload {
    pub(crate) name: String,
    pub(crate) tasks: u64,
    /// Of each task.
    pub(crate) subscribers: u64,
    /// Of all subscribers so many read nothing while the others are measured.
    pub(crate) stuck: u64,
    /// Events of each task per second; 0: none ever come.
    pub(crate) rate: u64,
    /// How long events are published.
    pub(crate) seconds: u64,
}

impl Workload {
    pub(crate) fn new(name: &str, tasks: u64, subscribers: u64, rate: u64, seconds: u64) -> Self {
        Self { name: name.to_owned(), tasks, subscribers, stuck: 0, rate, seconds }
    }

    /// Does nothing ever come?
    pub(crate) fn is_idle(&self) -> bool {
        self.rate == 0
    }

    /// Subscribers of all tasks.
    pub(crate) fn all_subscribers(&self) -> u64 {
        self.tasks * self.subscribers
    }

    /// Is the subscriber with this number one that reads nothing? They are spread evenly.
    pub(crate) fn is_stuck(&self, subscriber: u64) -> bool {
        let all = self.all_subscribers();
        subscriber * self.stuck / all != (subscriber + 1) * self.stuck / all
    }

    /// Events of each task.
    pub(crate) fn events(&self) -> u64 {
        self.rate * self.seconds
    }

    /// How long it takes to publish them.
    pub(crate) fn length(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// Deliveries per second, to all that read, when the server keeps up.
    pub(crate) fn offered(&self) -> u64 {
        (self.all_subscribers() - self.stuck) * self.rate
    }

    /// File descriptors that a process needs at most.
    pub(crate) fn descriptors(&self) -> u64 {
        self.all_subscribers() + self.tasks + OTHER_DESCRIPTORS
    }
}
