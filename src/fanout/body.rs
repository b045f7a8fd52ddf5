//! A subscription as a response's body: it returns frames when it is polled, or hands itself over to a pump.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::Stream;

use super::cursor::{CursorStep, Span};
use super::pump::{Arrival, PumpHandle};
use super::socket::HandOver;
use super::subscription::SubscriptionEnd;
use super::wake_group::{Membership, WakeGroups};
use crate::wire::event_stream::KEEP_ALIVE;

/// Most bytes of frames in one piece. The HTTP server copies each piece into the connection's buffer, so a subscriber
/// that does not read costs this much memory.
const MOST_IN_A_PIECE: usize = 16 * 1024;

/// The error with which a stream ends before its task does: the server stops, the subscriber's key was revoked, or the
/// frames can no longer be read. The connection is broken off, so that no reader takes this for the regular end of the
/// stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokenOff;

impl fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the stream ends early: the server stops, the key was revoked, or the frames cannot be read",
        )
    }
}

impl std::error::Error for BrokenOff {}

/// The body of a response to a subscriber: an opening comment, then frames, and comments while the task is silent.
#[derive(Debug)]
pub struct SubscriptionBody {
    state: BodyState,
    wake_groups: Rc<WakeGroups>,
    keep_alive: Duration,
}

/// The connection's hand-over and the pump that is to serve the subscription.
pub(super) type HandOverTarget = (Rc<HandOver>, PumpHandle);

#[derive(Debug)]
enum BodyState {
    /// Nothing was sent yet.
    Opening(Box<Arrival>, Option<HandOverTarget>),
    /// The opening comment, and the frames that could be read, are in the HTTP server's buffer. The hand-over comes
    /// next.
    HandingOver(Box<Arrival>, HandOverTarget),
    /// The connection holds the subscription, which returns only if the pump declines it.
    HandedOver(Rc<HandOver>),
    Serving(Box<Arrival>, Membership),
    /// The body breaks off once the HTTP server has sent its buffer.
    BreakingOff,
    Ended,
}

impl SubscriptionBody {
    pub(super) fn new(
        arrival: Box<Arrival>,
        keep_alive: Duration,
        wake_groups: Rc<WakeGroups>,
        target: Option<HandOverTarget>,
    ) -> Self {
        Self { state: BodyState::Opening(arrival, target), wake_groups, keep_alive }
    }

    fn stay(&self, arrival: Box<Arrival>) -> BodyState {
        let membership =
            self.wake_groups.join(arrival.log.log(), self.keep_alive, arrival.subscription.key());
        BodyState::Serving(arrival, membership)
    }
}

impl Stream for SubscriptionBody {
    type Item = Result<Bytes, BrokenOff>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let BodyState::Serving(arrival, membership) = &mut self.state {
                let piece = arrival.piece(membership, cx);
                return match piece {
                    Poll::Ready(Some(Err(BrokenOff))) => {
                        self.state = BodyState::BreakingOff;
                        // The error is returned at the next poll: at an error the server discards its buffer, even if
                        // the response's head is in it.
                        cx.waker().wake_by_ref();
                        Poll::Pending
                    }
                    Poll::Ready(None) => {
                        self.state = BodyState::Ended;
                        Poll::Ready(None)
                    }
                    piece => piece,
                };
            }
            match std::mem::replace(&mut self.state, BodyState::Ended) {
                BodyState::Opening(mut arrival, target) => {
                    let piece = arrival.opening();
                    self.state = match target {
                        _ if arrival.cursor.has_ended() => BodyState::Ended,
                        Some(target) => BodyState::HandingOver(arrival, target),
                        None => self.stay(arrival),
                    };
                    return Poll::Ready(Some(Ok(piece)));
                }
                BodyState::HandingOver(arrival, (hand_over, pump)) => {
                    hand_over.request_hand_over(pump, arrival);
                    self.state = BodyState::HandedOver(hand_over);
                    // The flush of the connection causes its dispatcher to be polled again.
                    return Poll::Pending;
                }
                BodyState::HandedOver(hand_over) => {
                    let Some(declined) = hand_over.take_back() else {
                        self.state = BodyState::HandedOver(hand_over);
                        return Poll::Pending;
                    };
                    self.state = self.stay(declined);
                }
                BodyState::BreakingOff => return Poll::Ready(Some(Err(BrokenOff))),
                BodyState::Serving(..) | BodyState::Ended => return Poll::Ready(None),
            }
        }
    }
}

impl Arrival {
    /// Returns the comment that opens a response and the frames that can be read already. They are sent with the
    /// response's head.
    fn opening(&mut self) -> Bytes {
        let CursorStep::Send(span) = self.cursor.step(&self.log, self.log.mark(), MOST_IN_A_PIECE) else {
            return KEEP_ALIVE;
        };
        let mut piece = BytesMut::with_capacity(KEEP_ALIVE.len() + span.bytes(&self.log));
        piece.extend_from_slice(&KEEP_ALIVE);
        if !span.write_to(&self.log, &mut piece) {
            // The next piece reports the failure.
            return KEEP_ALIVE;
        }
        self.sent(span, piece.len() - KEEP_ALIVE.len());
        piece.freeze()
    }

    fn sent(&mut self, span: Span, bytes: usize) {
        self.cursor.sent(span);
        self.subscription.sent(span.frames(), bytes);
        self.subscription.update_metrics_if_many();
        if self.cursor.has_ended() {
            self.subscription.ends(SubscriptionEnd::Complete);
        }
    }

    fn piece(&mut self, membership: &Membership, cx: &Context<'_>) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        // The waker is registered before key and log are checked, so that a change in between wakes the body.
        membership.wait(cx);
        if self.subscription.is_revoked() {
            self.subscription.ends(SubscriptionEnd::Revoked);
            return Poll::Ready(Some(Err(BrokenOff)));
        }
        match self.cursor.step(&self.log, self.log.mark(), MOST_IN_A_PIECE) {
            CursorStep::Wait if membership.comment_is_due() => {
                membership.sent();
                Poll::Ready(Some(Ok(KEEP_ALIVE)))
            }
            CursorStep::Wait => Poll::Pending,
            CursorStep::Send(span) => {
                let Some(piece) = span.piece(&self.log) else {
                    self.subscription.ends(SubscriptionEnd::BrokenOff);
                    return Poll::Ready(Some(Err(BrokenOff)));
                };
                self.sent(span, piece.len());
                membership.sent();
                Poll::Ready(Some(Ok(piece)))
            }
            CursorStep::End => {
                self.subscription.ends(SubscriptionEnd::Complete);
                Poll::Ready(None)
            }
            CursorStep::BreakOff => {
                self.subscription.ends(SubscriptionEnd::BrokenOff);
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
    use super::super::subscription::{SubscriberInfo, Subscription, SubscriptionStats};
    use super::super::topic::Framing;
    use super::*;
    use crate::metrics::Metrics;
    use crate::task::testing::{delta, empty, log_of};
    use crate::task::{Format, FrameReader, TaskId};

    /// Returns the bytes that a response begins with, followed by those of a frame.
    fn opened(comment: &str, frame: &Bytes) -> Bytes {
        [comment.as_bytes(), b"retry: 2000\n", frame].concat().into()
    }

    fn body_of(log: FrameReader, keep_alive: u64) -> SubscriptionBody {
        let info =
            SubscriberInfo { request_id: "req-1".into(), task_id: TaskId::generate(7), key: Arc::default() };
        let arrival = Arrival {
            log,
            cursor: Cursor::at(0),
            framing: Framing::Chunked,
            subscription: Subscription::begin(
                Arc::new(SubscriptionStats::new(Metrics::new(std::iter::empty()).unwrap().fanout)),
                info,
            ),
        };
        SubscriptionBody::new(Box::new(arrival), Duration::from_secs(keep_alive), Rc::default(), None)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_the_opening_comment_and_then_the_frames() {
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
    async fn a_parked_log_breaks_its_subscribers_off() {
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
    async fn comments_are_sent_only_while_the_task_is_silent() {
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
