//! One side, set up for a workload: the server runs, its publisher waits for the order to begin, and subscribers may
//! connect.

use std::net::SocketAddr;
use std::time::Duration;

use super::super::Outcome;
use super::super::helper::Helper;
use super::super::kit::client::Connection;
use super::super::proc::{cpu_time, family, proportional, resident};
use super::super::request::{MODEL, authorization, short, stream};
use super::super::server::Server;
use super::super::tasks::acknowledged;
use super::floor::Floor;
use super::gemini::Upstream;
use super::nchan::{Installed, Nginx};
use super::part::Part;
use super::poster::Poster;
use super::side::Side;
use super::subscribers::Subscribers;
use super::workload::Workload;

/// The processes of one side.
#[derive(Debug)]
pub(crate) struct Setup {
    server: Running,
    publisher: Helper,
    subscribers: Subscribers,
}

#[derive(Debug)]
enum Running {
    Hearken(Server),
    /// The floor, which also publishes.
    Floor,
    Nchan(Nginx),
}

impl Setup {
    /// Starts the server and the publisher of a side.
    pub(crate) fn start(side: Side, workload: &Workload, nchan: Option<&Installed>) -> Outcome<Self> {
        match side {
            Side::HandOver | Side::StreamedBody => Self::hearken(side, workload),
            Side::Floor | Side::FloorTogether => Self::floor(side == Side::FloorTogether, workload),
            Side::Nchan => Self::nchan(nchan.ok_or("nchan is not installed")?, workload),
        }
    }

    fn hearken(side: Side, workload: &Workload) -> Outcome<Self> {
        let mut upstream = Helper::start(&Part::Upstream(Upstream { workload: workload.clone() }))?;
        let gemini: SocketAddr = upstream.hear()?;
        let server = Server::start(|_| settings(side, workload, gemini))?;
        let (mut connection, request) = (Connection::open(server.address())?, short(true, false)?);
        let tasks = (0..workload.tasks).map(|_| acknowledged(&connection.exchange(&request)?));
        let tasks = tasks.collect::<Outcome<Vec<_>>>()?;
        // All calls have arrived.
        upstream.hear::<()>()?;
        let subscribers = Subscribers {
            workload: workload.clone(),
            server: server.address(),
            paths: tasks.iter().map(stream).collect(),
            headers: authorization(),
            ends: true,
        };
        Ok(Self { server: Running::Hearken(server), publisher: upstream, subscribers })
    }

    fn floor(together: bool, workload: &Workload) -> Outcome<Self> {
        let mut floor = Helper::start(&Part::Floor(Floor { workload: workload.clone(), together }))?;
        let subscribers = Subscribers {
            workload: workload.clone(),
            server: floor.hear()?,
            paths: (0..workload.tasks).map(|task| format!("/{task}")).collect(),
            headers: String::new(),
            ends: false,
        };
        Ok(Self { server: Running::Floor, publisher: floor, subscribers })
    }

    fn nchan(installed: &Installed, workload: &Workload) -> Outcome<Self> {
        let nginx = installed.start(workload)?;
        let publisher = Helper::start(&Part::Poster(Poster {
            workload: workload.clone(),
            server: nginx.address(),
            paths: (0..workload.tasks).map(Nginx::writing).collect(),
        }))?;
        let subscribers = Subscribers {
            workload: workload.clone(),
            server: nginx.address(),
            paths: (0..workload.tasks).map(Nginx::reading).collect(),
            headers: String::new(),
            ends: false,
        };
        Ok(Self { server: Running::Nchan(nginx), publisher, subscribers })
    }

    /// Starts the subscribers, and waits until all are subscribed.
    pub(crate) fn subscribe(&self) -> Outcome<Helper> {
        let mut subscribers = Helper::start(&Part::Subscribers(self.subscribers.clone()))?;
        subscribers.hear::<()>()?;
        Ok(subscribers)
    }

    pub(crate) fn publisher(&mut self) -> &mut Helper {
        &mut self.publisher
    }

    /// Returns the CPU time of the publisher, if it is not the server.
    pub(crate) fn publisher_cpu_time(&self) -> Outcome<Duration> {
        match self.server {
            Running::Floor => Ok(Duration::ZERO),
            Running::Hearken(_) | Running::Nchan(_) => self.publisher.cpu_time(),
        }
    }

    /// Returns the processes of the server.
    pub(crate) fn processes(&self) -> Outcome<Vec<u32>> {
        family(match &self.server {
            Running::Hearken(server) => server.pid(),
            Running::Floor => self.publisher.pid(),
            Running::Nchan(nginx) => nginx.pid(),
        })
    }

    /// Returns the CPU time that the server has used.
    pub(crate) fn server_cpu_time(&self) -> Outcome<Duration> {
        self.processes()?.into_iter().map(cpu_time).sum()
    }

    /// Returns the server's own memory, in bytes.
    pub(crate) fn memory(&self) -> Outcome<u64> {
        self.processes()?.into_iter().map(proportional).sum()
    }
}

/// Returns the memory of processes with all that they share, in bytes.
pub(crate) fn all_resident(processes: &[u32]) -> Outcome<u64> {
    processes.iter().map(|pid| Ok(resident(*pid)?.now)).sum()
}

/// Returns settings with which every task runs, and no timeout ends a wait.
fn settings(side: Side, workload: &Workload, gemini: SocketAddr) -> String {
    const DAY: &str = "86400000";
    format!(
        "[[channels]]\nkind = \"gemini\"\nbase_url = \"http://{gemini}/v1beta\"\napi_key = \"bench\"\n\
         models = [\"{MODEL}\"]\nmax_running_tasks = {}\nmax_retries = 0\n\
         first_chunk_timeout_ms = {DAY}\nidle_timeout_ms = {DAY}\ntotal_timeout_ms = {DAY}\n{}",
        workload.tasks,
        side.settings(),
    )
}
