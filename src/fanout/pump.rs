//! A pump: writes the frames of many tasks to many sockets, on the thread of the tasks themselves.
//!
//! It is a future of a task arbiter. A frame that is published on the same thread reaches its subscribers without
//! waking another one. Its sockets have an event loop of their own (mio's), which is an event source of the arbiter's:
//! thousands of them cost the arbiter one registration, and each one costs a number.

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
use super::hall::Hall;
use super::socket::OpenFile;
use super::subscriber::Silence;
use super::topic::Framing;
use super::visit::Visit;
use crate::task::FrameReader;

/// Arrivals that may wait for a pump; beyond, a subscriber stays with the HTTP server.
const ARRIVALS: usize = 1024;
/// Events of sockets that are looked at before whatever else lives on the thread has its turn.
const EVENTS: usize = 256;
/// A pump looks for silent connections so many times in each keep-alive period, but not more often than that.
const LOOKS: u32 = 30;
const SHORTEST_LOOK: Duration = Duration::from_millis(20);

/// A subscriber whose response has begun.
#[derive(Debug)]
pub(super) struct Arrival {
    /// What it reads.
    pub log: FrameReader,
    /// Where it stands.
    pub cursor: Cursor,
    /// How its response is framed.
    pub framing: Framing,
    /// Its stay.
    pub visit: Visit,
}

#[derive(Debug)]
enum Command {
    Take(std::net::TcpStream, OpenFile, Box<Arrival>),
    /// To tell how far its subscribers are behind.
    Measure(oneshot::Sender<Behind>),
    /// To break off the subscribers whose key was revoked.
    BreakOffRevoked,
    /// To end once everybody has been sent everything, and to tell then.
    Stop(oneshot::Sender<()>),
}

/// By what others reach a pump.
#[derive(Debug, Clone)]
pub(super) struct PumpHandle(mpsc::Sender<Command>);

/// Room for one arrival.
#[derive(Debug)]
pub(super) struct Place<'a>(mpsc::Permit<'a, Command>);

impl PumpHandle {
    /// Room for one more arrival, if there is any.
    pub(super) fn place(&self) -> Option<Place<'_>> {
        self.0.try_reserve().ok().map(Place)
    }

    /// How far its subscribers are behind; `None` where it has ended.
    pub(super) async fn measure(&self) -> Option<Behind> {
        let (behind, measured) = oneshot::channel();
        self.0.send(Command::Measure(behind)).await.ok()?;
        measured.await.ok()
    }

    /// Has it break off the subscribers whose key was revoked.
    pub(super) async fn break_off_revoked(&self) {
        // A pump that has ended has no subscribers.
        let _ = self.0.send(Command::BreakOffRevoked).await;
    }

    /// Waits until everybody has been sent everything, or for so long.
    pub(super) async fn stop(&self, most: Duration) {
        let (stopped, has_stopped) = oneshot::channel();
        if self.0.send(Command::Stop(stopped)).await.is_ok() {
            // Whoever has not read it by then does not get it.
            let _ = timeout(most, has_stopped).await;
        }
    }
}

impl Place<'_> {
    /// Gives the pump this subscriber.
    pub(super) fn take(self, socket: std::net::TcpStream, file: OpenFile, mut arrival: Box<Arrival>) {
        arrival.visit.hand_over();
        self.0.send(Command::Take(socket, file, arrival));
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
        let look = (config.keep_alive / LOOKS).max(SHORTEST_LOOK);
        // Rather early by half a look than late by a whole one.
        let keep_alive = config.keep_alive.saturating_sub(look / 2);
        let hall = Hall::new(registry, Silence { keep_alive, send_timeout: config.send_timeout });
        match watched(poll) {
            Ok(sockets) => {
                let events = Events::with_capacity(EVENTS);
                let next_look = Box::pin(sleep(look));
                Pump { sockets, events, commands, hall, look, next_look, stopped: None }.await
            }
            // Its subscribers stay with the HTTP server.
            Err(err) => tracing::error!(%err, "connections cannot be handed over"),
        }
    });
    Ok(PumpHandle(sender))
}

/// An event loop as an event source of the thread's.
#[expect(
    deprecated,
    reason = "it trusts a safe trait to name the descriptor; mio's Poll owns the one that it names, until it is dropped"
)]
fn watched(poll: mio::Poll) -> io::Result<AsyncFd<mio::Poll>> {
    AsyncFd::with_interest(poll, Interest::READABLE)
}

struct Pump {
    sockets: AsyncFd<mio::Poll>,
    events: Events,
    commands: mpsc::Receiver<Command>,
    hall: Hall,
    /// Time between two looks for silent connections.
    look: Duration,
    next_look: Pin<Box<Sleep>>,
    stopped: Option<oneshot::Sender<()>>,
}

impl Future for Pump {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let now = Instant::now();
        let was_empty = this.hall.is_empty();
        let can_anybody_come = this.take_commands(cx, now);
        if was_empty {
            this.look_later();
        }
        let are_there_events = match this.look_at_sockets(cx, now) {
            Ok(there_are) => there_are,
            Err(err) => {
                tracing::error!(%err, "a pump cannot look at its sockets");
                return Poll::Ready(());
            }
        };
        this.hall.look_at_logs(cx);
        this.hall.serve_some(now);
        if this.hall.is_empty() && !can_anybody_come {
            if let Some(stopped) = this.stopped.take() {
                // Whoever waited may have lost patience.
                let _ = stopped.send(());
            }
            return Poll::Ready(());
        }
        while !this.hall.is_empty() && this.next_look.as_mut().poll(cx).is_ready() {
            // As late as this look comes, the thread was busy, or the process frozen.
            let late = tokio::time::Instant::now().saturating_duration_since(this.next_look.deadline());
            this.hall.look_for_silence(now, late);
            this.look_later();
        }
        if are_there_events || this.hall.has_work() {
            // Also the thread's event loop is to have its turn, which does not come as long as somebody is awake. The
            // wake is what is wanted of this future, and that is ordered when it is first polled.
            let _ = pin!(tokio::task::yield_now()).poll(cx);
        }
        Poll::Pending
    }
}

impl Pump {
    fn look_later(&mut self) {
        self.next_look.as_mut().reset(tokio::time::Instant::now() + self.look);
    }

    /// Returns whether there can be more of them.
    fn take_commands(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        loop {
            match self.commands.poll_recv(cx) {
                Poll::Ready(Some(Command::Take(socket, file, arrival))) => {
                    let socket = (TcpStream::from_std(socket), file);
                    if let Err(err) = self.hall.admit(socket, *arrival, now) {
                        tracing::error!(%err, "a pump cannot take a connection");
                    }
                }
                Poll::Ready(Some(Command::Measure(behind))) => {
                    // Whoever asked may have lost patience.
                    let _ = behind.send(self.hall.measure());
                }
                Poll::Ready(Some(Command::BreakOffRevoked)) => self.hall.break_off_revoked(),
                Poll::Ready(Some(Command::Stop(stopped))) => {
                    self.commands.close();
                    self.stopped = Some(stopped);
                }
                Poll::Ready(None) => return false,
                Poll::Pending => return true,
            }
        }
    }

    /// Returns whether there was anything.
    fn look_at_sockets(&mut self, cx: &mut Context<'_>, now: Instant) -> io::Result<bool> {
        while let Poll::Ready(ready) = self.sockets.poll_read_ready_mut(cx) {
            let mut ready = ready?;
            match ready.get_inner_mut().poll(&mut self.events, Some(Duration::ZERO)) {
                Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            if !self.events.is_empty() {
                self.events.iter().for_each(|event| self.hall.on_socket(event, now));
                return Ok(true);
            }
            ready.clear_ready();
        }
        Ok(false)
    }
}
