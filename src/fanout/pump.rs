//! A pump writes the frames of many tasks to many sockets, on the thread of the tasks themselves.
//!
//! It is a future on a task arbiter. A frame that is published on the same thread reaches its subscribers without
//! waking another thread. The pump's sockets have their own event loop (mio's), which is one event source of the
//! arbiter's event loop. So the arbiter has one registration for thousands of sockets, and each socket costs a number.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix_rt::ArbiterHandle;
use mio::Events;
use mio::net::TcpStream;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Sleep, sleep, timeout};

use super::StreamConfig;
use super::behind::Behind;
use super::cursor::Cursor;
use super::socket::OpenFile;
use super::subscriber::SilenceLimits;
use super::subscriber_set::SubscriberSet;
use super::subscription::Subscription;
use super::topic::Framing;
use crate::task::FrameReader;

/// Arrivals that may wait for a pump. A subscriber beyond this number stays with the HTTP server.
const ARRIVALS: usize = 1024;
/// Socket events that are handled before the other futures on the thread are polled.
const EVENTS: usize = 256;
/// The number of checks for silent connections in each keep-alive period. A pump waits at least
/// [`SHORTEST_CHECK_INTERVAL`] between two checks.
const CHECKS: u32 = 30;
const SHORTEST_CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// A subscriber whose response has begun, on its way to a pump.
#[derive(Debug)]
pub(super) struct Arrival {
    /// The log that the subscriber reads.
    pub log: FrameReader,
    /// The subscriber's position in the log.
    pub cursor: Cursor,
    /// How the response is framed.
    pub framing: Framing,
    /// The subscription, for its counts and its end.
    pub subscription: Subscription,
}

#[derive(Debug)]
enum PumpCommand {
    Take(std::net::TcpStream, OpenFile, Box<Arrival>),
    /// Reports how far the pump's subscribers are behind.
    Measure(oneshot::Sender<Behind>),
    /// Breaks off the subscribers whose key was revoked.
    BreakOffRevoked,
    /// Ends the pump once all subscribers were sent everything, and reports it then.
    Stop(oneshot::Sender<()>),
}

/// A handle that sends commands to a pump.
#[derive(Debug, Clone)]
pub(super) struct PumpHandle(mpsc::Sender<PumpCommand>);

/// A reserved place for one arrival in a pump's queue of commands.
#[derive(Debug)]
pub(super) struct ReservedPlace<'a>(mpsc::Permit<'a, PumpCommand>);

impl PumpHandle {
    /// Reserves a place for one more arrival, if there is room.
    pub(super) fn place(&self) -> Option<ReservedPlace<'_>> {
        self.0.try_reserve().ok().map(ReservedPlace)
    }

    /// Returns how far the pump's subscribers are behind; `None` if the pump has ended.
    pub(super) async fn measure(&self) -> Option<Behind> {
        let (behind, measured) = oneshot::channel();
        self.0.send(PumpCommand::Measure(behind)).await.ok()?;
        measured.await.ok()
    }

    /// Tells the pump to break off the subscribers whose key was revoked.
    pub(super) async fn break_off_revoked(&self) {
        // A pump that has ended has no subscribers.
        let _ = self.0.send(PumpCommand::BreakOffRevoked).await;
    }

    /// Ends the pump once all subscribers were sent everything, but waits at most this long.
    pub(super) async fn stop(&self, most: Duration) {
        let (stopped, has_stopped) = oneshot::channel();
        if self.0.send(PumpCommand::Stop(stopped)).await.is_ok() {
            // A subscriber that has not read the rest by then does not get it.
            let _ = timeout(most, has_stopped).await;
        }
    }
}

impl ReservedPlace<'_> {
    /// Hands this subscriber over to the pump.
    pub(super) fn take(self, socket: std::net::TcpStream, file: OpenFile, mut arrival: Box<Arrival>) {
        arrival.subscription.hand_over();
        self.0.send(PumpCommand::Take(socket, file, arrival));
    }
}

/// Starts a pump on an arbiter.
///
/// # Errors
/// When the system refuses an event loop.
pub(super) fn start(arbiter: &ArbiterHandle, config: StreamConfig) -> io::Result<PumpHandle> {
    let (sender, commands) = mpsc::channel(ARRIVALS);
    let poll = mio::Poll::new()?;
    let registry = poll.registry().try_clone()?;
    arbiter.spawn(async move {
        let check_interval = (config.keep_alive / CHECKS).max(SHORTEST_CHECK_INTERVAL);
        // A comment may be early by half an interval, which is better than late by a whole one.
        let keep_alive = config.keep_alive.saturating_sub(check_interval / 2);
        let subscribers =
            SubscriberSet::new(registry, SilenceLimits { keep_alive, send_timeout: config.send_timeout });
        match watched(poll) {
            Ok(sockets) => {
                let events = Events::with_capacity(EVENTS);
                let next_check = Box::pin(sleep(check_interval));
                Pump { sockets, events, commands, subscribers, check_interval, next_check, stopped: None }
                    .await
            }
            // The subscribers stay with the HTTP server.
            Err(err) => tracing::error!(%err, "a pump cannot watch its sockets: the HTTP server serves all subscribers"),
        }
    });
    Ok(PumpHandle(sender))
}

/// Registers an event loop as an event source of the thread's event loop.
#[expect(
    deprecated,
    reason = "it trusts a safe trait to return the descriptor; mio's Poll owns the one that it returns, until it is dropped"
)]
fn watched(poll: mio::Poll) -> io::Result<AsyncFd<mio::Poll>> {
    AsyncFd::with_interest(poll, Interest::READABLE)
}

struct Pump {
    sockets: AsyncFd<mio::Poll>,
    events: Events,
    commands: mpsc::Receiver<PumpCommand>,
    subscribers: SubscriberSet,
    /// Time between two checks for silent connections.
    check_interval: Duration,
    next_check: Pin<Box<Sleep>>,
    stopped: Option<oneshot::Sender<()>>,
}

impl Future for Pump {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let now = Instant::now();
        let was_empty = this.subscribers.is_empty();
        let can_more_come = this.take_commands(cx, now);
        if was_empty {
            this.schedule_check();
        }
        let had_events = match this.handle_socket_events(cx, now) {
            Ok(had_events) => had_events,
            Err(err) => {
                tracing::error!(%err, "a pump cannot poll its sockets, and ends");
                return Poll::Ready(());
            }
        };
        this.subscribers.queue_grown_topics(cx);
        this.subscribers.serve_some(now);
        if this.subscribers.is_empty() && !can_more_come {
            if let Some(stopped) = this.stopped.take() {
                // The receiver is gone if the wait for the pump's end has timed out.
                let _ = stopped.send(());
            }
            return Poll::Ready(());
        }
        while !this.subscribers.is_empty() && this.next_check.as_mut().poll(cx).is_ready() {
            // The delay of this check: the thread was busy, or the process was frozen.
            let late = tokio::time::Instant::now().saturating_duration_since(this.next_check.deadline());
            this.subscribers.check_silence(now, late);
            this.schedule_check();
        }
        if had_events || this.subscribers.has_work() {
            // The thread's event loop is not polled while a future is ready. `yield_now` wakes this future only after
            // the event loop was polled. Its first poll requests that wake-up. Nothing else of it is used.
            let _ = pin!(tokio::task::yield_now()).poll(cx);
        }
        Poll::Pending
    }
}

impl Pump {
    fn schedule_check(&mut self) {
        self.next_check.as_mut().reset(tokio::time::Instant::now() + self.check_interval);
    }

    /// Runs the commands that have arrived. Returns whether more can arrive.
    fn take_commands(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        loop {
            match self.commands.poll_recv(cx) {
                Poll::Ready(Some(PumpCommand::Take(socket, file, arrival))) => {
                    let socket = (TcpStream::from_std(socket), file);
                    if let Err(err) = self.subscribers.admit(socket, *arrival, now) {
                        tracing::error!(%err, "a pump cannot watch a connection that was handed over, and closes it");
                    }
                }
                Poll::Ready(Some(PumpCommand::Measure(behind))) => {
                    // The receiver is dropped if the request has timed out.
                    let _ = behind.send(self.subscribers.measure());
                }
                Poll::Ready(Some(PumpCommand::BreakOffRevoked)) => self.subscribers.break_off_revoked(),
                Poll::Ready(Some(PumpCommand::Stop(stopped))) => {
                    self.commands.close();
                    self.stopped = Some(stopped);
                }
                Poll::Ready(None) => return false,
                Poll::Pending => return true,
            }
        }
    }

    /// Handles the events of sockets. Returns whether there were any.
    fn handle_socket_events(&mut self, cx: &mut Context<'_>, now: Instant) -> io::Result<bool> {
        while let Poll::Ready(ready) = self.sockets.poll_read_ready_mut(cx) {
            let mut ready = ready?;
            match ready.get_inner_mut().poll(&mut self.events, Some(Duration::ZERO)) {
                Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            if !self.events.is_empty() {
                self.events.iter().for_each(|event| self.subscribers.on_socket(event, now));
                return Ok(true);
            }
            ready.clear_ready();
        }
        Ok(false)
    }
}
