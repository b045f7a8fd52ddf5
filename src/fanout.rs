//! Fan-out: how one task's frames reach any number of subscribers.
//!
//! # Who does what
//!
//! A task's actor appends each entry, encoded once in each format, to its [chunk log](crate::task::ChunkLog). A subscriber is
//! a [`Cursor`]: a position in that log, and nothing else. No queue stands between the two, so
//! that a slow, stuck or gone subscriber costs the task and the others nothing, and nothing can be lost:
//! a subscriber that is behind gets what it missed, many frames in one piece. A frame that is larger than a piece is sent in
//! parts, with nothing in between.
//!
//! There are two ways from a cursor to a socket, and the cursor makes them send the same bytes:
//!
//! 1. **The body** ([`body`]) is an ordinary response body. It works over anything that the HTTP server speaks, and
//!    serves where `stream.hand_over` is off or a pump has no room. Each event wakes each subscriber's connection, whose
//!    dispatcher asks the body for a piece, copies it into its buffer and writes that. A worker's subscribers of a log
//!    share one wake and one timer (`circle`).
//! 2. **The pump** ([`pump`]) writes to plain TCP sockets itself, once the HTTP server has said everything that it has
//!    to say. It costs what the kernel costs and little more, and a subscriber who waits costs less than a
//!    kilobyte instead of the dispatcher's two buffers of 8 KiB.
//!
//! # How a socket is handed over
//!
//! Everything up to the first bytes of the body is the HTTP server's work, as for any request: routing, the key, the
//! task's own checks, the log line, the response's head. What follows is a dance of three:
//!
//! - Each plain TCP connection is a [`Socket`], which the HTTP server reads and writes. It shares a
//!   [`HandOver`] with the handlers of its requests.
//! - The body gives its first piece: the comment, and what there is to read already. If that is everything, there is
//!   nothing to hand over. Asked for a second piece it knows that head and first piece are in the dispatcher's buffer.
//!   It puts itself, as an [`Arrival`], into the `HandOver`, and has nothing more to say.
//! - The dispatcher writes out its buffer, and when all of it is written, and only then, flushes the `Socket`.
//!   This is the moment: nothing of the response is anywhere but in the kernel. The `Socket` gives its TCP stream
//!   to a pump, together with the arrival, and fails from then on, beginning with this flush. The dispatcher takes that
//!   for a broken connection, and ends without a word and without touching it.
//!
//! There is no duplicated descriptor and nothing `unsafe` in it: the stream is moved. If the pump has no room for the
//! arrival at that moment the body takes it back and goes on as in the first way.
//!
//! The response says `Connection: close`, so nothing that a client sends behind its request is waited for; a request
//! that it pipelined is thrown away, as the response says. Responses to requests before it are
//! in the same buffer and leave first.
//!
//! # What ends a stream early
//!
//! A server that drains parks the log, and a cursor that has come to its end breaks off. A key that is revoked has its
//! subscribers broken off: each pump is told and walks over its subscribers once; the bodies of a worker are woken and
//! look. No subscriber has a timer for that. At an event a pump checks nothing, and a body checks one flag.
//!
//! # What a pump is
//!
//! A future on each task arbiter, with an event loop of its own for its sockets (epoll, through mio). A task's
//! subscribers are served by the pump on the task's own thread: a frame that is published reaches them without a change
//! of threads. Only those of a task that has had very many are on all arbiters, so that all cores serve them.
//!
//! For each log and format that its subscribers read a pump has a topic. When a task publishes, each pump that
//! has subscribers of it is woken once. It walks the topic's members and writes to each what it is missing, in one
//! `write`. The members of a topic mostly stand at the same position: what they are sent is put together once and kept
//! until it is of no use. Between portions of such a walk everything else on the thread has its turn, so that a task
//! with ten thousand subscribers holds no other up.
//!
//! A socket that is full is left alone until it is writable. What was begun is remembered as a number of bytes and made
//! again from the log, not held: a stuck subscriber costs no more than an idle one.

mod behind;
mod body;
mod circle;
mod cursor;
mod hall;
mod patience;
mod pump;
mod settings;
mod socket;
mod subscriber;
mod topic;
mod visit;

use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use actix_rt::ArbiterHandle;
use futures_util::future::join_all;
use tokio::sync::watch;

use crate::metrics::FanoutMetrics;
use crate::task::FrameReader;
pub use behind::Behind;
use body::Body;
use circle::Circles;
use cursor::Cursor;
pub use patience::Patience;
use pump::{Arrival, PumpHandle};
pub use settings::{StreamConfig, StreamKeys};
pub use socket::{HandOver, OpenFile, Socket};
pub use topic::Framing;
pub use visit::Visitor;
use visit::{Audience, Visit};

/// So many subscriptions of a task are served on its own thread, in about 5 ms; those that come after them, whether or
/// not the first are still there, are spread over all pumps.
const SUBSCRIBERS_AT_HOME: usize = 1024;

/// All subscribers of this server, and who serves them.
#[derive(Debug, Clone)]
pub struct Fanout {
    keep_alive: Duration,
    pumps: Arc<[PumpHandle]>,
    audience: Arc<Audience>,
    /// Tells the workers that keys were revoked.
    revocations: watch::Sender<()>,
}

impl Fanout {
    /// Starts a pump on each task arbiter, or none where sockets are not handed over. The arbiters must be those of the
    /// registry, in the same order.
    ///
    /// # Errors
    /// When the system refuses an event loop.
    pub fn start(
        config: StreamConfig,
        arbiters: &[ArbiterHandle],
        metrics: FanoutMetrics,
    ) -> io::Result<Self> {
        let arbiters = if config.hand_over { arbiters } else { &[] };
        let pumps = arbiters.iter().map(|arbiter| pump::start(arbiter, config));
        let pumps = pumps.collect::<io::Result<_>>()?;
        let (audience, revocations) = (Arc::new(Audience::new(metrics)), watch::Sender::new(()));
        Ok(Self { keep_alive: config.keep_alive, pumps, audience, revocations })
    }

    /// Everybody who is subscribed.
    #[must_use]
    pub fn audience(&self) -> &Arc<Audience> {
        &self.audience
    }

    /// How far the pumps' subscribers are behind; `None` where there are no pumps, or one does not answer.
    pub async fn behind(&self) -> Option<Behind> {
        let asked = join_all(self.pumps.iter().map(PumpHandle::measure)).await;
        asked.into_iter().reduce(|one, other| Some(one?.and(other?))).flatten()
    }

    /// Who serves the next subscriber of this log; nobody where sockets are not handed over.
    fn pump_for(&self, log: &FrameReader) -> Option<&PumpHandle> {
        let before = log.log().count_subscription();
        let turn = if before < SUBSCRIBERS_AT_HOME { log.log().home() } else { before };
        self.pumps.get(turn.checked_rem(self.pumps.len())?)
    }

    /// Breaks off the subscribers whose key is revoked. A subscriber that arrives later is checked when it arrives.
    pub async fn break_off_revoked(&self) {
        self.revocations.send_replace(());
        join_all(self.pumps.iter().map(PumpHandle::break_off_revoked)).await;
    }

    /// Lets the pumps write what there is to be written and end, which takes at most so long. No log may grow any more.
    pub async fn stop(&self, most: Duration) {
        join_all(self.pumps.iter().map(|pump| pump.stop(most))).await;
    }
}

/// Where the subscribers of one HTTP worker are received; it stays on the worker's thread.
#[derive(Debug)]
pub struct Reception {
    fanout: Fanout,
    circles: Rc<Circles>,
}

impl Reception {
    /// A reception for the worker whose thread this is.
    #[must_use]
    pub fn open(fanout: Fanout) -> Self {
        let circles = Rc::<Circles>::default();
        actix_rt::spawn(wake_revoked(fanout.revocations.subscribe(), Rc::downgrade(&circles)));
        Self { fanout, circles }
    }

    /// The body of a response that brings a subscriber everything from entry `position` on. `hand_over` is how the
    /// response's connection can be taken over, where it can be.
    #[must_use]
    pub fn body(
        &self,
        log: FrameReader,
        position: usize,
        framing: Framing,
        visitor: Visitor,
        hand_over: Option<Rc<HandOver>>,
    ) -> Body {
        let Fanout { keep_alive, audience, .. } = &self.fanout;
        let exit = hand_over.and_then(|hand_over| Some((hand_over, self.fanout.pump_for(&log)?.clone())));
        let visit = Visit::begin(Arc::clone(audience), visitor);
        let arrival = Box::new(Arrival { log, cursor: Cursor::at(position), framing, visit });
        Body::new(arrival, *keep_alive, Rc::clone(&self.circles), exit)
    }
}

/// Wakes the bodies of a worker whose key was revoked. Each checks its key and breaks off.
async fn wake_revoked(mut revocations: watch::Receiver<()>, circles: Weak<Circles>) {
    while revocations.changed().await.is_ok() {
        let Some(circles) = circles.upgrade() else { return };
        circles.wake_revoked();
    }
}
