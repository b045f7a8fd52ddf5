//! Small submits at a steady pace over one connection, like an ordinary client beside the crowd.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Outcome;
use super::kit::client::Connection;
use super::proc::{Attention, Stretch};
use super::tasks::acknowledged;

/// The time from one small submit to the next.
const INTERVAL: Duration = Duration::from_millis(20);
/// The limit for the generator's share of the time of small submits, and of the time of the slowest hundredth.
const MOST_FOR_GENERATOR: f64 = 0.5;

/// The results of small submits.
#[derive(Debug, Clone)]
pub(crate) struct Paced {
    /// The submits, sorted by latency.
    submits: Vec<(Duration, Attention)>,
}

/// Sends small submits until `stop` is set.
pub(crate) fn submit_steadily(server: SocketAddr, request: &[u8], stop: &AtomicBool) -> Outcome<Paced> {
    let mut connection = Connection::open(server)?;
    let mut submits = Vec::new();
    let mut due = Instant::now();
    let mut free = due;
    while !stop.load(Ordering::Acquire) {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let stretch = Stretch::begin()?;
        let sent = Instant::now();
        acknowledged(&connection.exchange(request)?)?;
        let answered = Instant::now();
        let attention = stretch.end()?;
        // If the submit before was still unanswered, the client waited for the server all the time. If the submit was
        // sent late because its thread woke late, it did not.
        let began = if free > due { due } else { sent };
        submits.push((answered - began, attention));
        free = answered;
        due += INTERVAL;
    }
    submits.sort_unstable_by_key(|(latency, _)| *latency);
    Ok(Paced { submits })
}

impl Paced {
    pub(crate) fn count(&self) -> usize {
        self.submits.len()
    }

    /// Returns the milliseconds within which this percentage of submits was answered.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let last = self.submits.len().saturating_sub(1);
        let submit = self.submits.get((self.submits.len() * percent / 100).min(last));
        submit.map_or(f64::NAN, |(latency, _)| latency.as_secs_f64() * 1e3)
    }

    /// Returns the share of the submits' time in which they waited for the generator. Returns the share of the slowest
    /// hundredth, if it is larger.
    pub(crate) fn generator_share(&self) -> f64 {
        let share = |submits: &[(Duration, Attention)]| {
            Attention::sum(submits.iter().map(|(_, attention)| *attention)).share()
        };
        let slowest = self.submits.len() * 99 / 100;
        share(&self.submits).max(share(&self.submits[slowest..]))
    }

    /// Returns true if these figures measure the server, and not the generator.
    pub(crate) fn stands(&self) -> bool {
        self.generator_share() < MOST_FOR_GENERATOR
    }

    pub(crate) fn json(&self) -> Value {
        if !self.stands() {
            let share = self.generator_share();
            return json!({"refused": "the generator was the bottleneck", "generator_share": share});
        }
        json!({
            "count": self.count(),
            "latency_ms":
                {"p50": self.percentile(50), "p99": self.percentile(99), "max": self.percentile(100)},
            "generator_share": self.generator_share(),
        })
    }
}
