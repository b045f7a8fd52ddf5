//! The account of one subscriber: which events it received, and whether it received each event once and in order.

use super::super::Outcome;
use super::super::kit::frames::{Ends, Frames};
use super::super::kit::response::Response;
use super::super::stamp::Stamp;
use super::super::statistics::Durations;

/// The events that all subscribers together received.
#[derive(Debug)]
pub(crate) struct Tally {
    ends: Ends,
    /// The times from when an event was made until it was read.
    pub(crate) latencies: Durations,
    /// The times from when the first event of a task was made until it was read.
    pub(crate) beginnings: Durations,
    pub(crate) delivered: u64,
    pub(crate) missing: u64,
    pub(crate) repeated: u64,
    pub(crate) frame_bytes: u64,
    /// When the first event was made, and when the last one was read.
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl Tally {
    pub(crate) fn new() -> Outcome<Self> {
        Ok(Self {
            ends: Ends::feeds(),
            latencies: Durations::new()?,
            beginnings: Durations::new()?,
            delivered: 0,
            missing: 0,
            repeated: 0,
            frame_bytes: 0,
            first: u64::MAX,
            last: 0,
        })
    }

    /// Adds a frame that a subscriber read at time `at` while it expected event `next`; returns the event that it
    /// expects then.
    fn add(&mut self, frame: &[u8], at: u64, next: u64) -> u64 {
        let Some(stamp) = Stamp::find(frame) else { return next };
        if stamp.index < next {
            self.repeated += 1;
            return next;
        }
        self.missing += stamp.index - next;
        self.delivered += 1;
        self.frame_bytes += frame.len() as u64;
        let latency = at.saturating_sub(stamp.made);
        self.latencies.add(latency);
        if stamp.index == 0 {
            self.beginnings.add(latency);
        }
        self.first = stamp.made.min(self.first);
        self.last = at;
        stamp.index + 1
    }
}

/// One subscriber.
#[derive(Debug)]
pub(crate) struct Subscriber {
    response: Response,
    frames: Frames,
    next: u64,
}

impl Subscriber {
    pub(crate) fn new() -> Self {
        Self { response: Response::new(), frames: Frames::default(), next: 0 }
    }

    /// Returns the state of its response.
    pub(crate) fn response(&self) -> &Response {
        &self.response
    }

    /// Returns the number of the next event, which is the number of events so far.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Takes the bytes that were read at time `at`.
    pub(crate) fn take(&mut self, bytes: &[u8], at: u64, tally: &mut Tally) -> Outcome<()> {
        let Self { response, frames, next } = self;
        // A copy, because the tally is modified while the frames are separated.
        let ends = tally.ends.clone();
        response.take(bytes, |data| frames.take(data, &ends, |frame| *next = tally.add(frame, at, *next)))?;
        response.must_be_ok()
    }
}
