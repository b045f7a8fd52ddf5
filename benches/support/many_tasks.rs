//! Runs many tasks over a few connections.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::Outcome;
use super::arguments::Arguments;
use super::kit::client::Connection;

/// The number of tasks, and how many run at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ManyTasks {
    pub(crate) tasks: usize,
    pub(crate) connections: usize,
}

impl ManyTasks {
    /// Reads the options; `tasks` is the default number of tasks.
    pub(crate) fn read(arguments: &Arguments, tasks: usize) -> Outcome<Self> {
        let tasks = arguments.number("--tasks", 1)?.unwrap_or(tasks);
        Ok(Self { tasks, connections: arguments.number("--connections", 1)?.unwrap_or(64) })
    }

    /// Runs each task on one of the connections, as they become free.
    pub(crate) fn run<T: Send>(
        &self,
        server: SocketAddr,
        one: impl Fn(&mut Connection) -> Outcome<T> + Sync,
    ) -> Outcome<Vec<T>> {
        let left = AtomicUsize::new(self.tasks);
        let client = || -> Outcome<Vec<T>> {
            let (mut connection, mut done) = (Connection::open(server)?, Vec::new());
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
                done.push(one(&mut connection)?);
            }
            Ok(done)
        };
        let done: Outcome<Vec<Vec<T>>> = thread::scope(|scope| {
            let clients: Vec<_> = (0..self.connections).map(|_| scope.spawn(client)).collect();
            let done =
                clients.into_iter().map(|client| client.join().unwrap_or(Err("a client crashed".into())));
            done.collect()
        });
        Ok(done?.into_iter().flatten().collect())
    }
}
