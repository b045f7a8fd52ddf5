//! A subscriber whose socket was handed over: its cursor, its socket, and what is still to be written to the socket.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use mio::net::TcpStream;

use super::cursor::{Cursor, CursorStep};
use super::socket::OpenFile;
use super::subscription::{Subscription, SubscriptionEnd};
use super::topic::{Framing, Payload, PayloadCache};
use crate::task::Mark;

/// The most pieces that one subscriber is sent before other subscribers are served.
const PIECES_A_TURN: usize = 4;
/// Most bytes of frames in one piece. A socket takes less than this at once. The rest of a piece is copied from the log
/// again when the socket takes more.
const MOST_IN_A_PIECE: usize = 64 * 1024;
/// Most bytes that are read at once of what a client sends after its request. They are discarded.
const DISCARDED_AT_ONCE: usize = 4 * 1024;
/// Most bytes that are read and discarded at a subscription's end. The connection of a client that sends more is reset.
const DISCARDED_AT_THE_END: usize = 64 * 1024;

/// A subscriber that a pump serves.
#[derive(Debug)]
pub(super) struct Subscriber {
    socket: TcpStream,
    _file: OpenFile,
    pub(super) framing: Framing,
    pub(super) cursor: Cursor,
    pub(super) subscription: Subscription,
    /// The index of the subscriber's topic, and the subscriber's index among the topic's members.
    pub(super) topic: usize,
    pub(super) place: usize,
    /// The payload that is being sent, and how many bytes of it the socket has taken.
    begun: Option<(Payload, usize)>,
    /// True while the socket is full: nothing is written until the socket is writable.
    is_full: bool,
    side: Side,
    /// True while the subscriber is in the queue of subscribers that are served with a delay.
    pub(super) is_behind: bool,
    last_write: Instant,
}

/// The state of the subscriber's side of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Open,
    /// The subscriber has ended its side, and nothing was written since. If it has disconnected, its system refuses
    /// what is written next.
    JustEnded,
    Ended,
}

/// The limits for a silent connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct SilenceLimits {
    /// The time after which a comment is sent over a silent connection.
    pub(super) keep_alive: Duration,
    /// The time after which the connection is closed, if the subscriber takes nothing.
    pub(super) send_timeout: Duration,
}

/// The state of a subscriber to which nothing was written for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SilenceState {
    Fine,
    /// A comment is due.
    CommentDue,
    /// The subscriber takes nothing of what is written.
    Stuck,
}

/// The result of an attempt to send a subscriber the frames that it is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Served {
    /// The subscriber was sent everything that exists, or its socket takes no more.
    CaughtUp,
    /// There is more to send, after other subscribers were served.
    More,
    /// The subscription has ended.
    Ended(SubscriptionEnd),
}

impl Subscriber {
    /// Creates a subscriber that was sent only what the HTTP server has written.
    pub(super) fn new(
        (socket, file): (TcpStream, OpenFile),
        framing: Framing,
        cursor: Cursor,
        subscription: Subscription,
        (topic, place): (usize, usize),
        now: Instant,
    ) -> Self {
        Self {
            socket,
            _file: file,
            framing,
            cursor,
            subscription,
            topic,
            place,
            begun: None,
            is_full: false,
            side: Side::Open,
            is_behind: false,
            last_write: now,
        }
    }

    /// Sends what the log has for the subscriber, or a comment if it was sent nothing for `keep_alive`.
    pub(super) fn serve(
        &mut self,
        cache: &mut PayloadCache,
        mark: Mark,
        keep_alive: Duration,
        now: Instant,
    ) -> Served {
        for _ in 0..PIECES_A_TURN {
            if self.is_full {
                return Served::CaughtUp;
            }
            if self.begun.is_none() {
                match self.cursor.step(cache.log(), mark, MOST_IN_A_PIECE) {
                    CursorStep::Wait
                        if now.duration_since(self.last_write) >= keep_alive
                            || self.side == Side::JustEnded =>
                    {
                        self.begun = Some((Payload::KeepAlive, 0));
                    }
                    CursorStep::Wait => return Served::CaughtUp,
                    CursorStep::Send(span) => self.begun = Some((Payload::Frames(span), 0)),
                    CursorStep::End => return Served::Ended(SubscriptionEnd::Complete),
                    CursorStep::BreakOff => return Served::Ended(SubscriptionEnd::BrokenOff),
                }
            }
            if let Err(end) = self.write(cache, now) {
                return Served::Ended(end);
            }
        }
        if self.cursor.has_ended() && self.begun.is_none() {
            return Served::Ended(SubscriptionEnd::Complete);
        }
        Served::More
    }

    /// Extends the send time-out of a subscriber that takes nothing by this much time. Does not delay the comment for a
    /// subscriber that takes everything, because it has received nothing for that time.
    pub(super) fn discount(&mut self, time: Duration) {
        if self.is_full {
            self.last_write += time;
        }
    }

    /// Records that the socket takes bytes again.
    pub(super) fn socket_has_room(&mut self) {
        self.is_full = false;
    }

    /// Records that the subscriber has ended its side. It may still read, as `nc -N` does; only a write shows whether
    /// it has disconnected. Returns true if the subscriber had not ended its side before.
    pub(super) fn has_ended_its_side(&mut self) -> bool {
        let is_new = self.side == Side::Open;
        if is_new {
            self.side = Side::JustEnded;
        }
        is_new
    }

    /// Adds the subscriber to the queue of those that are served with a delay, unless it is in the queue already.
    pub(super) fn enqueue(&mut self, place: usize, queue: &mut VecDeque<usize>) {
        if !std::mem::replace(&mut self.is_behind, true) {
            queue.push_back(place);
        }
    }

    /// Returns whether the subscriber is due a comment or is stuck.
    pub(super) fn silence_state(&self, limits: SilenceLimits, now: Instant) -> SilenceState {
        let silent = now.duration_since(self.last_write);
        if self.is_full && silent >= limits.send_timeout {
            SilenceState::Stuck
        } else if self.begun.is_none() && silent >= limits.keep_alive {
            SilenceState::CommentDue
        } else {
            SilenceState::Fine
        }
    }

    /// Writes the payload that was begun, as far as the socket takes it.
    fn write(&mut self, cache: &mut PayloadCache, now: Instant) -> Result<(), SubscriptionEnd> {
        let Some((payload, mut written)) = self.begun else { return Ok(()) };
        let bytes = cache.encode(payload, self.framing).ok_or(SubscriptionEnd::BrokenOff)?;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match self.socket.write(rest) {
                Ok(0) => return Err(SubscriptionEnd::Disconnected),
                Ok(taken) => {
                    written += taken;
                    self.last_write = now;
                    if self.side == Side::JustEnded {
                        self.side = Side::Ended;
                    }
                }
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => {
                    self.is_full = true;
                    self.begun = Some((payload, written));
                    return Ok(());
                }
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(SubscriptionEnd::Disconnected),
            }
        }
        self.begun = None;
        if let Payload::Frames(span) = payload {
            self.cursor.sent(span);
            self.subscription.sent(span.frames(), bytes.len());
        }
        Ok(())
    }

    /// Reads and discards some of what the client has sent. Returns false if the client has ended its side.
    ///
    /// A client that keeps sending is not read to the end at once: the unread bytes fill the client's own buffers.
    pub(super) fn discard(&mut self) -> bool {
        let mut discarded = [0; DISCARDED_AT_ONCE];
        match self.socket.read(&mut discarded) {
            Ok(read) => read > 0,
            Err(err) => matches!(err.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
        }
    }

    /// Closes the connection.
    pub(super) fn close(mut self, end: SubscriptionEnd) {
        self.subscription.ends(end);
        if end == SubscriptionEnd::Complete {
            // If a socket is closed with unread bytes in it, the system resets the connection, and what is on its way
            // to the client is lost.
            let mut discarded = [0; DISCARDED_AT_ONCE];
            let mut left = DISCARDED_AT_THE_END;
            while let Ok(read @ 1..) = self.socket.read(&mut discarded) {
                left = left.saturating_sub(read);
                if left == 0 {
                    break;
                }
            }
            // This fails if the client has closed the connection already.
            let _ = self.socket.shutdown(Shutdown::Write);
        }
    }
}
