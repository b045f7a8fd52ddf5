//! The floor: the cost of the kernel alone. One epoll loop accepts subscribers, makes the events itself and writes
//! them: each with a separate write, or all due events in one. It parses, checks and stores nothing, and sends no
//! keep-alives.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde::{Deserialize, Serialize};

use super::super::Outcome;
use super::super::chunks::{EVENTS_HEAD, frame};
use super::super::clock::now;
use super::super::helper::Director;
use super::super::kit::server::Line;
use super::schedule::Schedule;
use super::workload::Workload;

/// The most due events that are made before the loop serves sockets that have room again.
const MOST_AT_ONCE: usize = 64;
/// The most due events that are made at a time by a floor that writes them all at once.
const MOST_TOGETHER: usize = 4_096;
const EVENTS: usize = 1_024;

/// The configuration of the floor.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Floor {
    pub(crate) workload: Workload,
    /// True if all due events are written in one write, not each separately.
    pub(crate) together: bool,
}

/// The frames of one task's events, one after the other.
#[derive(Debug, Default)]
struct Log {
    bytes: Vec<u8>,
    /// Where each event ends.
    ends: Vec<usize>,
    /// The subscribers of the task.
    subscribers: Vec<usize>,
}

#[derive(Debug)]
struct Subscriber {
    socket: TcpStream,
    task: usize,
    /// The bytes of the log that were written.
    written: usize,
    /// The events that were written completely.
    events: usize,
    is_full: bool,
}

/// The state while events are published.
#[derive(Debug)]
struct Hub {
    logs: Vec<Log>,
    subscribers: Vec<Subscriber>,
    together: bool,
}

impl Floor {
    /// Sends its address; begins on the director's order; when all is written, sends how the publishing went.
    pub(crate) fn play(self, director: &Director) -> Outcome<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        director.say(&listener.local_addr()?)?;
        let mut poll = Poll::new()?;
        let mut hub = Hub::take_in(&listener, &poll, &self)?;
        director.wait()?;

        let mut schedule = Schedule::begin(&self.workload)?;
        let mut events = Events::with_capacity(EVENTS);
        while schedule.next().is_some() || !hub.is_done() {
            let wait = schedule.next().map(|due| Duration::from_nanos(due.at.saturating_sub(now())));
            nap(&mut poll, &mut events, wait)?;
            for event in &events {
                hub.fill(event.token().0, true)?;
            }
            hub.make_due(&mut schedule)?;
        }
        director.say(&schedule.published())?;
        director.wait()
    }
}

/// Waits for room in a socket, or until the next event is due. `epoll` counts milliseconds; the thread sleeps for the
/// rest.
fn nap(poll: &mut Poll, events: &mut Events, wait: Option<Duration>) -> Outcome<()> {
    let whole = wait.map(|wait| Duration::from_millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)));
    match poll.poll(events, whole) {
        Err(err) if err.kind() != ErrorKind::Interrupted => return Err(err.into()),
        _ => {}
    }
    if let Some(wait) = wait.filter(|wait| events.is_empty() && wait.as_millis() == 0) {
        thread::sleep(wait);
    }
    Ok(())
}

impl Hub {
    /// Accepts all subscribers, whose requests name their tasks: `/TASK`.
    fn take_in(listener: &TcpListener, poll: &Poll, floor: &Floor) -> Outcome<Self> {
        let mut logs = Vec::new();
        logs.resize_with(usize::try_from(floor.workload.tasks)?, Log::default);
        let mut subscribers = Vec::new();
        for number in 0..usize::try_from(floor.workload.all_subscribers())? {
            let (socket, _): (_, SocketAddr) = listener.accept()?;
            let mut line = Line::new(number, socket);
            let request = line.request()?.ok_or("a subscriber sent no request")?;
            let task = request.target.strip_prefix('/').and_then(|task| task.parse::<usize>().ok());
            let task = task.filter(|task| *task < logs.len()).ok_or("a subscriber named no task")?;
            line.write(EVENTS_HEAD)?;
            let socket = line.into_socket();
            socket.set_nonblocking(true)?;
            let mut socket = TcpStream::from_std(socket);
            poll.registry().register(&mut socket, Token(number), Interest::WRITABLE)?;
            logs[task].subscribers.push(number);
            subscribers.push(Subscriber { socket, task, written: 0, events: 0, is_full: false });
        }
        Ok(Self { logs, subscribers, together: floor.together })
    }

    fn is_done(&self) -> bool {
        self.subscribers.iter().all(|subscriber| !subscriber.is_full)
    }

    /// Makes the due events, and writes them.
    fn make_due(&mut self, schedule: &mut Schedule) -> Outcome<()> {
        let mut touched = Vec::new();
        let most = if self.together { MOST_TOGETHER } else { MOST_AT_ONCE };
        for _ in 0..most {
            let Some(due) = schedule.next().filter(|due| due.at <= now()) else { break };
            let log = &mut self.logs[due.task];
            frame(schedule.make(due), &mut log.bytes);
            log.ends.push(log.bytes.len());
            if self.together {
                touched.push(due.task);
            } else {
                self.write(due.task)?;
            }
        }
        touched.sort_unstable();
        touched.dedup();
        touched.into_iter().try_for_each(|task| self.write(task))
    }

    fn write(&mut self, task: usize) -> Outcome<()> {
        for at in 0..self.logs[task].subscribers.len() {
            self.fill(self.logs[task].subscribers[at], false)?;
        }
        Ok(())
    }

    /// Writes the missing bytes to a subscriber, as long as its socket accepts them.
    fn fill(&mut self, number: usize, has_room: bool) -> Outcome<()> {
        let Some(subscriber) = self.subscribers.get_mut(number) else { return Ok(()) };
        let log = &self.logs[subscriber.task];
        if subscriber.is_full && !has_room {
            return Ok(());
        }
        subscriber.is_full = false;
        while let Some(end) = log.ends.get(subscriber.events) {
            let end = if self.together { log.bytes.len() } else { *end };
            match subscriber.socket.write(&log.bytes[subscriber.written..end]) {
                Ok(length) => subscriber.written += length,
                Err(err) if err.kind() == ErrorKind::Interrupted => {}
                Err(err) if err.kind() == ErrorKind::WouldBlock => {
                    subscriber.is_full = true;
                    return Ok(());
                }
                Err(err) => return Err(err.into()),
            }
            while log.ends.get(subscriber.events).is_some_and(|end| *end <= subscriber.written) {
                subscriber.events += 1;
            }
        }
        Ok(())
    }
}
