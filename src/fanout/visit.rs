//! A subscriber's stay: counted while it lasts, told to the log when it is over.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::task::id::TaskId;

/// Everybody who was subscribed.
#[derive(Debug, Default)]
pub struct Audience {
    left: AtomicUsize,
}

impl Audience {
    /// Subscribers who were there, and are no more.
    #[must_use]
    pub fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }
}

/// How a subscription comes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// The subscriber left, or its connection broke.
    Left,
    /// It was sent everything, up to the terminal frame.
    Complete,
    /// The server stops before the task has ended.
    BrokenOff,
    /// It took nothing of what it was sent for too long.
    Stuck,
}

impl fmt::Display for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Left => "left",
            Self::Complete => "complete",
            Self::BrokenOff => "broken_off",
            Self::Stuck => "stuck",
        })
    }
}

/// Who reads which stream.
#[derive(Debug)]
pub struct Visitor {
    /// Of the request that subscribed.
    pub request_id: Box<str>,
    /// The task whose stream it is.
    pub task_id: TaskId,
}

/// One subscription, until its connection, or the HTTP server for it, was given the last of its frames. Dropped, it is
/// over.
#[derive(Debug)]
pub struct Visit {
    audience: Arc<Audience>,
    visitor: Visitor,
    began: Instant,
    frames: usize,
    /// Was the socket handed over?
    handed_over: bool,
    departure: Departure,
}

impl Visit {
    /// A visit that begins now.
    #[must_use]
    pub fn begin(audience: Arc<Audience>, visitor: Visitor) -> Self {
        let began = Instant::now();
        Self { audience, visitor, began, frames: 0, handed_over: false, departure: Departure::Left }
    }

    /// From here on a pump serves it.
    pub(super) fn hand_over(&mut self) {
        self.handed_over = true;
    }

    /// So many frames more were sent.
    pub(super) fn count(&mut self, frames: usize) {
        self.frames += frames;
    }

    /// Says how it ends; unsaid, the subscriber has left.
    pub(super) fn ends(&mut self, departure: Departure) {
        self.departure = departure;
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.audience.left.fetch_add(1, Ordering::Relaxed);
        tracing::info!(
            request_id = self.visitor.request_id,
            task_id = %self.visitor.task_id,
            end = %self.departure,
            frames = self.frames,
            ms = self.began.elapsed().as_millis() as u64,
            handed_over = self.handed_over,
            "stream ended"
        );
    }
}
