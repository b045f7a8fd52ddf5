//! A subscription as a response's body: it gives frames to whoever asks, or hands itself over to a pump.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use futures_util::{Stream, stream};
use tokio::time::{Instant, Sleep, sleep};

use super::cursor::Step;
use super::pump::{Arrival, PumpHandle};
use super::socket::HandOver;
use super::visit::Departure;
use crate::wire::event_stream::KEEP_ALIVE;

/// The server stops and the task has not ended: the connection breaks off, so that no reader takes this for
/// the end of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokenOff;

impl fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server stops before the task has ended")
    }
}

impl std::error::Error for BrokenOff {}

/// How a body gets to a pump.
pub(super) type Exit = (Rc<HandOver>, PumpHandle);

/// The body of a response to a subscriber: the comment that opens it, then the frames; in silence, comments.
pub(super) fn frames(
    arrival: Arrival,
    keep_alive: Duration,
    exit: Option<Exit>,
) -> impl Stream<Item = Result<Bytes, BrokenOff>> + 'static {
    stream::unfold(Stage::Opening(arrival, exit), move |stage| stage.next(keep_alive))
}

enum Stage {
    /// Nothing was sent yet.
    Opening(Arrival, Option<Exit>),
    /// The first piece is in the HTTP server's buffer.
    Leaving(Arrival, Exit),
    Flowing(Flow),
    Over,
}

type Piece = Result<Bytes, BrokenOff>;

impl Stage {
    async fn next(self, keep_alive: Duration) -> Option<(Piece, Self)> {
        let mut flow = match self {
            Self::Opening(arrival, exit) => {
                let next = match exit {
                    Some(exit) => Self::Leaving(arrival, exit),
                    None => Self::Flowing(Flow::of(arrival, keep_alive)),
                };
                return Some((Ok(KEEP_ALIVE), next));
            }
            Self::Leaving(arrival, (hand_over, pump)) => {
                hand_over.ask(pump, arrival);
                // Whoever flushes the connection has it polled again. Ends only where the pump declines: otherwise the
                // connection is gone from here.
                let declined = poll_fn(|_| hand_over.take_back().map_or(Poll::Pending, Poll::Ready)).await;
                Flow::of(declined, keep_alive)
            }
            Self::Flowing(flow) => flow,
            Self::Over => return None,
        };
        let piece = flow.next().await?;
        let next = if piece.is_ok() { Self::Flowing(flow) } else { Self::Over };
        Some((piece, next))
    }
}

/// A subscription that stays.
struct Flow {
    arrival: Arrival,
    keep_alive: Duration,
    last_piece: Instant,
    /// Fires when it may be time for a comment. It is not set anew with each piece: timers are dear.
    silence: Pin<Box<Sleep>>,
}

impl Flow {
    fn of(arrival: Arrival, keep_alive: Duration) -> Self {
        Self { arrival, keep_alive, last_piece: Instant::now(), silence: Box::pin(sleep(keep_alive)) }
    }

    /// The next piece; `None` behind the last.
    async fn next(&mut self) -> Option<Piece> {
        let Arrival { log, cursor, visit, .. } = &mut self.arrival;
        loop {
            let mark = log.look();
            match cursor.step(log, mark) {
                Step::Wait => {}
                Step::Send(span) => {
                    let piece = span.piece(log);
                    cursor.sent(span);
                    visit.count(span.frames());
                    if cursor.has_ended() {
                        visit.ends(Departure::Complete);
                    }
                    self.last_piece = Instant::now();
                    return Some(Ok(piece));
                }
                Step::End => {
                    visit.ends(Departure::Complete);
                    return None;
                }
                Step::BreakOff => {
                    visit.ends(Departure::BrokenOff);
                    return Some(Err(BrokenOff));
                }
            }
            let stirred = std::pin::pin!(log.stirred());
            if let Either::Right(_) = select(stirred, self.silence.as_mut()).await {
                let now = Instant::now();
                let due = self.last_piece + self.keep_alive;
                let is_due = due <= now;
                if is_due {
                    self.last_piece = now;
                }
                self.silence.as_mut().reset(self.last_piece + self.keep_alive);
                if is_due {
                    return Some(Ok(KEEP_ALIVE));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::StreamExt;

    use super::super::cursor::Cursor;
    use super::super::topic::Framing;
    use super::super::visit::{Audience, Visit, Visitor};
    use super::*;
    use crate::task::chunk_log::ChunkLog;
    use crate::task::id::TaskId;

    fn body_of(log: &ChunkLog, keep_alive: u64) -> impl Stream<Item = Piece> + use<> {
        let visitor = Visitor { request_id: "req-1".into(), task_id: TaskId::generate(7) };
        let arrival = Arrival {
            log: log.reader(),
            cursor: Cursor::at(0),
            framing: Framing::Chunked,
            visit: Visit::begin(Arc::new(Audience::default()), visitor),
        };
        frames(arrival, Duration::from_secs(keep_alive), None)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_the_comment_and_the_frames_and_then_it_is_over() {
        let mut log =
            ChunkLog::of(vec![Bytes::from_static(b"data: a\n\n"), Bytes::from_static(b"data: b\n\n")]);
        log.append(Bytes::from_static(b"data: end\n\n"));
        log.end();
        let pieces: Vec<Bytes> = body_of(&log, 15).map(Result::unwrap).collect().await;
        assert_eq!(pieces.concat(), b": keep-alive\nretry: 2000\ndata: a\n\ndata: b\n\ndata: end\n\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_is_left_to_the_next_start_breaks_its_readers_off() {
        let mut log = ChunkLog::of(vec![Bytes::from_static(b"data: a\n\n")]);
        let mut body = Box::pin(body_of(&log, 15));
        assert_eq!(body.next().await, Some(Ok(KEEP_ALIVE)));
        log.park();
        assert_eq!(body.next().await, Some(Ok(Bytes::from_static(b"retry: 2000\ndata: a\n\n"))));
        assert_eq!(body.next().await, Some(Err(BrokenOff)));
        assert_eq!(body.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_broken_by_comments_and_only_silence() {
        let mut log = ChunkLog::default();
        let mut body = Box::pin(body_of(&log, 15));
        assert_eq!(body.next().await, Some(Ok(KEEP_ALIVE)));
        let started = Instant::now();
        assert_eq!(body.next().await, Some(Ok(KEEP_ALIVE)));
        assert_eq!(started.elapsed().as_secs(), 15);
        tokio::time::advance(Duration::from_secs(10)).await;
        log.append(Bytes::from_static(b"data: a\n\n"));
        log.publish();
        assert_eq!(body.next().await, Some(Ok(Bytes::from_static(b"retry: 2000\ndata: a\n\n"))));
        let started = Instant::now();
        assert_eq!(body.next().await, Some(Ok(KEEP_ALIVE)));
        assert_eq!(started.elapsed().as_secs(), 15);
    }
}
