//! Metrics of subscribers. They are updated when a subscription begins or ends, and otherwise once for many frames.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Registry};

use super::family::Family;
use super::{MetricsError, names};

/// Metrics of subscribers and of the frames that are sent to them.
#[derive(Debug, Clone)]
pub struct FanoutMetrics {
    by_body: IntGauge,
    by_pump: IntGauge,
    ended: Family<IntCounterVec, 1>,
    sent: IntCounter,
    sent_bytes: IntCounter,
}

impl FanoutMetrics {
    pub(super) fn open(registry: &Registry) -> Result<Self, MetricsError> {
        let subscribers = names::SUBSCRIBERS.open(registry)?;
        let ended = names::SUBSCRIPTIONS_ENDED.open(registry)?;
        for reason in ["complete", "left", "stuck", "broken_off", "revoked"] {
            let _ = ended.of([reason]);
        }
        Ok(Self {
            by_body: subscribers.of(["body"]),
            by_pump: subscribers.of(["pump"]),
            ended,
            sent: names::SENT.open(registry)?.of([]),
            sent_bytes: names::SENT_BYTES.open(registry)?.of([]),
        })
    }

    /// Counts a new subscriber. The HTTP server writes to it.
    pub fn subscribed(&self) {
        self.by_body.inc();
    }

    /// Counts a subscriber that a pump writes to from now on.
    pub fn handed_over(&self) {
        self.by_body.dec();
        self.by_pump.inc();
    }

    /// Counts the end of a subscription. The subscription's `Drop` calls this, so that each one is counted exactly
    /// once.
    pub fn subscription_ended(&self, handed_over: bool, reason: &str) {
        if handed_over {
            self.by_pump.dec()
        } else {
            self.by_body.dec()
        };
        self.ended.of([reason]).inc();
    }

    /// Counts frames and bytes that were written to subscribers.
    pub fn sent(&self, frames: u64, bytes: u64) {
        self.sent.inc_by(frames);
        self.sent_bytes.inc_by(bytes);
    }
}
