//! One round of one side: subscribe, publish, and measure the cost.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::super::Outcome;
use super::super::bench::cores;
use super::super::proc::machine_cpu_time;
use super::nchan::Installed;
use super::schedule::Published;
use super::setup::{Setup, all_resident};
use super::side::Side;
use super::subscribers::{Ended, Received};
use super::workload::Workload;

/// How long the server gets for the work that remains after all have subscribed.
const SETTLE: Duration = Duration::from_secs(1);
/// How long the server gets for that work in a round that measures only memory.
const SETTLE_IDLE: Duration = Duration::from_secs(3);
/// The number of measurements of the server's memory while events are published, at most one a second.
const LOOKS: u32 = 20;

/// The findings of one round.
#[derive(Debug)]
pub(crate) struct Round {
    /// The server's memory for each subscriber before anything was published, bytes.
    pub(crate) memory_each: f64,
    /// The run; `None` for idle subscribers, because nothing is published.
    pub(crate) run: Option<Run>,
}

/// The findings while events were published.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) received: Received,
    pub(crate) ended: Ended,
    pub(crate) published: Published,
    pub(crate) server_cpu: Duration,
    /// The publisher's share of a core, if it is not the server.
    pub(crate) publisher: f64,
    /// The share of the machine that other processes used.
    pub(crate) others: f64,
    /// The server's memory in bytes, from the beginning to the end.
    pub(crate) resident: Vec<u64>,
}

impl Round {
    pub(crate) fn measure(side: Side, workload: &Workload, nchan: Option<&Installed>) -> Outcome<Self> {
        let mut setup = Setup::start(side, workload, nchan)?;
        thread::sleep(SETTLE);
        let before = setup.memory()?;
        let mut subscribers = setup.subscribe()?;
        thread::sleep(if workload.is_idle() { SETTLE_IDLE } else { SETTLE });
        let memory = setup.memory()?.saturating_sub(before);
        let memory_each = memory as f64 / workload.all_subscribers() as f64;
        if workload.is_idle() {
            return Ok(Self { memory_each, run: None });
        }

        let (server, publisher) = (setup.server_cpu_time()?, setup.publisher_cpu_time()?);
        let (generator, machine) = (subscribers.cpu_time()?, machine_cpu_time()?);
        let began = Instant::now();
        subscribers.go()?;
        setup.publisher().go()?;
        let pause = (workload.length() / LOOKS).max(Duration::from_secs(1));
        let processes = setup.processes()?;
        let (received, resident) = looking(&processes, pause, || subscribers.hear::<Received>())?;
        let time = began.elapsed().as_secs_f64();
        let server = setup.server_cpu_time()?.saturating_sub(server);
        let publisher = setup.publisher_cpu_time()?.saturating_sub(publisher);
        let generator = subscribers.cpu_time()?.saturating_sub(generator);
        let machine = machine_cpu_time()?.saturating_sub(machine);
        let others = machine.saturating_sub(server + publisher + generator).as_secs_f64();

        let run = Run {
            received,
            published: setup.publisher().hear()?,
            ended: subscribers.hear()?,
            server_cpu: server,
            publisher: publisher.as_secs_f64() / time,
            others: others / (time * cores() as f64),
            resident,
        };
        Ok(Self { memory_each, run: Some(run) })
    }
}

/// Does some work, and measures the memory of processes while it runs.
fn looking<T>(
    processes: &[u32],
    pause: Duration,
    work: impl FnOnce() -> Outcome<T>,
) -> Outcome<(T, Vec<u64>)> {
    let (stop, stopped) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let looks = scope.spawn(move || {
            let mut seen = vec![all_resident(processes)?];
            while stopped.recv_timeout(pause) == Err(mpsc::RecvTimeoutError::Timeout) {
                seen.push(all_resident(processes)?);
            }
            Ok::<_, super::super::Error>(seen)
        });
        let done = work();
        // The measuring thread must stop, whether the work succeeded or failed.
        drop(stop);
        let seen = looks.join().map_err(|_| "a thread panicked")?;
        Ok((done?, seen?))
    })
}
