//! Metrics for Prometheus.
//!
//! The server creates the [registry](Metrics) and passes it down: each part gets only the handles that it needs. There
//! are two kinds of metrics. Events are counted where they happen, by atomics without waiting, once for a task, a call,
//! a batch of chunks or a commit; never for each event of a subscriber. Gauges (running and waiting tasks, memory in
//! use) are read from their owner when scraped ([`Now`]), so they cannot become wrong over time. Only the gauge of
//! subscribers is incremented and decremented, by one guard for each subscription.
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

/// The error of a metric that cannot be created or written. The cause is a mistake in this module.
pub type MetricsError = prometheus::Error;

/// All counters and histograms.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    /// Metrics of tasks and their upstream calls.
    pub tasks: TaskMetrics,
    /// Metrics of subscribers.
    pub fanout: FanoutMetrics,
    /// Metrics of the store.
    pub store: StoreMetrics,
    /// Metrics of requests and connections.
    pub http: HttpMetrics,
}

impl Metrics {
    /// Creates all metrics at zero. Every series that an alert reads for one of these channels exists from the start,
    /// because a rate does not show the first event of a series that begins with it.
    ///
    /// # Errors
    /// When a metric is declared incorrectly.
    pub fn new<'a>(channels: impl Iterator<Item = &'a str>) -> Result<Self, MetricsError> {
        let registry = Registry::new();
        names::BUILD.open(&registry)?.of([env!("CARGO_PKG_VERSION")]).set(1);
        // The system does not report this time to every process: not with systemd's `ProcSubset=pid`.
        let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        names::STARTED.open(&registry)?.of([]).set(started.as_secs_f64());
        let store = StoreMetrics::open(&registry)?;
        let tasks = TaskMetrics::open(&registry, store.journal_failures())?;
        tasks.create_end_series(NO_CHANNEL);
        channels.for_each(|channel| tasks.create_series(channel));
        Ok(Self {
            tasks,
            fanout: FanoutMetrics::open(&registry)?,
            store,
            http: HttpMetrics::open(&registry)?,
            registry,
        })
    }

    /// Returns all metrics in Prometheus' text format, with the gauges of `now`.
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
    fn every_metric_has_a_unique_name_in_prometheus_style() {
        let names: HashSet<_> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), ALL.len());
        for Described { name, kind, help, .. } in ALL {
            assert!(name.starts_with("hearken_") || name.starts_with("process_"), "{name}");
            assert_eq!(*kind == "counter", name.ends_with("_total"), "{name}");
            assert!(help.ends_with('.'), "{name}: {help}");
        }
    }

    #[test]
    fn the_series_of_a_channel_exist_from_the_start() {
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
        assert!(!text.contains("hearken_tasks_pending "), "no gauge was read:\n{text}");
        assert!(text.contains("\nprocess_start_time_seconds 1"), "{text}");
    }

    #[test]
    fn each_failure_with_an_alert_has_a_series_from_the_start() {
        let metrics = Metrics::new(["gemini"].into_iter()).unwrap();
        let text = metrics.text(&Now::new()).unwrap();
        let alerts = include_str!("../deploy/prometheus/alerts.yml");
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
