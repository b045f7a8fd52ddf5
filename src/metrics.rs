//! What is counted and measured, for Prometheus.
//!
//! The [registry](Metrics) is a value that the server makes and hands down: each part gets the handles that it needs and
//! knows nothing else of this. There are two kinds of truth. What happens is counted where it happens, by atomics that
//! nobody waits for, once for a task, a call, a batch of chunks or a commit; never for a subscriber's event. What *is*
//! (who runs, who waits, how much memory is taken) is asked of its owner when somebody looks ([`Now`]): nothing is added
//! up and taken off again, so nothing can drift.
//!
//! Every metric is declared once, in [`ALL`].

mod family;
mod fanout;
mod http;
mod names;
mod now;
mod process;
mod store;
mod tasks;

use std::time::SystemTime;

use prometheus::{Registry, TextEncoder};

pub use fanout::FanoutMetrics;
pub use http::HttpMetrics;
pub use names::{ALL, Described};
pub use now::{DiskLevels, HttpLevels, Now, QueueLevels, StoreLevels, TaskLevels};
pub use process::Process;
pub use store::StoreMetrics;
pub use tasks::{Cause, NO_CHANNEL, TaskEnd, TaskMetrics};

/// The media type of the text that [`Metrics::text`] makes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A metric that cannot be made or written: a mistake in this folder.
pub type MetricsError = prometheus::Error;

/// All that is counted.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    /// Tasks and their upstream calls.
    pub tasks: TaskMetrics,
    /// Subscribers.
    pub fanout: FanoutMetrics,
    /// The store.
    pub store: StoreMetrics,
    /// Requests.
    pub http: HttpMetrics,
}

impl Metrics {
    /// Everything at zero. What an alert asks of one of these channels is there from the start: a first failure would
    /// otherwise be the beginning of a series, which no rate shows.
    ///
    /// # Errors
    /// When a metric is declared wrongly.
    pub fn new<'a>(channels: impl Iterator<Item = &'a str>) -> Result<Self, MetricsError> {
        let registry = Registry::new();
        names::BUILD.open(&registry)?.of([env!("CARGO_PKG_VERSION")]).set(1);
        // Not the system's word: where a process may see nothing but processes (ProcSubset=pid) it does not say.
        let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        names::STARTED.open(&registry)?.of([]).set(started.as_secs_f64());
        let store = StoreMetrics::open(&registry)?;
        let tasks = TaskMetrics::open(&registry, store.journal_failures())?;
        tasks.expect_ends(NO_CHANNEL);
        channels.for_each(|channel| tasks.expect(channel));
        Ok(Self {
            tasks,
            fanout: FanoutMetrics::open(&registry)?,
            store,
            http: HttpMetrics::open(&registry)?,
            registry,
        })
    }

    /// Everything in Prometheus' text format, with what was asked `now`.
    ///
    /// # Errors
    /// When a metric cannot be written.
    pub fn text(&self, now: &Now) -> Result<String, MetricsError> {
        let mut families = self.registry.gather();
        families.extend(now.gather());
        families.sort_by(|one, other| one.name().cmp(other.name()));
        TextEncoder::new().encode_to_string(&families)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_metric_is_named_once_and_as_the_field_does() {
        let names: HashSet<_> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), ALL.len());
        for Described { name, kind, help, .. } in ALL {
            assert!(name.starts_with("hearken_") || name.starts_with("process_"), "{name}");
            assert_eq!(*kind == "counter", name.ends_with("_total"), "{name}");
            assert!(help.ends_with('.'), "{name}: {help}");
        }
    }

    #[test]
    fn what_a_channel_counts_is_there_from_the_start() {
        let metrics = Metrics::new(["gemini"].into_iter()).unwrap();
        let text = metrics.text(&Now::new()).unwrap();
        for line in [
            "hearken_upstream_attempts_total{channel=\"gemini\",class=\"timeout\"} 0\n",
            "hearken_tasks_ended_total{channel=\"gemini\",outcome=\"completed\"} 0\n",
            "hearken_tasks_submitted_total 0\n",
            "# TYPE hearken_task_queue_wait_seconds histogram\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
        assert!(!text.contains("hearken_tasks_pending "), "nobody was asked:\n{text}");
        assert!(text.contains("\nprocess_start_time_seconds 1"), "{text}");
    }

    #[test]
    fn each_failure_that_wakes_somebody_is_there_from_the_start() {
        let metrics = Metrics::new(["gemini"].into_iter()).unwrap();
        let text = metrics.text(&Now::new()).unwrap();
        let alerts = include_str!("../alerts.yml");
        let (_, named) = alerts.split_once("hearken_tasks_ended_total{outcome=~\"").unwrap();
        let named: Vec<&str> = named.split_once('"').unwrap().0.split('|').collect();
        assert!(named.len() >= 10, "{named:?}");
        for outcome in named {
            for channel in ["gemini", "none"] {
                let line =
                    format!("hearken_tasks_ended_total{{channel=\"{channel}\",outcome=\"{outcome}\"}} 0\n");
                assert!(text.contains(&line), "{line}{text}");
            }
        }
    }
}
