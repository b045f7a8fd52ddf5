//! A response body that carries out the acts of an answer. It pauses with timers, sends pieces of the size that the
//! script sets, and closes the connection after the last byte that the script allows.
//!
//! The server writes each piece separately, and requests the next one when the system has taken it (its write buffer
//! is one byte long). So a cut is at the byte that the script names, not a buffer earlier.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;
use tokio::time::{Sleep, sleep};

use super::acts::{Act, Acts};
use super::ledger::CountedCall;

/// The body of one answer.
#[derive(Debug)]
pub(super) struct Playback {
    acts: Acts,
    call: CountedCall,
    pause: Duration,
    split: usize,
    /// The unsent rest of the bytes of the last act.
    unsent: Bytes,
    /// Bytes left until the connection is closed.
    limit: Option<u64>,
    sleep: Option<Pin<Box<Sleep>>>,
}

/// The error with which the script closes the connection.
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
    /// Creates a body that pauses for `pause` between texts and is sent in pieces of `split` bytes, or frame by frame.
    pub(super) fn new(acts: Acts, call: CountedCall, pause: Duration, split: Option<usize>) -> Self {
        let split = split.unwrap_or(usize::MAX);
        Self { acts, call, pause, split, unsent: Bytes::new(), limit: None, sleep: None }
    }

    /// Returns the next piece; `None` if the limit is reached.
    fn piece(&mut self) -> Option<Bytes> {
        let mut length = self.unsent.len().min(self.split);
        if let Some(limit) = &mut self.limit {
            length = length.min(usize::try_from(*limit).unwrap_or(usize::MAX));
            *limit -= length as u64;
        }
        (length > 0).then(|| self.unsent.split_to(length))
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
            if !this.unsent.is_empty() {
                return Poll::Ready(this.piece().map(Ok));
            }
            match this.acts.act() {
                Act::Send(bytes) => this.unsent = bytes,
                Act::Pause => this.sleep = Some(Box::pin(sleep(this.pause))),
                Act::Limit(bytes) => this.limit = Some(bytes),
                // If the client disconnects, the connection wakes and drops this.
                Act::Hang => return Poll::Pending,
                // A body with a limit is cut even if it ends before the limit: its end is not sent.
                Act::End if this.limit.is_none() => {
                    this.call.ended();
                    return Poll::Ready(None);
                }
                Act::Break | Act::End => this.limit = Some(0),
            }
        }
    }
}
