//! The gauges of one scrape. They are read from their owners and dropped after the scrape.

use std::time::Duration;

use prometheus::proto::MetricFamily;
use prometheus::{IntGaugeVec, Registry};

use super::family::Spec;
use super::process::Process;
use super::{MetricsError, names};

/// The numbers of the tasks that have a slot, and of those that wait for a slot.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueLevels {
    /// Tasks that wait for their first slot.
    pub pending: usize,
    /// How long the oldest task without a first slot has waited; zero if none waits.
    pub oldest: Duration,
    /// Tasks that wait for a slot of another channel.
    pub changing: usize,
    /// For each channel: its name, the slots in use, and all slots.
    pub channels: Vec<(String, usize, usize)>,
}

/// The numbers of the tasks and streams of this process.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskLevels {
    /// The tasks that run, and the tasks that wait.
    pub queue: QueueLevels,
    /// Most tasks that may wait for their first slot.
    pub most_pending: usize,
    /// Streams of ended tasks that are kept in memory.
    pub streams_kept: usize,
    /// Bytes of memory that the streams of ended tasks use, and the limit.
    pub streams_memory: (usize, usize),
}

/// Memory and connections of requests. The second value of each pair is the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpLevels {
    /// Open connections.
    pub connections: (usize, usize),
    /// Bytes of the uploads that are running.
    pub payload: (usize, usize),
    /// Uploads that wait for memory.
    pub uploads_waiting: usize,
    /// Bytes of responses that are being built or sent.
    pub responses: (usize, usize),
    /// Responses that wait for memory.
    pub responses_waiting: usize,
}

/// The state of the store's queue and files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreLevels {
    /// True while the store accepts tasks.
    pub works: bool,
    /// Writes that wait for a commit.
    pub writes_waiting: usize,
    /// Bytes of audio, and the limit.
    pub spool: (u64, u64),
}

/// The disk of the store, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskLevels {
    /// Bytes that are free for users other than root.
    pub free: u64,
    /// Size of the disk.
    pub size: u64,
}

/// The gauges of one moment. A gauge without an answer of its owner is left out. A graph then has a gap, while an old
/// value would hide that the owner does not answer.
#[derive(Debug, Default)]
pub struct Now(Registry);

impl Now {
    /// Creates a set without any gauge.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the state of each channel's breaker: 1 for the state that it has, 0 for the others.
    ///
    /// # Errors
    /// When a metric is declared incorrectly, or set twice. The same is true of all methods here.
    pub fn breakers<'a>(
        &self,
        all: &[&str],
        states: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<(), MetricsError> {
        let family = names::BREAKER.open(&self.0)?;
        for (channel, state) in states {
            for other in all {
                family.of([channel, other]).set(i64::from(state == *other));
            }
        }
        Ok(())
    }

    /// Sets the gauges of tasks.
    ///
    /// # Errors
    /// See [`breakers`](Self::breakers).
    pub fn tasks(&self, levels: &TaskLevels) -> Result<(), MetricsError> {
        let queue = &levels.queue;
        self.set(&names::PENDING, count(queue.pending))?;
        self.set(&names::PENDING_LIMIT, count(levels.most_pending))?;
        names::PENDING_OLDEST.open(&self.0)?.of([]).set(queue.oldest.as_secs_f64());
        self.set(&names::CHANGING, count(queue.changing))?;
        self.set(&names::STREAMS_KEPT, count(levels.streams_kept))?;
        self.set(&names::STREAMS_MEMORY, count(levels.streams_memory.0))?;
        self.set(&names::STREAMS_MEMORY_LIMIT, count(levels.streams_memory.1))?;
        let (running, slots) = (names::RUNNING.open(&self.0)?, names::RUNNING_LIMIT.open(&self.0)?);
        for (channel, taken, all) in &queue.channels {
            running.of([channel]).set(count(*taken));
            slots.of([channel]).set(count(*all));
        }
        Ok(())
    }

    /// Sets the gauges of subscribers that are behind: the unsent frames of all together, the unsent frames of the
    /// slowest one, and the number of subscribers with unsent frames.
    pub fn behind(&self, frames: usize, most: usize, subscribers: usize) -> Result<(), MetricsError> {
        self.set(&names::BEHIND, count(frames))?;
        self.set(&names::BEHIND_MAX, count(most))?;
        self.set(&names::SUBSCRIBERS_BEHIND, count(subscribers))
    }

    /// Sets the gauges of memory and connections of requests.
    ///
    /// # Errors
    /// See [`breakers`](Self::breakers).
    pub fn http(&self, levels: HttpLevels) -> Result<(), MetricsError> {
        self.set(&names::CONNECTIONS, count(levels.connections.0))?;
        self.set(&names::CONNECTIONS_LIMIT, count(levels.connections.1))?;
        self.set(&names::PAYLOAD, count(levels.payload.0))?;
        self.set(&names::PAYLOAD_LIMIT, count(levels.payload.1))?;
        self.set(&names::UPLOADS_WAITING, count(levels.uploads_waiting))?;
        self.set(&names::RESPONSES, count(levels.responses.0))?;
        self.set(&names::RESPONSES_LIMIT, count(levels.responses.1))?;
        self.set(&names::RESPONSES_WAITING, count(levels.responses_waiting))
    }

    /// Sets the gauges of the store's queue and files.
    ///
    /// # Errors
    /// See [`breakers`](Self::breakers).
    pub fn store(&self, levels: StoreLevels) -> Result<(), MetricsError> {
        self.set(&names::STORE_WORKS, i64::from(levels.works))?;
        self.set(&names::WRITES_WAITING, count(levels.writes_waiting))?;
        self.set(&names::SPOOL, number(levels.spool.0))?;
        self.set(&names::SPOOL_LIMIT, number(levels.spool.1))
    }

    /// Sets the gauges of the store's disk.
    ///
    /// # Errors
    /// See [`breakers`](Self::breakers).
    pub fn disk(&self, disk: DiskLevels) -> Result<(), MetricsError> {
        self.set(&names::DISK_FREE, number(disk.free))?;
        self.set(&names::DISK_SIZE, number(disk.size))
    }

    /// Sets the number of log lines that were lost since the start.
    ///
    /// # Errors
    /// See [`breakers`](Self::breakers).
    pub fn log(&self, lost_lines: u64) -> Result<(), MetricsError> {
        names::LOG_LOST.open(&self.0)?.of([]).inc_by(lost_lines);
        Ok(())
    }

    /// Sets the values of the process.
    ///
    /// # Errors
    /// See [`breakers`](Self::breakers).
    pub fn process(&self, process: Process) -> Result<(), MetricsError> {
        if let Some(seconds) = process.cpu_seconds {
            names::CPU.open(&self.0)?.of([]).inc_by(seconds);
        }
        for (spec, value) in [
            (&names::RESIDENT, process.resident_bytes),
            (&names::VIRTUAL, process.virtual_bytes),
            (&names::OPEN_FDS, process.open_files),
            (&names::MAX_FDS, process.most_files),
            (&names::THREADS, process.threads),
        ] {
            value.map_or(Ok(()), |value| self.set(spec, number(value)))?;
        }
        Ok(())
    }

    pub(super) fn gather(&self) -> Vec<MetricFamily> {
        self.0.gather()
    }

    fn set(&self, spec: &Spec<IntGaugeVec, 0>, value: i64) -> Result<(), MetricsError> {
        spec.open(&self.0)?.of([]).set(value);
        Ok(())
    }
}

fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn a_breaker_is_in_exactly_one_state() {
        let now = Now::new();
        now.breakers(&["closed", "open", "half_open"], [("a", "half_open")].into_iter()).unwrap();
        let text = Metrics::new(std::iter::empty()).unwrap().text(&now).unwrap();
        for (state, value) in [("closed", 0), ("open", 0), ("half_open", 1)] {
            let line = format!("hearken_channel_breaker_state{{channel=\"a\",state=\"{state}\"}} {value}\n");
            assert!(text.contains(&line), "{text}");
        }
    }
}
