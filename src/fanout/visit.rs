//! A subscriber's stay: counted while it lasts, told to the log when it is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::keys::Revocation;
use crate::metrics::FanoutMetrics;
use crate::task::TaskId;

/// So many frames the HTTP server sends a subscriber before they are counted.
const COUNTED_AT_ONCE: usize = 64;

/// Everybody who was subscribed.
#[derive(Debug)]
pub struct Audience {
    left: AtomicUsize,
    metrics: FanoutMetrics,
}

impl Audience {
    /// Nobody yet.
    #[must_use]
    pub fn new(metrics: FanoutMetrics) -> Self {
        Self { left: AtomicUsize::new(0), metrics }
    }

    /// Subscribers who were there, and are no more.
    #[must_use]
    pub fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }
}

/// How a subscription comes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Departure {
    /// The subscriber left, or its connection broke.
    Left,
    /// It was sent everything, up to the terminal frame.
    Complete,
    /// The server stops before the task has ended.
    BrokenOff,
    /// It took nothing of what it was sent for too long.
    Stuck,
    /// Its key was revoked.
    Revoked,
}

impl Departure {
    fn as_str(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Complete => "complete",
            Self::BrokenOff => "broken_off",
            Self::Stuck => "stuck",
            Self::Revoked => "revoked",
        }
    }
}

/// Who reads which stream.
#[derive(Debug)]
pub struct Visitor {
    /// Of the request that subscribed.
    pub request_id: Box<str>,
    /// The task whose stream it is.
    pub task_id: TaskId,
    /// Of the key that it has subscribed with.
    pub key: Arc<Revocation>,
}

/// One subscription, until its connection, or the HTTP server for it, was given the last of its frames. Dropped, it is
/// over.
#[derive(Debug)]
pub(super) struct Visit {
    audience: Arc<Audience>,
    visitor: Visitor,
    began: Instant,
    frames: usize,
    /// As many of them are counted.
    counted: usize,
    /// Bytes that were sent and are not.
    bytes: usize,
    /// True if the socket was handed over.
    handed_over: bool,
    departure: Departure,
}

impl Visit {
    /// A visit that begins now.
    #[must_use]
    pub(super) fn begin(audience: Arc<Audience>, visitor: Visitor) -> Self {
        audience.metrics.came();
        let began = Instant::now();
        let departure = Departure::Left;
        Self { audience, visitor, began, frames: 0, counted: 0, bytes: 0, handed_over: false, departure }
    }

    /// From here on a pump serves it.
    pub(super) fn hand_over(&mut self) {
        self.handed_over = true;
        self.audience.metrics.handed_over();
    }

    /// So many frames more were sent. This is noted here, and told by and by: a counter that all subscribers share is no
    /// place to go to for each event of each.
    pub(super) fn sent(&mut self, frames: usize, bytes: usize) {
        self.frames += frames;
        self.bytes += bytes;
    }

    /// Tells what was sent.
    pub(super) fn tell(&mut self) {
        if self.bytes > 0 {
            self.audience.metrics.sent((self.frames - self.counted) as u64, self.bytes as u64);
            (self.counted, self.bytes) = (self.frames, 0);
        }
    }

    /// Tells what was sent, where it is something.
    pub(super) fn tell_some(&mut self) {
        if self.frames - self.counted >= COUNTED_AT_ONCE {
            self.tell();
        }
    }

    /// The subscriber's key.
    pub(super) fn key(&self) -> Arc<Revocation> {
        Arc::clone(&self.visitor.key)
    }

    /// True if the subscriber's key was revoked.
    pub(super) fn is_revoked(&self) -> bool {
        self.visitor.key.is_revoked()
    }

    /// Says how it ends; unsaid, the subscriber has left.
    pub(super) fn ends(&mut self, departure: Departure) {
        self.departure = departure;
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.tell();
        self.audience.metrics.went(self.handed_over, self.departure.as_str());
        self.audience.left.fetch_add(1, Ordering::Relaxed);
        tracing::info!(
            request_id = self.visitor.request_id,
            task_id = %self.visitor.task_id,
            end = %self.departure.as_str(),
            frames = self.frames,
            ms = self.began.elapsed().as_millis() as u64,
            handed_over = self.handed_over,
            "stream ended"
        );
    }
}
