//! The load: connections that each send one submit after another, as fast as they are answered.

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

/// What may be chosen of a load.
#[derive(Debug)]
pub(crate) struct LoadOptions {
    /// How long one round is measured.
    pub(crate) length: Duration,
    /// Rounds of each server in each row.
    pub(crate) rounds: usize,
    pub(crate) connections: usize,
}

impl LoadOptions {
    /// Reads `--seconds`, `--connections` and `--rounds`, which are so many unless they are chosen.
    pub(crate) fn read(arguments: &Arguments, rounds: usize) -> Outcome<Self> {
        Ok(Self {
            length: Duration::from_secs(arguments.number("--seconds", 1)?.unwrap_or(3)),
            rounds: arguments.number("--rounds", 1)?.unwrap_or(rounds),
            connections: arguments.number("--connections", 1)?.unwrap_or(64),
        })
    }
}

/// What is put on a server.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) request: Vec<u8>,
    pub(crate) connections: usize,
    /// Runs first and is not counted.
    pub(crate) warm_up: Duration,
    /// Is counted.
    pub(crate) length: Duration,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Worked {
    /// Every task that was acknowledged, also before and after the time that is counted.
    pub(crate) acknowledged: Vec<TaskId>,
    /// From the first byte of a request to the last of its reply, those that were counted, in order.
    pub(crate) latencies: Vec<Duration>,
    /// The time that was counted.
    pub(crate) time: Duration,
    /// The server's, in that time.
    pub(crate) server_cpu: Duration,
    /// The whole machine's, in that time.
    pub(crate) machine_cpu: Duration,
    /// What the connections' threads did in that time.
    pub(crate) generator: Attention,
}

/// What was measured from outside while submits were counted.
#[derive(Debug)]
struct Measured {
    time: Duration,
    server_cpu: Duration,
    machine_cpu: Duration,
}

/// Read by all connections, set by who directs them.
#[derive(Debug, Default)]
struct Stage {
    counts: AtomicBool,
    over: AtomicBool,
}

/// One connection's part.
#[derive(Debug, Default)]
struct Part {
    acknowledged: Vec<TaskId>,
    latencies: Vec<Duration>,
    attention: Attention,
}

impl Load {
    /// Puts it on a server, which is killed at the end while requests are under way.
    pub(crate) fn put_on(&self, server: &mut Server) -> Outcome<Worked> {
        let connections = (0..self.connections).map(|_| Connection::open(server.address()));
        let connections = connections.collect::<Outcome<Vec<_>>>()?;
        let stage = Stage::default();
        let (measured, parts) = thread::scope(|scope| {
            let threads: Vec<_> = connections
                .into_iter()
                .map(|connection| scope.spawn(|| submit_on(connection, &self.request, &stage)))
                .collect();
            let directed = self.direct(server, &stage);
            // However that went, they must stop.
            stage.over.store(true, Ordering::Release);
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

    /// Says what counts, and measures meanwhile.
    fn direct(&self, server: &Server, stage: &Stage) -> Outcome<Measured> {
        thread::sleep(self.warm_up);
        let (server_before, machine_before) = (server.cpu_time()?, machine_cpu_time()?);
        let began = Instant::now();
        stage.counts.store(true, Ordering::Release);
        thread::sleep(self.length);
        stage.counts.store(false, Ordering::Release);
        Ok(Measured {
            time: began.elapsed(),
            server_cpu: server.cpu_time()?.saturating_sub(server_before),
            machine_cpu: machine_cpu_time()?.saturating_sub(machine_before),
        })
    }
}

fn submit_on(mut connection: Connection, request: &[u8], stage: &Stage) -> Outcome<Part> {
    let mut part = Part::default();
    let mut counted: Option<Stretch> = None;
    while !stage.over.load(Ordering::Acquire) {
        let sent = Instant::now();
        let reply = match connection.exchange(request) {
            Ok(reply) => reply,
            // Killed in the middle of it: nothing was acknowledged.
            Err(_) if stage.over.load(Ordering::Acquire) => break,
            Err(err) => return Err(err),
        };
        part.acknowledged.push(acknowledged(&reply)?);
        let counts = stage.counts.load(Ordering::Acquire);
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
