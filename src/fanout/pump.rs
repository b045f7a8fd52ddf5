//! A pump: one thread that writes the frames of many tasks to many sockets.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use futures_util::future::{AbortHandle, Abortable};
use futures_util::stream::{self, BoxStream, SelectAll, StreamExt};
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Token};
use slab::Slab;
use tokio::sync::{mpsc, oneshot};

use super::cursor::Cursor;
use super::subscriber::{Served, Subscriber};
use super::topic::{Framing, Topic};
use super::visit::{Departure, Visit};
use crate::task::chunk_log::LogReader;

/// Arrivals that may wait for a pump; beyond, a subscriber stays with the HTTP server.
const ARRIVALS: usize = 1024;
/// Events that the system tells of at once.
const EVENTS: usize = 1024;
/// Subscribers that are served before the pump looks at its events, arrivals and logs again.
const SERVED_AT_ONCE: usize = 256;
/// A pump looks for silent connections so many times in each keep-alive period, but not more often than that.
const LOOKS: u32 = 30;
const SHORTEST_LOOK: Duration = Duration::from_millis(20);
/// The event that is not about a socket.
const BELL: Token = Token(usize::MAX);

/// A subscriber whose response has begun.
#[derive(Debug)]
pub struct Arrival {
    /// What it reads.
    pub log: LogReader,
    /// Where it stands.
    pub cursor: Cursor,
    /// How its response is framed.
    pub framing: Framing,
    /// Its stay.
    pub visit: Visit,
}

#[derive(Debug)]
enum Command {
    Take(std::net::TcpStream, Box<Arrival>),
    /// To write what there is to write until then, and end.
    Stop {
        deadline: Instant,
        stopped: oneshot::Sender<()>,
    },
}

/// By what others reach a pump.
#[derive(Debug, Clone)]
pub struct PumpHandle(mpsc::Sender<Command>);

/// Room for one arrival.
#[derive(Debug)]
pub(super) struct Place<'a>(mpsc::Permit<'a, Command>);

impl PumpHandle {
    /// Room for one more arrival, if there is any.
    pub(super) fn place(&self) -> Option<Place<'_>> {
        self.0.try_reserve().ok().map(Place)
    }

    /// Waits until everybody has been sent everything, or for so long; then the pump is gone.
    pub(super) async fn stop(&self, most: Duration) {
        let (stopped, has_stopped) = oneshot::channel();
        let deadline = Instant::now() + most;
        if self.0.send(Command::Stop { deadline, stopped }).await.is_ok() {
            let _ = has_stopped.await;
        }
    }
}

impl Place<'_> {
    /// Gives the pump this subscriber.
    pub(super) fn take(self, socket: std::net::TcpStream, mut arrival: Box<Arrival>) {
        arrival.visit.is_handed_over();
        self.0.send(Command::Take(socket, arrival));
    }
}

/// Starts a pump, on a thread of its own.
///
/// # Errors
/// Whatever keeps the system from starting it.
pub(super) fn start(number: usize, keep_alive: Duration) -> io::Result<PumpHandle> {
    let (sender, commands) = mpsc::channel(ARRIVALS);
    let pump = Pump::new(commands, keep_alive)?;
    std::thread::Builder::new().name(format!("pump-{number}")).spawn(move || pump.run())?;
    Ok(PumpHandle(sender))
}

/// Ends a pump's wait for its sockets.
#[derive(Debug)]
struct Bell {
    waker: mio::Waker,
    /// Has it rung since the pump last listened? Further rings would say nothing new.
    has_rung: AtomicBool,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.has_rung.swap(true, Ordering::AcqRel) {
            // Fails only when the system has no memory left.
            let _ = self.waker.wake();
        }
    }
}

/// Yields the topic each time that its log has grown.
type Watch = Abortable<BoxStream<'static, usize>>;

struct Pump {
    poll: mio::Poll,
    bell: Arc<Bell>,
    commands: mpsc::Receiver<Command>,
    keep_alive: Duration,
    subscribers: Slab<Subscriber>,
    topics: Slab<Topic>,
    /// The topic of each log that is read here.
    by_log: HashMap<usize, usize>,
    watches: SelectAll<Watch>,
    /// Topics whose members are to be served; each at most once.
    stirred: VecDeque<usize>,
    /// Subscribers who are far behind and go on when others have had their turn; each at most once.
    behind: VecDeque<usize>,
    next_look: Instant,
    stop: Option<(Instant, oneshot::Sender<()>)>,
}

impl Pump {
    fn new(commands: mpsc::Receiver<Command>, keep_alive: Duration) -> io::Result<Self> {
        let poll = mio::Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), BELL)?;
        Ok(Self {
            poll,
            bell: Arc::new(Bell { waker, has_rung: AtomicBool::new(false) }),
            commands,
            keep_alive,
            subscribers: Slab::new(),
            topics: Slab::new(),
            by_log: HashMap::new(),
            watches: SelectAll::new(),
            stirred: VecDeque::new(),
            behind: VecDeque::new(),
            next_look: Instant::now(),
            stop: None,
        })
    }

    fn run(mut self) {
        let waker = Waker::from(Arc::clone(&self.bell));
        let mut cx = Context::from_waker(&waker);
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let now = Instant::now();
            // Before the futures are looked at: what wakes from here on rings again.
            self.bell.has_rung.store(false, Ordering::Release);
            let is_closed = self.take_commands(&mut cx, now);
            self.look_at_logs(&mut cx);
            self.serve_some(now);
            if now >= self.next_look {
                self.look_for_silence(now);
            }
            if self.is_over(is_closed) {
                return;
            }
            match self.poll.poll(&mut events, self.patience()) {
                Err(err) if err.kind() != io::ErrorKind::Interrupted => {
                    tracing::error!(%err, "a pump cannot wait for its sockets");
                    return;
                }
                Ok(()) | Err(_) => {}
            }
            let now = Instant::now();
            for event in events.iter().filter(|event| event.token() != BELL) {
                self.on_socket(event, now);
            }
        }
    }

    /// Has it been told to stop, and nothing is left to do or no time to do it? A pump that nobody can reach any more
    /// stops as well.
    fn is_over(&mut self, is_closed: bool) -> bool {
        let deadline = self.stop.as_ref().map(|(deadline, _)| *deadline);
        let is_told = is_closed || deadline.is_some();
        let is_over =
            is_told && (self.subscribers.is_empty() || deadline.is_some_and(|at| Instant::now() >= at));
        if is_over {
            self.subscribers.clear();
            if let Some((_, stopped)) = self.stop.take() {
                // Whoever waited may have lost patience.
                let _ = stopped.send(());
            }
        }
        is_over
    }

    /// How long it may wait for its sockets; `None` is for ever.
    fn patience(&self) -> Option<Duration> {
        if !self.stirred.is_empty() || !self.behind.is_empty() {
            return Some(Duration::ZERO);
        }
        let look = (!self.subscribers.is_empty()).then_some(self.next_look);
        let deadline = self.stop.as_ref().map(|(deadline, _)| *deadline);
        let next = [look, deadline].into_iter().flatten().min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    fn on_socket(&mut self, event: &Event, now: Instant) {
        let place = event.token().0;
        let Some(subscriber) = self.subscribers.get_mut(place) else { return };
        let has_left =
            event.is_error() || event.is_read_closed() || (event.is_readable() && !subscriber.discard());
        if has_left {
            self.remove(place, Departure::Left);
        } else if event.is_writable() {
            subscriber.is_writable();
            self.serve(place, now);
        }
    }

    /// Returns whether nobody can send any more.
    fn take_commands(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        loop {
            match self.commands.poll_recv(cx) {
                Poll::Ready(Some(Command::Take(socket, arrival))) => {
                    if let Err(err) = self.admit(TcpStream::from_std(socket), *arrival, now) {
                        tracing::error!(%err, "a pump cannot take a connection");
                    }
                }
                Poll::Ready(Some(Command::Stop { deadline, stopped })) => {
                    self.commands.close();
                    self.stop = Some((deadline, stopped));
                }
                Poll::Ready(None) => return true,
                Poll::Pending => return false,
            }
        }
    }

    fn admit(&mut self, mut socket: TcpStream, arrival: Arrival, now: Instant) -> io::Result<()> {
        let Arrival { log, cursor, framing, visit } = arrival;
        let entry = self.subscribers.vacant_entry();
        let place = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut socket, Token(place), interest)?;
        let at = match self.by_log.get(&log.number()) {
            Some(at) => *at,
            None => {
                let topic = self.topics.vacant_entry();
                let at = topic.key();
                self.by_log.insert(log.number(), at);
                let (handle, registration) = AbortHandle::new_pair();
                self.watches.push(Abortable::new(watch(log.clone(), at), registration));
                topic.insert(Topic::new(log, handle));
                at
            }
        };
        let Some(topic) = self.topics.get_mut(at) else { return Ok(()) };
        let membership = (at, topic.join(place));
        entry.insert(Subscriber::new(socket, framing, cursor, visit, membership, now));
        self.serve(place, now);
        Ok(())
    }

    fn look_at_logs(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(at)) = self.watches.poll_next_unpin(cx) {
            let Some(topic) = self.topics.get_mut(at) else { continue };
            topic.stir();
            if !std::mem::replace(&mut topic.is_queued, true) {
                self.stirred.push_back(at);
            }
        }
    }

    /// Goes on with the walks over stirred topics, and with those who are behind.
    fn serve_some(&mut self, now: Instant) {
        let mut left = SERVED_AT_ONCE;
        for _ in 0..self.behind.len().min(SERVED_AT_ONCE / 2) {
            let Some(place) = self.behind.pop_front() else { break };
            if let Some(subscriber) = self.subscribers.get_mut(place) {
                subscriber.is_behind = false;
            }
            self.serve(place, now);
            left -= 1;
        }
        while left > 0
            && let Some(at) = self.stirred.pop_front()
        {
            left = self.walk(at, left, now);
        }
    }

    /// Serves at most so many of a topic's members; returns how many more could have been.
    fn walk(&mut self, at: usize, most: usize, now: Instant) -> usize {
        for left in (0..most).rev() {
            let Some(topic) = self.topics.get_mut(at) else { return left };
            match topic.next() {
                Some(place) => self.serve(place, now),
                None if topic.is_stirred() => {
                    self.stirred.push_back(at);
                    return left;
                }
                None => {
                    topic.is_queued = false;
                    return left;
                }
            }
        }
        self.stirred.push_back(at);
        0
    }

    fn serve(&mut self, place: usize, now: Instant) {
        let Some(subscriber) = self.subscribers.get_mut(place) else { return };
        let Some(topic) = self.topics.get_mut(subscriber.topic) else { return };
        let mark = topic.packer.log().mark();
        match subscriber.serve(&mut topic.packer, mark, now) {
            Served::Up => {}
            Served::More => {
                if !std::mem::replace(&mut subscriber.is_behind, true) {
                    self.behind.push_back(place);
                }
            }
            Served::Over(departure) => self.remove(place, departure),
        }
    }

    fn look_for_silence(&mut self, now: Instant) {
        let look = (self.keep_alive / LOOKS).max(SHORTEST_LOOK);
        self.next_look = now + look;
        // Rather early by half a look than late by a whole one.
        let silence = self.keep_alive.saturating_sub(look / 2);
        let mut gone = Vec::new();
        for (place, subscriber) in &mut self.subscribers {
            let Some(topic) = self.topics.get_mut(subscriber.topic) else { continue };
            if let Served::Over(departure) = subscriber.keep_alive(&mut topic.packer, silence, now) {
                gone.push((place, departure));
            }
        }
        for (place, departure) in gone {
            self.remove(place, departure);
        }
    }

    fn remove(&mut self, place: usize, departure: Departure) {
        let Some(subscriber) = self.subscribers.try_remove(place) else { return };
        let at = subscriber.topic;
        if let Some(topic) = self.topics.get_mut(at) {
            for (member, place) in topic.leave(subscriber.place) {
                if let Some(member) = self.subscribers.get_mut(member) {
                    member.place = place;
                }
            }
            if topic.is_empty() {
                self.by_log.remove(&topic.packer.log().number());
                self.topics.remove(at);
            }
        }
        subscriber.close(departure);
    }
}

fn watch(log: LogReader, topic: usize) -> BoxStream<'static, usize> {
    stream::unfold(log, move |mut log| async move {
        log.stirred().await;
        Some((topic, log))
    })
    .boxed()
}
