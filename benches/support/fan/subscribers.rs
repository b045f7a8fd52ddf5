//! The load generator: one epoll loop that holds all subscribers, reads their events and counts them.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream as Blocking};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};

use super::super::Outcome;
use super::super::clock::now;
use super::super::helper::Director;
use super::super::proc::Stretch;
use super::super::statistics::Spread;
use super::subscriber::{Subscriber, Tally};
use super::workload::Workload;

/// The most subscribers that wait for the head of their response at the same time: fewer than a listener's backlog.
const MOST_OPENING: u64 = 128;
/// The most connections from one address of this machine to one port: fewer than there are ports.
const MOST_FROM_ONE_ADDRESS: u64 = 20_000;
/// The receive buffer of a reader that reads nothing, in bytes: small, so that it is stuck soon.
const STUCK_BUFFER: usize = 4_096;
/// How long no subscriber may receive anything before the generator stops waiting.
const PATIENCE: Duration = Duration::from_secs(20);
const READ_BYTES: usize = 256 * 1024;
const EVENTS: usize = 1_024;

/// The configuration of the generator.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Subscribers {
    pub(crate) workload: Workload,
    pub(crate) server: SocketAddr,
    /// The path of each task's stream.
    pub(crate) paths: Vec<String>,
    /// Lines of the head, with their line ends.
    pub(crate) headers: String,
    /// True if each response ends with its task.
    pub(crate) ends: bool,
}

/// The events that were read while they were published.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Received {
    pub(crate) delivered: u64,
    pub(crate) missing: u64,
    pub(crate) repeated: u64,
    /// The times from when an event was made until it was read, ms.
    pub(crate) latency: Spread,
    /// The times from when the first event of a task was made until it was read, ms.
    pub(crate) beginning: Spread,
    /// The time from when the first event was made until the last one was read, but at least the time to publish them,
    /// s.
    pub(crate) seconds: f64,
    /// The size of a frame, bytes.
    pub(crate) frame: f64,
    /// The generator's share of a core.
    pub(crate) generator: f64,
}

/// The state at the end, after the stuck subscribers have read all.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ended {
    pub(crate) missing: u64,
    pub(crate) repeated: u64,
    /// The number of responses that should have ended but did not.
    pub(crate) open: u64,
}

/// One connection.
#[derive(Debug)]
struct Reader {
    socket: TcpStream,
    account: Subscriber,
    is_stuck: bool,
    is_closed: bool,
}

impl Reader {
    /// Returns true if the connection is read. Even a stuck reader reads the head of its response.
    fn reads(&self) -> bool {
        let waits_for_head = !self.account.response().has_begun();
        !self.is_closed && (waits_for_head || !self.is_stuck)
    }
}

#[derive(Debug)]
struct Crowd {
    poll: Poll,
    readers: Vec<Reader>,
    tally: Tally,
    /// The number of events of each task.
    events: u64,
    buffer: Vec<u8>,
}

impl Subscribers {
    /// Sends that all have subscribed; begins on the director's order; sends what was received, then how it ended.
    pub(crate) fn play(self, director: &Director) -> Outcome<()> {
        let mut crowd = Crowd {
            poll: Poll::new()?,
            readers: Vec::new(),
            tally: Tally::new()?,
            events: self.workload.events(),
            buffer: vec![0; READ_BYTES],
        };
        self.subscribe(&mut crowd)?;
        director.say(&())?;
        director.wait()?;

        let stretch = Stretch::begin()?;
        crowd.read_while(|reader, events| !reader.is_stuck && reader.account.next() < events)?;
        let attention = stretch.end()?;
        let Tally { delivered, repeated, first, last, frame_bytes, .. } = crowd.tally;
        director.say(&Received {
            delivered,
            missing: crowd.missing(|reader| !reader.is_stuck),
            repeated,
            latency: crowd.tally.latencies.spread(),
            beginning: crowd.tally.beginnings.spread(),
            // The interval of the last event counts, too.
            seconds: (last.saturating_sub(first) as f64 / 1e9).max(self.workload.length().as_secs_f64()),
            frame: frame_bytes as f64 / delivered.max(1) as f64,
            generator: attention.ran.as_secs_f64() / attention.whole.as_secs_f64(),
        })?;

        crowd.loosen()?;
        let is_open = |reader: &Reader, events| {
            reader.account.next() < events || (self.ends && !reader.account.response().has_ended())
        };
        crowd.read_while(is_open)?;
        let open =
            crowd.readers.iter().filter(|reader| self.ends && !reader.account.response().has_ended()).count();
        director.say(&Ended {
            missing: crowd.missing(|_| true),
            repeated: crowd.tally.repeated,
            open: open as u64,
        })?;
        director.wait()
    }

    /// Subscribes all readers, a few at a time.
    fn subscribe(&self, crowd: &mut Crowd) -> Outcome<()> {
        let all = self.workload.all_subscribers();
        let mut ready = Events::with_capacity(EVENTS);
        let mut begun = 0;
        while begun < all {
            for number in crowd.readers.len() as u64..all.min(begun + MOST_OPENING) {
                crowd.add(self.open(number)?)?;
            }
            crowd.wait(&mut ready)?;
            if ready.is_empty() {
                return Err("a subscriber received no answer".into());
            }
            for event in &ready {
                let number = event.token().0;
                let had_begun = crowd.readers[number].account.response().has_begun();
                crowd.read(number)?;
                begun += u64::from(!had_begun && crowd.readers[number].account.response().has_begun());
            }
        }
        Ok(())
    }

    fn open(&self, number: u64) -> Outcome<Reader> {
        let is_stuck = self.workload.is_stuck(number);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        if is_stuck {
            socket.set_recv_buffer_size(STUCK_BUFFER)?;
        }
        let address = u8::try_from(number / MOST_FROM_ONE_ADDRESS)?;
        if address > 0 {
            let from = Ipv4Addr::new(127, 0, 0, 1 + address);
            socket.bind(&SocketAddr::from((from, 0)).into())?;
        }
        socket.connect(&self.server.into())?;
        let mut socket = Blocking::from(socket);
        socket.set_nodelay(true)?;
        let task = usize::try_from(number % self.workload.tasks)?;
        let path = self.paths.get(task).ok_or("a task has no stream")?;
        let Self { server, headers, .. } = self;
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: {server}\r\naccept: text/event-stream\r\n{headers}\r\n");
        socket.write_all(request.as_bytes())?;
        socket.set_nonblocking(true)?;
        let socket = TcpStream::from_std(socket);
        Ok(Reader { socket, account: Subscriber::new(), is_stuck, is_closed: false })
    }
}

impl Crowd {
    fn add(&mut self, mut reader: Reader) -> Outcome<()> {
        let token = Token(self.readers.len());
        self.poll.registry().register(&mut reader.socket, token, Interest::READABLE)?;
        self.readers.push(reader);
        Ok(())
    }

    /// Lets the stuck readers read from now on.
    fn loosen(&mut self) -> Outcome<()> {
        for reader in &mut self.readers {
            reader.is_stuck = false;
        }
        // epoll reported the waiting events before, and does not report them again.
        for number in 0..self.readers.len() {
            self.read(number)?;
        }
        Ok(())
    }

    /// Returns the number of events that the selected readers should have received but did not.
    fn missing(&self, selected: impl Fn(&Reader) -> bool) -> u64 {
        let readers = self.readers.iter().filter(|reader| selected(reader));
        let behind = readers.map(|reader| self.events.saturating_sub(reader.account.next())).sum::<u64>();
        self.tally.missing + behind
    }

    /// Reads as long as any reader is expected to receive something and progress is made.
    fn read_while(&mut self, expects: impl Fn(&Reader, u64) -> bool) -> Outcome<()> {
        let events = self.events;
        let is_expected = |reader: &Reader| !reader.is_closed && expects(reader, events);
        let mut left = self.readers.iter().filter(|reader| is_expected(reader)).count();
        let mut ready = Events::with_capacity(EVENTS);
        let (mut came, mut delivered) = (now(), self.tally.delivered);
        while left > 0 && now() - came < u64::try_from(PATIENCE.as_nanos())? {
            self.wait(&mut ready)?;
            let before = left;
            for event in &ready {
                let number = event.token().0;
                let was_expected = is_expected(&self.readers[number]);
                self.read(number)?;
                left -= usize::from(was_expected && !is_expected(&self.readers[number]));
            }
            // Comments do not count as progress.
            if left < before || self.tally.delivered > delivered {
                (came, delivered) = (now(), self.tally.delivered);
            }
        }
        Ok(())
    }

    fn wait(&mut self, ready: &mut Events) -> Outcome<()> {
        match self.poll.poll(ready, Some(PATIENCE)) {
            Err(err) if err.kind() != ErrorKind::Interrupted => Err(err.into()),
            _ => Ok(()),
        }
    }

    /// Reads the available bytes of one reader.
    fn read(&mut self, number: usize) -> Outcome<()> {
        let Self { readers, tally, buffer, .. } = self;
        let reader = &mut readers[number];
        while reader.reads() {
            match reader.socket.read(buffer) {
                Ok(0) => reader.is_closed = true,
                Ok(length) => {
                    reader.account.take(&buffer[..length], now(), tally)?;
                    // A read that returned less than the buffer has emptied the socket; `epoll` reports new data.
                    if length < buffer.len() {
                        return Ok(());
                    }
                }
                Err(err) if err.kind() == ErrorKind::Interrupted => {}
                Err(err) if err.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(err) => return Err(err.into()),
            }
        }
        Ok(())
    }
}
