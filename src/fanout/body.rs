//! A subscription as a response's body: it gives frames to whoever asks, or hands itself over to a pump.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::Stream;

use super::circle::{Circles, Seat};
use super::cursor::{Span, Step};
use super::pump::{Arrival, PumpHandle};
use super::socket::HandOver;
use super::visit::Departure;
use crate::wire::event_stream::KEEP_ALIVE;

/// Most bytes of frames in one piece. The HTTP server copies each piece into the connection's buffer: this is what a
/// subscriber that does not read costs.
const MOST_IN_A_PIECE: usize = 16 * 1024;

/// The stream ends before its task does, because the server stops or the subscriber's key was revoked: the connection
/// breaks off, so that no reader takes this for the end of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokenOff;

impl fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the stream ends before its task: the server stops, or the key was revoked")
    }
}

impl std::error::Error for BrokenOff {}

/// The body of a response to a subscriber: the comment that opens it, the frames; in silence, comments.
#[derive(Debug)]
pub struct Body {
    stage: Stage,
    circles: Rc<Circles>,
    keep_alive: Duration,
}

/// How a body gets to a pump.
pub(super) type Exit = (Rc<HandOver>, PumpHandle);

#[derive(Debug)]
enum Stage {
    /// Nothing was sent yet.
    Opening(Box<Arrival>, Option<Exit>),
    /// The comment, and what there was to read, is in the HTTP server's buffer.
    Leaving(Box<Arrival>, Exit),
    /// The subscription is with the connection. It comes back only where the pump declines it.
    Left(Rc<HandOver>),
    Staying(Box<Arrival>, Seat),
    /// To break off once the HTTP server has sent what it has.
    BreakingOff,
    Over,
}

impl Body {
    pub(super) fn new(
        arrival: Box<Arrival>,
        keep_alive: Duration,
        circles: Rc<Circles>,
        exit: Option<Exit>,
    ) -> Self {
        Self { stage: Stage::Opening(arrival, exit), circles, keep_alive }
    }

    fn stay(&self, arrival: Box<Arrival>) -> Stage {
        let seat = self.circles.join(arrival.log.log(), self.keep_alive, arrival.visit.key());
        Stage::Staying(arrival, seat)
    }
}

impl Stream for Body {
    type Item = Result<Bytes, BrokenOff>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Stage::Staying(arrival, seat) = &mut self.stage {
                let piece = arrival.piece(seat, cx);
                return match piece {
                    Poll::Ready(Some(Err(BrokenOff))) => {
                        self.stage = Stage::BreakingOff;
                        // At an error the server throws its buffer away, be the response's head in it.
                        cx.waker().wake_by_ref();
                        Poll::Pending
                    }
                    Poll::Ready(None) => {
                        self.stage = Stage::Over;
                        Poll::Ready(None)
                    }
                    piece => piece,
                };
            }
            match std::mem::replace(&mut self.stage, Stage::Over) {
                Stage::Opening(mut arrival, exit) => {
                    let piece = arrival.opening();
                    self.stage = match exit {
                        _ if arrival.cursor.has_ended() => Stage::Over,
                        Some(exit) => Stage::Leaving(arrival, exit),
                        None => self.stay(arrival),
                    };
                    return Poll::Ready(Some(Ok(piece)));
                }
                Stage::Leaving(arrival, (hand_over, pump)) => {
                    hand_over.ask(pump, arrival);
                    self.stage = Stage::Left(hand_over);
                    // Whoever flushes the connection has its dispatcher polled again.
                    return Poll::Pending;
                }
                Stage::Left(hand_over) => {
                    let Some(declined) = hand_over.take_back() else {
                        self.stage = Stage::Left(hand_over);
                        return Poll::Pending;
                    };
                    self.stage = self.stay(declined);
                }
                Stage::BreakingOff => return Poll::Ready(Some(Err(BrokenOff))),
                Stage::Staying(..) | Stage::Over => return Poll::Ready(None),
            }
        }
    }
}

impl Arrival {
    /// The comment that opens a response, and what there is to read already: it leaves with the response's head.
    fn opening(&mut self) -> Bytes {
        let Step::Send(span) = self.cursor.step(&self.log, self.log.mark(), MOST_IN_A_PIECE) else {
            return KEEP_ALIVE;
        };
        let mut piece = BytesMut::with_capacity(KEEP_ALIVE.len() + span.bytes(&self.log));
        piece.extend_from_slice(&KEEP_ALIVE);
        if !span.write_to(&self.log, &mut piece) {
            // The next piece says so.
            return KEEP_ALIVE;
        }
        self.sent(span, piece.len() - KEEP_ALIVE.len());
        piece.freeze()
    }

    fn sent(&mut self, span: Span, bytes: usize) {
        self.cursor.sent(span);
        self.visit.sent(span.frames(), bytes);
        self.visit.tell_some();
        if self.cursor.has_ended() {
            self.visit.ends(Departure::Complete);
        }
    }

    fn piece(&mut self, seat: &Seat, cx: &Context<'_>) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        // Before the looks at key and log: what happens in between wakes it.
        seat.wait(cx);
        if self.visit.is_revoked() {
            self.visit.ends(Departure::Revoked);
            return Poll::Ready(Some(Err(BrokenOff)));
        }
        match self.cursor.step(&self.log, self.log.mark(), MOST_IN_A_PIECE) {
            Step::Wait if seat.is_silent() => {
                seat.sent();
                Poll::Ready(Some(Ok(KEEP_ALIVE)))
            }
            Step::Wait => Poll::Pending,
            Step::Send(span) => {
                let Some(piece) = span.piece(&self.log) else {
                    self.visit.ends(Departure::BrokenOff);
                    return Poll::Ready(Some(Err(BrokenOff)));
                };
                self.sent(span, piece.len());
                seat.sent();
                Poll::Ready(Some(Ok(piece)))
            }
            Step::End => {
                self.visit.ends(Departure::Complete);
                Poll::Ready(None)
            }
            Step::BreakOff => {
                self.visit.ends(Departure::BrokenOff);
                Poll::Ready(Some(Err(BrokenOff)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::StreamExt;
    use tokio::task::LocalSet;
    use tokio::time::Instant;

    use super::super::cursor::Cursor;
    use super::super::topic::Framing;
    use super::super::visit::{Audience, Visit, Visitor};
    use super::*;
    use crate::metrics::Metrics;
    use crate::task::testing::{delta, empty, log_of};
    use crate::task::{Format, FrameReader, TaskId};

    /// The bytes that a response begins with, and those of a frame.
    fn opened(comment: &str, frame: &Bytes) -> Bytes {
        [comment.as_bytes(), b"retry: 2000\n", frame].concat().into()
    }

    fn body_of(log: FrameReader, keep_alive: u64) -> Body {
        let visitor =
            Visitor { request_id: "req-1".into(), task_id: TaskId::generate(7), key: Arc::default() };
        let arrival = Arrival {
            log,
            cursor: Cursor::at(0),
            framing: Framing::Chunked,
            visit: Visit::begin(
                Arc::new(Audience::new(Metrics::new(std::iter::empty()).unwrap().fanout)),
                visitor,
            ),
        };
        Body::new(Box::new(arrival), Duration::from_secs(keep_alive), Rc::default(), None)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_the_comment_and_the_frames_and_then_it_is_over() {
        let all = async {
            let mut log = log_of(["a", "b"]);
            log.append(delta("end"));
            log.end();
            for (format, opening) in [
                (Format::Tasks, ": keep-alive\nretry: 2000\n"),
                (Format::Chat { usage: true }, ": keep-alive\n"),
            ] {
                let reader = log.reader().in_format(format);
                let expected = [opening.as_bytes(), &reader.all()].concat();
                let pieces: Vec<Bytes> = body_of(reader, 15).map(Result::unwrap).collect().await;
                assert_eq!(pieces.concat(), expected);
            }
        };
        LocalSet::new().run_until(all).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_is_left_to_the_next_start_breaks_its_readers_off() {
        let all = async {
            let mut log = log_of(["a"]);
            let mut body = Box::pin(body_of(log.frames(), 15));
            let opening = opened(": keep-alive\n", &log.frames().all());
            assert_eq!(body.next().await, Some(Ok(opening)));
            log.park();
            assert_eq!(body.next().await, Some(Err(BrokenOff)));
            assert_eq!(body.next().await, None);
        };
        LocalSet::new().run_until(all).await;
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_broken_by_comments_and_only_silence() {
        let all = async {
            let mut log = empty();
            let mut body = Box::pin(body_of(log.frames(), 15));
            assert_eq!(body.next().await, Some(Ok(KEEP_ALIVE)));
            let started = Instant::now();
            assert_eq!(body.next().await, Some(Ok(KEEP_ALIVE)));
            assert_eq!(started.elapsed().as_secs(), 15);
            tokio::time::advance(Duration::from_secs(10)).await;
            log.append(delta("a"));
            log.publish(log.len());
            assert_eq!(body.next().await, Some(Ok(opened("", &log.frames().all()))));
            let started = Instant::now();
            assert_eq!(body.next().await, Some(Ok(KEEP_ALIVE)));
            assert_eq!(started.elapsed().as_secs(), 15);
        };
        LocalSet::new().run_until(all).await;
    }
}
