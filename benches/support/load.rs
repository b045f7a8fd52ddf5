//! The load: connections that each send one submit after another, as fast as the server answers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hearken::task::TaskId;

use super::arguments::Arguments;
use super::kit::client::Connection;
use super::proc::{Attention, Stretch, machine_cpu_time};
use super::server::Server;
use super::tasks::acknowledged;
use super::{Error, Outcome};

/// The options of a load.
#[derive(Debug)]
pub(crate) struct LoadOptions {
    /// How long one round is measured.
    pub(crate) length: Duration,
    /// Rounds of each server in each row.
    pub(crate) rounds: usize,
    pub(crate) connections: usize,
}

impl LoadOptions {
    /// Reads `--seconds`, `--connections` and `--rounds`; `rounds` is the default number of rounds.
    pub(crate) fn read(arguments: &Arguments, rounds: usize) -> Outcome<Self> {
        Ok(Self {
            length: Duration::from_secs(arguments.number("--seconds", 1)?.unwrap_or(3)),
            rounds: arguments.number("--rounds", 1)?.unwrap_or(rounds),
            connections: arguments.number("--connections", 1)?.unwrap_or(64),
        })
    }
}

/// The load for a server.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) request: Vec<u8>,
    pub(crate) connections: usize,
    /// How long the load runs first without being counted.
    pub(crate) warm_up: Duration,
    /// How long the load is counted.
    pub(crate) length: Duration,
}

/// The results of a load.
#[derive(Debug)]
pub(crate) struct Worked {
    /// All acknowledged tasks, including those before and after the counted time.
    pub(crate) acknowledged: Vec<TaskId>,
    /// The times from the first byte of a request to the last of its reply, only of counted submits, in order.
    pub(crate) latencies: Vec<Duration>,
    /// The time that was counted.
    pub(crate) time: Duration,
    /// The server's CPU time in the counted time.
    pub(crate) server_cpu: Duration,
    /// The CPU time of the whole machine in the counted time.
    pub(crate) machine_cpu: Duration,
    /// The time account of the connections' threads in the counted time.
    pub(crate) generator: Attention,
}

/// The measurements from outside while submits were counted.
#[derive(Debug)]
struct Measured {
    time: Duration,
    server_cpu: Duration,
    machine_cpu: Duration,
}

/// The signals that the measuring thread sets and all connections read.
#[derive(Debug, Default)]
struct LoadSignals {
    counts: AtomicBool,
    over: AtomicBool,
}

/// The results of one connection.
#[derive(Debug, Default)]
struct ConnectionResults {
    acknowledged: Vec<TaskId>,
    latencies: Vec<Duration>,
    attention: Attention,
}

impl Load {
    /// Puts the load on a server, which is killed at the end while requests are in progress.
    pub(crate) fn put_on(&self, server: &mut Server) -> Outcome<Worked> {
        let connections = (0..self.connections).map(|_| Connection::open(server.address()));
        let connections = connections.collect::<Outcome<Vec<_>>>()?;
        let signals = LoadSignals::default();
        let (measured, parts) = thread::scope(|scope| {
            let threads: Vec<_> = connections
                .into_iter()
                .map(|connection| scope.spawn(|| submit_on(connection, &self.request, &signals)))
                .collect();
            let directed = self.direct(server, &signals);
            // The threads must stop, whether the measurement succeeded or failed.
            signals.over.store(true, Ordering::Release);
            let killed = server.kill();
            let parts = threads.into_iter().map(|thread| thread.join().map_err(|_| "a thread panicked")?);
            let parts = parts.collect::<Outcome<Vec<_>>>()?;
            killed?;
            Ok::<_, Error>((directed?, parts))
        })?;
        let generator = Attention::sum(parts.iter().map(|part| part.attention));
        let (mut acknowledged, mut latencies) = (Vec::new(), Vec::new());
        for part in parts {
            acknowledged.extend(part.acknowledged);
            latencies.extend(part.latencies);
        }
        latencies.sort_unstable();
        let Measured { time, server_cpu, machine_cpu } = measured;
        Ok(Worked { acknowledged, latencies, time, server_cpu, machine_cpu, generator })
    }

    /// Waits for the end of the warm-up, then lets submits count, and measures meanwhile.
    fn direct(&self, server: &Server, signals: &LoadSignals) -> Outcome<Measured> {
        thread::sleep(self.warm_up);
        let (server_before, machine_before) = (server.cpu_time()?, machine_cpu_time()?);
        let began = Instant::now();
        signals.counts.store(true, Ordering::Release);
        thread::sleep(self.length);
        signals.counts.store(false, Ordering::Release);
        Ok(Measured {
            time: began.elapsed(),
            server_cpu: server.cpu_time()?.saturating_sub(server_before),
            machine_cpu: machine_cpu_time()?.saturating_sub(machine_before),
        })
    }
}

fn submit_on(
    mut connection: Connection,
    request: &[u8],
    signals: &LoadSignals,
) -> Outcome<ConnectionResults> {
    let mut part = ConnectionResults::default();
    let mut counted: Option<Stretch> = None;
    while !signals.over.load(Ordering::Acquire) {
        let sent = Instant::now();
        let reply = match connection.exchange(request) {
            Ok(reply) => reply,
            // The server was killed during the request: nothing was acknowledged.
            Err(_) if signals.over.load(Ordering::Acquire) => break,
            Err(err) => return Err(err),
        };
        part.acknowledged.push(acknowledged(&reply)?);
        let counts = signals.counts.load(Ordering::Acquire);
        if counts {
            part.latencies.push(sent.elapsed());
        }
        counted = match counted {
            None if counts => Some(Stretch::begin()?),
            Some(stretch) if !counts => {
                part.attention = stretch.end()?;
                None
            }
            unchanged => unchanged,
        };
    }
    if let Some(stretch) = counted {
        part.attention = stretch.end()?;
    }
    Ok(part)
}
