//! A subscriber whose socket was handed over: its cursor, its socket, and what the socket has yet to take.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use mio::net::TcpStream;

use super::cursor::{Cursor, Step};
use super::socket::OpenFile;
use super::topic::{Framing, Packer, Parcel};
use super::visit::{Departure, Visit};
use crate::task::Mark;

/// Pieces that one subscriber is sent before others have their turn.
const PIECES_A_TURN: usize = 4;
/// Most bytes of frames in one piece. A socket takes less than this at once, and what is left of a piece is copied from the
/// log again when it takes more.
const MOST_IN_A_PIECE: usize = 64 * 1024;
/// Most bytes that are read at once of what a client sends behind its request; they are thrown away.
const DISCARDED_AT_ONCE: usize = 4 * 1024;
/// Most that is read so at a subscription's end. A client that sends more than this has its connection reset.
const DISCARDED_AT_THE_END: usize = 64 * 1024;

/// A subscriber.
#[derive(Debug)]
pub(super) struct Subscriber {
    socket: TcpStream,
    _file: OpenFile,
    pub(super) framing: Framing,
    pub(super) cursor: Cursor,
    pub(super) visit: Visit,
    /// Its topic, and its place among the topic's members.
    pub(super) topic: usize,
    pub(super) place: usize,
    /// What it is being sent, and how many bytes of that its socket has taken.
    begun: Option<(Parcel, usize)>,
    /// True while its socket is full: then nothing is written before it is writable.
    is_full: bool,
    side: Side,
    /// True while it is in the queue of subscribers that are served with a delay.
    pub(super) is_behind: bool,
    last_write: Instant,
}

/// What a subscriber has said of its side of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Open,
    /// The subscriber has ended it, and nothing was written since. If it has left, its system refuses what is written next.
    JustEnded,
    Ended,
}

/// How long a connection may be silent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Silence {
    /// Then it is sent a comment.
    pub(super) keep_alive: Duration,
    /// Then, where it is the subscriber who takes nothing, it is closed.
    pub(super) send_timeout: Duration,
}

/// What is to be done about a subscriber to whom nothing has happened for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Fine,
    /// It is to be sent a comment.
    Silent,
    /// It takes nothing.
    Stuck,
}

/// What became of an attempt to send a subscriber what it is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Served {
    /// It has everything that there is, or its socket takes no more.
    Up,
    /// There is more, but others have their turn.
    More,
    /// It is over.
    Over(Departure),
}

impl Subscriber {
    /// One who has read nothing but what the HTTP server has sent.
    pub(super) fn new(
        (socket, file): (TcpStream, OpenFile),
        framing: Framing,
        cursor: Cursor,
        visit: Visit,
        (topic, place): (usize, usize),
        now: Instant,
    ) -> Self {
        Self {
            socket,
            _file: file,
            framing,
            cursor,
            visit,
            topic,
            place,
            begun: None,
            is_full: false,
            side: Side::Open,
            is_behind: false,
            last_write: now,
        }
    }

    /// Sends what the log has for it, or the comment where it was sent nothing for so long.
    pub(super) fn serve(
        &mut self,
        packer: &mut Packer,
        mark: Mark,
        keep_alive: Duration,
        now: Instant,
    ) -> Served {
        for _ in 0..PIECES_A_TURN {
            if self.is_full {
                return Served::Up;
            }
            if self.begun.is_none() {
                match self.cursor.step(packer.log(), mark, MOST_IN_A_PIECE) {
                    Step::Wait
                        if now.duration_since(self.last_write) >= keep_alive
                            || self.side == Side::JustEnded =>
                    {
                        self.begun = Some((Parcel::KeepAlive, 0));
                    }
                    Step::Wait => return Served::Up,
                    Step::Send(span) => self.begun = Some((Parcel::Frames(span), 0)),
                    Step::End => return Served::Over(Departure::Complete),
                    Step::BreakOff => return Served::Over(Departure::BrokenOff),
                }
            }
            if let Err(departure) = self.write(packer, now) {
                return Served::Over(departure);
            }
        }
        if self.cursor.has_ended() && self.begun.is_none() {
            return Served::Over(Departure::Complete);
        }
        Served::More
    }

    /// Has this much time not count against a subscriber that takes nothing. The comment for one that takes all is due all
    /// the same: it has heard nothing for that time.
    pub(super) fn forgive(&mut self, time: Duration) {
        if self.is_full {
            self.last_write += time;
        }
    }

    /// Its socket takes bytes again.
    pub(super) fn go_on(&mut self) {
        self.is_full = false;
    }

    /// Notes that the subscriber sends no more. It may go on reading, as `nc -N` does: it is written to, which tells
    /// whether it has left. Returns true if this is news.
    pub(super) fn has_ended_its_side(&mut self) -> bool {
        let is_news = self.side == Side::Open;
        if is_news {
            self.side = Side::JustEnded;
        }
        is_news
    }

    /// Joins those who are served by and by, unless it is among them.
    pub(super) fn queue_up(&mut self, place: usize, queue: &mut VecDeque<usize>) {
        if !std::mem::replace(&mut self.is_behind, true) {
            queue.push_back(place);
        }
    }

    /// How it does.
    pub(super) fn look(&self, limits: Silence, now: Instant) -> Look {
        let silent = now.duration_since(self.last_write);
        if self.is_full && silent >= limits.send_timeout {
            Look::Stuck
        } else if self.begun.is_none() && silent >= limits.keep_alive {
            Look::Silent
        } else {
            Look::Fine
        }
    }

    /// Writes what was begun, as far as the socket takes it.
    fn write(&mut self, packer: &mut Packer, now: Instant) -> Result<(), Departure> {
        let Some((parcel, mut written)) = self.begun else { return Ok(()) };
        let bytes = packer.pack(parcel, self.framing).ok_or(Departure::BrokenOff)?;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match self.socket.write(rest) {
                Ok(0) => return Err(Departure::Left),
                Ok(taken) => {
                    written += taken;
                    self.last_write = now;
                    if self.side == Side::JustEnded {
                        self.side = Side::Ended;
                    }
                }
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => {
                    self.is_full = true;
                    self.begun = Some((parcel, written));
                    return Ok(());
                }
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(Departure::Left),
            }
        }
        self.begun = None;
        if let Parcel::Frames(span) = parcel {
            self.cursor.sent(span);
            self.visit.sent(span.frames(), bytes.len());
        }
        Ok(())
    }

    /// Reads what the client has sent, which is of no interest. Returns false if that has ended.
    ///
    /// One who goes on sending is not read to the end at once: what is not read fills the client's side.
    pub(super) fn discard(&mut self) -> bool {
        let mut waste = [0; DISCARDED_AT_ONCE];
        match self.socket.read(&mut waste) {
            Ok(read) => read > 0,
            Err(err) => matches!(err.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
        }
    }

    /// Closes the connection.
    pub(super) fn close(mut self, departure: Departure) {
        self.visit.ends(departure);
        if departure == Departure::Complete {
            // A socket that is closed with something unread in it is reset, and what is on its way to the client is lost.
            let mut waste = [0; DISCARDED_AT_ONCE];
            let mut left = DISCARDED_AT_THE_END;
            while let Ok(read @ 1..) = self.socket.read(&mut waste) {
                left = left.saturating_sub(read);
                if left == 0 {
                    break;
                }
            }
            // Fails where the client has closed it already.
            let _ = self.socket.shutdown(Shutdown::Write);
        }
    }
}
