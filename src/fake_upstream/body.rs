//! A response body that plays a score: pauses are timers, pieces are as small as the script wants them, and a
//! connection that is to be closed is closed behind the last byte that was to be sent.
//!
//! The server writes each piece by itself and asks for the next one when the system has taken it (its write buffer
//! is one byte long). So a cut happens where the script says, and not a buffer earlier.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;
use tokio::time::{Sleep, sleep};

use super::ledger::Call;
use super::score::{Act, Score};

/// The body of one answer.
#[derive(Debug)]
pub(super) struct Playback {
    score: Score,
    call: Call,
    pause: Duration,
    split: usize,
    /// What is left of the bytes that the score said last.
    said: Bytes,
    /// How many bytes more until the connection is closed.
    limit: Option<u64>,
    sleep: Option<Pin<Box<Sleep>>>,
}

/// The script closes the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the script closes the connection")
    }
}

impl std::error::Error for Closed {}

impl From<Infallible> for Closed {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl Playback {
    /// A body that pauses for `pause` between texts and goes out in pieces of `split` bytes, or of a frame each.
    pub(super) fn new(score: Score, call: Call, pause: Duration, split: Option<usize>) -> Self {
        let split = split.unwrap_or(usize::MAX);
        Self { score, call, pause, split, said: Bytes::new(), limit: None, sleep: None }
    }

    /// The next piece of what was said; none where the limit is reached.
    fn piece(&mut self) -> Option<Bytes> {
        let mut length = self.said.len().min(self.split);
        if let Some(limit) = &mut self.limit {
            length = length.min(usize::try_from(*limit).unwrap_or(usize::MAX));
            *limit -= length as u64;
        }
        (length > 0).then(|| self.said.split_to(length))
    }
}

impl MessageBody for Playback {
    type Error = Closed;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Closed>>> {
        let this = &mut *self;
        loop {
            if let Some(sleep) = &mut this.sleep {
                ready!(sleep.as_mut().poll(cx));
                this.sleep = None;
            }
            if this.limit == Some(0) {
                this.call.ended();
                return Poll::Ready(Some(Err(Closed)));
            }
            if !this.said.is_empty() {
                return Poll::Ready(this.piece().map(Ok));
            }
            match this.score.act() {
                Act::Say(bytes) => this.said = bytes,
                Act::Pause => this.sleep = Some(Box::pin(sleep(this.pause))),
                Act::Limit(bytes) => this.limit = Some(bytes),
                // The connection wakes when the client leaves, and then drops this.
                Act::Hang => return Poll::Pending,
                // A limit that was not reached still costs the end of the body.
                Act::End if this.limit.is_none() => {
                    this.call.ended();
                    return Poll::Ready(None);
                }
                Act::Break | Act::End => this.limit = Some(0),
            }
        }
    }
}
