//! One round of one side: subscribe, publish, and see what it took.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::super::Outcome;
use super::super::bench::cores;
use super::super::proc::machine_cpu_time;
use super::nchan::Installed;
use super::schedule::Published;
use super::side::Side;
use super::stage::{Stage, all_resident};
use super::subscribers::{Ended, Received};
use super::workload::Workload;

/// When all have subscribed, what that has left to do is done within this time.
const SETTLE: Duration = Duration::from_secs(1);
/// The same where nothing but their memory is looked at.
const SETTLE_IDLE: Duration = Duration::from_secs(3);
/// So many looks at the server's memory while events are published, but not more than one a second.
const LOOKS: u32 = 20;

/// What one round found.
#[derive(Debug)]
pub(crate) struct Round {
    /// Of the server for each subscriber before anything was published, bytes.
    pub(crate) memory_each: f64,
    /// Nothing is published to the idle.
    pub(crate) run: Option<Run>,
}

/// What was found while events were published.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) received: Received,
    pub(crate) ended: Ended,
    pub(crate) published: Published,
    pub(crate) server_cpu: Duration,
    /// The publisher's share of a core, where it is not the server.
    pub(crate) publisher: f64,
    /// The share of the machine that none of ours used, and somebody did.
    pub(crate) others: f64,
    /// Of the server, bytes, from the beginning to the end.
    pub(crate) resident: Vec<u64>,
}

impl Round {
    pub(crate) fn measure(side: Side, workload: &Workload, nchan: Option<&Installed>) -> Outcome<Self> {
        let mut stage = Stage::set(side, workload, nchan)?;
        thread::sleep(SETTLE);
        let before = stage.memory()?;
        let mut subscribers = stage.subscribe()?;
        thread::sleep(if workload.is_idle() { SETTLE_IDLE } else { SETTLE });
        let memory = stage.memory()?.saturating_sub(before);
        let memory_each = memory as f64 / workload.all_subscribers() as f64;
        if workload.is_idle() {
            return Ok(Self { memory_each, run: None });
        }

        let (server, publisher) = (stage.server_cpu_time()?, stage.publisher_cpu_time()?);
        let (generator, machine) = (subscribers.cpu_time()?, machine_cpu_time()?);
        let began = Instant::now();
        subscribers.go()?;
        stage.publisher().go()?;
        let pause = (workload.length() / LOOKS).max(Duration::from_secs(1));
        let processes = stage.processes()?;
        let (received, resident) = looking(&processes, pause, || subscribers.hear::<Received>())?;
        let time = began.elapsed().as_secs_f64();
        let server = stage.server_cpu_time()?.saturating_sub(server);
        let publisher = stage.publisher_cpu_time()?.saturating_sub(publisher);
        let generator = subscribers.cpu_time()?.saturating_sub(generator);
        let machine = machine_cpu_time()?.saturating_sub(machine);
        let others = machine.saturating_sub(server + publisher + generator).as_secs_f64();

        let run = Run {
            received,
            published: stage.publisher().hear()?,
            ended: subscribers.hear()?,
            server_cpu: server,
            publisher: publisher.as_secs_f64() / time,
            others: others / (time * cores() as f64),
            resident,
        };
        Ok(Self { memory_each, run: Some(run) })
    }
}

/// Does something, and looks at the memory of processes meanwhile.
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
        // However that went, it must stop.
        drop(stop);
        let seen = looks.join().map_err(|_| "a thread panicked")?;
        Ok((done?, seen?))
    })
}
