//! nchan's publisher: posts each event to its task's channel, on schedule.

use std::net::{SocketAddr, TcpStream};

use rustix::event::PollFlags;
use serde::{Deserialize, Serialize};

use super::super::Outcome;
use super::super::chunks::completion_chunk;
use super::super::helper::Director;
use super::super::kit::client::connect;
use super::super::kit::head::ReplyHead;
use super::super::kit::request::Request;
use super::publishing::{held, read_some, write_all};
use super::schedule::Schedule;
use super::workload::Workload;

/// The most connections for all tasks. A task's posts use one connection, so that they stay in order.
const MOST_CONNECTIONS: u64 = 4;
/// The most posts without an answer on one connection: beyond it, the publisher waits for nchan.
const MOST_UNANSWERED: usize = 16;

/// The configuration of the publisher.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Poster {
    pub(crate) workload: Workload,
    pub(crate) server: SocketAddr,
    /// The path to which each task's events are posted.
    pub(crate) paths: Vec<String>,
}

/// A connection with its unanswered posts.
#[derive(Debug)]
struct Line {
    socket: TcpStream,
    unanswered: usize,
    received: Vec<u8>,
}

impl Poster {
    /// Begins on the director's order. When all events were posted and answered, sends how that went.
    pub(crate) fn play(self, director: &Director) -> Outcome<()> {
        let lines = (0..self.workload.tasks.min(MOST_CONNECTIONS)).map(|_| Line::open(self.server));
        let mut lines = lines.collect::<Outcome<Vec<_>>>()?;
        director.wait()?;

        let mut schedule = Schedule::begin(&self.workload)?;
        let mut chunk = Vec::new();
        let count = lines.len();
        while let Some(due) = schedule.next() {
            let line = &mut lines[due.task % count];
            line.answers()?;
            while line.unanswered >= MOST_UNANSWERED {
                held(&line.socket, PollFlags::IN, &mut schedule)?;
                line.answers()?;
            }
            let Some((due, stamp)) = schedule.wait() else { break };
            chunk.clear();
            completion_chunk(stamp, &mut chunk);
            let path = self.paths.get(due.task).ok_or("a task has no channel")?;
            let request = Request::new("POST", path, self.server).json(chunk.as_slice());
            write_all(&line.socket, &request.bytes(), &mut schedule)?;
            line.unanswered += 1;
        }
        for line in &mut lines {
            while line.unanswered > 0 {
                held(&line.socket, PollFlags::IN, &mut schedule)?;
                line.answers()?;
            }
        }
        director.say(&schedule.published())?;
        director.wait()
    }
}

impl Line {
    fn open(server: SocketAddr) -> Outcome<Self> {
        let socket = connect(server)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, unanswered: 0, received: Vec::new() })
    }

    /// Reads the answers that have come.
    fn answers(&mut self) -> Outcome<()> {
        let mut piece = [0; 16 * 1024];
        let length = if self.unanswered > 0 { read_some(&self.socket, &mut piece)? } else { 0 };
        self.received.extend_from_slice(&piece[..length]);
        while let Some((head, length)) = ReplyHead::parse(&self.received)? {
            if !(200..300).contains(&head.status) {
                return Err(format!("nchan answers {} to an event", head.status).into());
            }
            let body = head.headers.number("content-length")?.ok_or("an answer has no content-length")?;
            let end = length + usize::try_from(body)?;
            if end > self.received.len() {
                break;
            }
            self.received.drain(..end);
            self.unanswered -= 1;
        }
        Ok(())
    }
}
