//! Small submits at a steady pace over one connection, as an ordinary client beside the crowd.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Outcome;
use super::kit::client::Connection;
use super::proc::{Attention, Stretch};
use super::tasks::acknowledged;

/// From one small submit to the next.
const INTERVAL: Duration = Duration::from_millis(20);
/// Of the time that small submits took, the generator may have had less than this; of that of the slowest hundredth,
/// too.
const MOST_FOR_GENERATOR: f64 = 0.5;

/// How small submits fared.
#[derive(Debug, Clone)]
pub(crate) struct Paced {
    /// In order of how long they took.
    submits: Vec<(Duration, Attention)>,
}

/// Sends small submits until it is told to stop.
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
        // Whoever had to wait until the submit before was answered has waited for the server all the time. Whoever
        // was sent late because its thread woke late has not.
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

    /// Milliseconds within which this share of them was answered.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let last = self.submits.len().saturating_sub(1);
        let submit = self.submits.get((self.submits.len() * percent / 100).min(last));
        submit.map_or(f64::NAN, |(latency, _)| latency.as_secs_f64() * 1e3)
    }

    /// The share of their time in which they waited for the generator; of the slowest hundredth's, if that is more.
    pub(crate) fn generator_share(&self) -> f64 {
        let share = |submits: &[(Duration, Attention)]| {
            Attention::sum(submits.iter().map(|(_, attention)| *attention)).share()
        };
        let slowest = self.submits.len() * 99 / 100;
        share(&self.submits).max(share(&self.submits[slowest..]))
    }

    /// Do these figures tell of the server, and not of the generator?
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
