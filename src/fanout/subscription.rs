//! A subscription. It is counted while it lasts, and written to the log when it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::keys::Revocation;
use crate::metrics::FanoutMetrics;
use crate::task::TaskId;

/// Frames that the HTTP server sends a subscriber before they are added to the metrics.
const COUNTED_AT_ONCE: usize = 64;

/// Counts over all subscriptions of this server.
#[derive(Debug)]
pub struct SubscriptionStats {
    ended: AtomicUsize,
    metrics: FanoutMetrics,
}

impl SubscriptionStats {
    /// Returns counts without any subscription.
    #[must_use]
    pub fn new(metrics: FanoutMetrics) -> Self {
        Self { ended: AtomicUsize::new(0), metrics }
    }

    /// Returns how many subscriptions have ended.
    #[must_use]
    pub fn ended(&self) -> usize {
        self.ended.load(Ordering::Relaxed)
    }
}

/// The reason why a subscription ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SubscriptionEnd {
    /// The subscriber disconnected, or its connection broke.
    Disconnected,
    /// The subscriber was sent everything, up to the terminal frame.
    Complete,
    /// The server stopped before the task had ended, or the frames could no longer be read.
    BrokenOff,
    /// The subscriber took nothing of what it was sent for too long.
    Stuck,
    /// The subscriber's key was revoked.
    Revoked,
}

impl SubscriptionEnd {
    fn as_str(self) -> &'static str {
        match self {
            Self::Disconnected => "left",
            Self::Complete => "complete",
            Self::BrokenOff => "broken_off",
            Self::Stuck => "stuck",
            Self::Revoked => "revoked",
        }
    }
}

/// The request, the task and the key of a subscription.
#[derive(Debug)]
pub struct SubscriberInfo {
    /// The ID of the request that subscribed.
    pub request_id: Box<str>,
    /// The task whose stream is read.
    pub task_id: TaskId,
    /// The revocation of the key with which the request was sent.
    pub key: Arc<Revocation>,
}

/// A subscription. It lasts until the last frame was written to its connection or given to the HTTP server. Dropping it
/// ends it.
#[derive(Debug)]
pub(super) struct Subscription {
    stats: Arc<SubscriptionStats>,
    info: SubscriberInfo,
    began: Instant,
    frames: usize,
    /// Number of the sent frames that are in the metrics.
    counted: usize,
    /// Bytes that were sent and are not in the metrics yet.
    bytes: usize,
    /// True if the socket was handed over.
    handed_over: bool,
    end: SubscriptionEnd,
}

impl Subscription {
    /// Begins a subscription.
    #[must_use]
    pub(super) fn begin(stats: Arc<SubscriptionStats>, info: SubscriberInfo) -> Self {
        stats.metrics.subscribed();
        let began = Instant::now();
        let end = SubscriptionEnd::Disconnected;
        Self { stats, info, began, frames: 0, counted: 0, bytes: 0, handed_over: false, end }
    }

    /// Records that a pump serves the subscription from now on.
    pub(super) fn hand_over(&mut self) {
        self.handed_over = true;
        self.stats.metrics.handed_over();
    }

    /// Records that more was sent. The metrics are updated with a delay: all subscribers share those counters, so that
    /// an update for each event of each subscriber would cost too much.
    pub(super) fn sent(&mut self, frames: usize, bytes: usize) {
        self.frames += frames;
        self.bytes += bytes;
    }

    /// Adds what was sent to the metrics.
    pub(super) fn update_metrics(&mut self) {
        if self.bytes > 0 {
            self.stats.metrics.sent((self.frames - self.counted) as u64, self.bytes as u64);
            (self.counted, self.bytes) = (self.frames, 0);
        }
    }

    /// Adds what was sent to the metrics, if it is [`COUNTED_AT_ONCE`] frames or more.
    pub(super) fn update_metrics_if_many(&mut self) {
        if self.frames - self.counted >= COUNTED_AT_ONCE {
            self.update_metrics();
        }
    }

    /// Returns the revocation of the subscriber's key.
    pub(super) fn key(&self) -> Arc<Revocation> {
        Arc::clone(&self.info.key)
    }

    /// Returns true if the subscriber's key was revoked.
    pub(super) fn is_revoked(&self) -> bool {
        self.info.key.is_revoked()
    }

    /// Sets how the subscription ends. Without this call the end is [`SubscriptionEnd::Disconnected`].
    pub(super) fn ends(&mut self, end: SubscriptionEnd) {
        self.end = end;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.update_metrics();
        self.stats.metrics.subscription_ended(self.handed_over, self.end.as_str());
        self.stats.ended.fetch_add(1, Ordering::Relaxed);
        tracing::info!(
            request_id = self.info.request_id,
            task_id = %self.info.task_id,
            end = %self.end.as_str(),
            frames = self.frames,
            ms = self.began.elapsed().as_millis() as u64,
            handed_over = self.handed_over,
            "stream ended"
        );
    }
}
