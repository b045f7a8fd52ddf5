//! Fan-out: how one task's frames reach any number of subscribers.
//!
//! # The parts
//!
//! A task's actor appends each entry, encoded once in each format, to its [chunk log](crate::task::ChunkLog). A
//! subscriber is a [`Cursor`]: a position in that log, and nothing else. There is no queue between the two. So a slow,
//! stuck or disconnected subscriber costs the task and the other subscribers nothing, and nothing can be lost: a
//! subscriber that is behind gets the frames that it missed, many in one piece. A frame that is larger than a piece is
//! sent in parts, with nothing in between.
//!
//! There are two ways from a cursor to a socket. The cursor makes both send the same bytes:
//!
//! 1. **The body** ([`body`]) is an ordinary response body. It works over every protocol that the HTTP server supports.
//!    It is used where `stream.hand_over` is off, under TLS, or when a pump has no room. Each event wakes each
//!    subscriber's connection; its dispatcher takes a piece from the body, copies it into its buffer and writes that.
//!    All subscribers of a log on one worker share one wake-up and one timer (`wake_group`).
//! 2. **The pump** ([`pump`]) writes to plain TCP sockets itself, after the HTTP server has written everything that it
//!    has to write. It costs little more than the kernel's work. A waiting subscriber costs less than a kilobyte
//!    instead of the dispatcher's two buffers of 8 KiB.
//!
//! # How a socket is handed over
//!
//! The HTTP server does everything up to the first bytes of the body, as for any request: routing, the key, the task's
//! own checks, the log line, the response's head. Then three parts cooperate:
//!
//! - Each plain TCP connection is a [`Socket`], which the HTTP server reads and writes. It shares a [`HandOver`] with
//!   the handlers of its requests.
//! - The body returns its first piece: the comment, and the frames that can be read already. If those are all frames,
//!   nothing has to be handed over. When the dispatcher polls for a second piece, head and first piece are in the
//!   dispatcher's buffer. Then the body puts itself, as an [`Arrival`], into the `HandOver`, and returns nothing more.
//! - The dispatcher writes out its buffer. It flushes the `Socket` only when all of the buffer is written. At this
//!   moment the whole response so far is in the kernel. The `Socket` gives its TCP stream and the arrival to a pump.
//!   From then on every call of the `Socket` fails, beginning with this flush. The dispatcher takes this for a broken
//!   connection, and ends without writing anything more.
//!
//! No descriptor is duplicated and nothing is `unsafe`: the stream is moved. If the pump has no room for the arrival at
//! that moment, the body takes it back and continues in the first way.
//!
//! The response has `Connection: close`, so the server does not wait for anything that a client sends after its
//! request. A request that the client pipelined is discarded, as this header announces. Responses to earlier requests
//! are in the same buffer and are written first.
//!
//! # What ends a stream early
//!
//! A server that drains parks the log, and a cursor that has reached the log's end breaks off. When a key is revoked,
//! its subscribers are broken off: each pump is notified and walks over its subscribers once; the bodies of a worker
//! are woken and check their keys. No subscriber has a timer for that. At an event a pump checks nothing, and a body
//! checks one flag.
//!
//! # What a pump is
//!
//! A pump is a future on each task arbiter, with its own event loop for its sockets (epoll, through mio). The pump on
//! the task's own thread serves the task's subscribers: a published frame reaches them without a change of threads.
//! Only the subscribers of a task that has had very many are spread over all arbiters, so that all cores serve them.
//!
//! A pump has one topic for each log and format that its subscribers read. When a task publishes, each pump with
//! subscribers of that task is woken once. It walks over the topic's members and writes to each the frames that it is
//! missing, in one `write`. Most members of a topic are at the same position, so the pump encodes what they are sent
//! once, and keeps it until it is of no use. Between portions of such a walk the other futures on the thread are
//! polled, so that a task with ten thousand subscribers does not delay any other.
//!
//! A pump does not write to a full socket until it is writable. It does not hold the rest of a payload. It remembers
//! how many bytes were written, and encodes the payload again from the log. So a stuck subscriber costs no more than an
//! idle one.

mod behind;
mod body;
mod cursor;
mod pump;
mod send_timeout;
mod settings;
mod socket;
mod subscriber;
mod subscriber_set;
mod subscription;
mod topic;
mod wake_group;

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
use body::SubscriptionBody;
use cursor::Cursor;
use pump::{Arrival, PumpHandle};
pub use send_timeout::SendTimeout;
pub use settings::{StreamConfig, StreamKeys};
pub use socket::{HandOver, OpenFile, Socket};
pub use subscription::SubscriberInfo;
use subscription::{Subscription, SubscriptionStats};
pub use topic::Framing;
use wake_group::WakeGroups;

/// The number of a task's first subscriptions, which are served on the task's own thread, in about 5 ms. Later ones are
/// spread over all pumps, even if the first ones have ended.
const SUBSCRIBERS_ON_TASK_THREAD: usize = 1024;

/// All subscribers of this server, and the pumps that serve them.
#[derive(Debug, Clone)]
pub struct Fanout {
    keep_alive: Duration,
    pumps: Arc<[PumpHandle]>,
    stats: Arc<SubscriptionStats>,
    /// Notifies the workers that keys were revoked.
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
        let (stats, revocations) = (Arc::new(SubscriptionStats::new(metrics)), watch::Sender::new(()));
        Ok(Self { keep_alive: config.keep_alive, pumps, stats, revocations })
    }

    /// Returns the counts of this server's subscriptions.
    #[must_use]
    pub fn stats(&self) -> &Arc<SubscriptionStats> {
        &self.stats
    }

    /// Returns how far the pumps' subscribers are behind; `None` if there are no pumps, or if one has ended.
    pub async fn behind(&self) -> Option<Behind> {
        let asked = join_all(self.pumps.iter().map(PumpHandle::measure)).await;
        asked.into_iter().reduce(|one, other| Some(one?.and(other?))).flatten()
    }

    /// Returns the pump that serves the next subscriber of this log; `None` where sockets are not handed over.
    fn pump_for(&self, log: &FrameReader) -> Option<&PumpHandle> {
        let before = log.log().count_subscription();
        let turn = if before < SUBSCRIBERS_ON_TASK_THREAD { log.log().arbiter() } else { before };
        self.pumps.get(turn.checked_rem(self.pumps.len())?)
    }

    /// Breaks off the subscribers whose key is revoked. A subscriber that arrives later is checked when it arrives.
    pub async fn break_off_revoked(&self) {
        self.revocations.send_replace(());
        join_all(self.pumps.iter().map(PumpHandle::break_off_revoked)).await;
    }

    /// Lets the pumps write what is still to be written, and ends them. Takes at most `most`. The logs must not grow
    /// any more.
    pub async fn stop(&self, most: Duration) {
        join_all(self.pumps.iter().map(|pump| pump.stop(most))).await;
    }
}

/// Creates the subscriptions of one HTTP worker. It must stay on the worker's thread.
#[derive(Debug)]
pub struct SubscriptionFactory {
    fanout: Fanout,
    wake_groups: Rc<WakeGroups>,
}

impl SubscriptionFactory {
    /// Creates the factory for the worker that runs on this thread.
    #[must_use]
    pub fn open(fanout: Fanout) -> Self {
        let wake_groups = Rc::<WakeGroups>::default();
        actix_rt::spawn(wake_revoked(fanout.revocations.subscribe(), Rc::downgrade(&wake_groups)));
        Self { fanout, wake_groups }
    }

    /// Returns the body of a response that sends a subscriber every entry from `position` on. `hand_over` is the way to
    /// take over the response's connection, if that is possible.
    #[must_use]
    pub fn body(
        &self,
        log: FrameReader,
        position: usize,
        framing: Framing,
        info: SubscriberInfo,
        hand_over: Option<Rc<HandOver>>,
    ) -> SubscriptionBody {
        let Fanout { keep_alive, stats, .. } = &self.fanout;
        let exit = hand_over.and_then(|hand_over| Some((hand_over, self.fanout.pump_for(&log)?.clone())));
        let subscription = Subscription::begin(Arc::clone(stats), info);
        let arrival = Box::new(Arrival { log, cursor: Cursor::at(position), framing, subscription });
        SubscriptionBody::new(arrival, *keep_alive, Rc::clone(&self.wake_groups), exit)
    }
}

/// Wakes a worker's bodies whose key was revoked. Each body checks its key and breaks off.
async fn wake_revoked(mut revocations: watch::Receiver<()>, wake_groups: Weak<WakeGroups>) {
    while revocations.changed().await.is_ok() {
        let Some(wake_groups) = wake_groups.upgrade() else { return };
        wake_groups.wake_revoked();
    }
}
