//! Limits the connections, so that enough open files are left for the tasks, and one address cannot have all
//! connections.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::addresses::{Addresses, Network};
use crate::fanout::OpenFile;
use crate::metrics::HttpMetrics;

/// Open files of the server itself: its store, its event loops, its listeners, downloads, and connections that are kept
/// for the next call.
const FILES_OF_THE_SERVER: u64 = 128;
/// Open files of a running task: its upstream connection, its journal, its audio.
const FILES_OF_A_TASK: u64 = 3;
/// The shortest time between two log lines about addresses with too many connections.
const REMINDER: Duration = Duration::from_secs(60);

/// The open files that connections may use; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct OpenFiles {
    left: Arc<Semaphore>,
    most: usize,
    addresses: Addresses,
    refusal_log: Arc<RefusalLog>,
    metrics: HttpMetrics,
}

/// The log lines that were written.
#[derive(Debug)]
struct RefusalLog {
    ran_out: AtomicBool,
    since: Instant,
    /// The time from which on the next line about an address may be written, in seconds since `since`.
    next: AtomicU64,
}

impl OpenFiles {
    /// Calculates the limit for a process that may have `files` open files and run `tasks` tasks at once. If `files` is
    /// too small for both, connections get a quarter. `of_address` is `limits.max_connections_per_address`.
    pub(super) fn of(
        files: u64,
        tasks: usize,
        of_address: Option<NonZeroUsize>,
        metrics: HttpMetrics,
    ) -> Self {
        let reserved = FILES_OF_A_TASK.saturating_mul(tasks as u64).saturating_add(FILES_OF_THE_SERVER);
        if files / 4 > files.saturating_sub(reserved) {
            tracing::warn!(
                files,
                tasks,
                "the limit on open files (RLIMIT_NOFILE) is too low for this many running tasks, and tasks that cannot \
                 open a file fail; raise the limit, or lower max_running_tasks"
            );
        }
        let most = files.saturating_sub(reserved).max(files / 4);
        Self::new(usize::try_from(most).unwrap_or(usize::MAX), of_address, metrics)
    }

    /// Allows `most` connections.
    pub(super) fn new(most: usize, of_address: Option<NonZeroUsize>, metrics: HttpMetrics) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        let refusal_log =
            RefusalLog { ran_out: AtomicBool::new(false), since: Instant::now(), next: AtomicU64::new(0) };
        Self {
            left: Arc::new(Semaphore::new(most)),
            most,
            addresses: Addresses::new(of_address, most),
            refusal_log: Arc::new(refusal_log),
            metrics,
        }
    }

    /// Takes an open file for a connection. Returns `None` if none is left: the connection is then closed at once, and
    /// the first such refusal is logged.
    pub(super) fn take(&self, peer: Option<IpAddr>) -> Option<OpenFile> {
        let of_address = match peer.map(Network::of) {
            Some(network) => Some(self.addresses.take(network).or_else(|| {
                self.refuse(network);
                None
            })?),
            None => None,
        };
        let file = Arc::clone(&self.left).try_acquire_owned().ok();
        if file.is_none() {
            self.metrics.connection_refused("open_files");
        }
        if !self.refusal_log.ran_out.swap(file.is_none(), Ordering::Relaxed) && file.is_none() {
            tracing::warn!(
                "connections are refused, because the limit on open files (RLIMIT_NOFILE) allows no more; raise the limit"
            );
        }
        Some(OpenFile { file: file?, of_address })
    }

    fn refuse(&self, network: Network) {
        self.metrics.connection_refused("address");
        let now = self.refusal_log.since.elapsed().as_secs();
        let is_due = |next| (next <= now).then(|| now + REMINDER.as_secs());
        if self.refusal_log.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_due).is_ok() {
            tracing::warn!(
                address = %network,
                connections = self.addresses.most(),
                "connections from this address are refused, because it has as many as limits.max_connections_per_address \
                 allows; raise this limit if the address is your own proxy"
            );
        }
    }

    /// Returns how many connections are open, and how many may be.
    pub(super) fn taken(&self) -> (usize, usize) {
        (self.most.saturating_sub(self.left.available_permits()), self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    fn most(files: u64, tasks: usize) -> usize {
        let open_files = OpenFiles::of(files, tasks, None, Metrics::new(std::iter::empty()).unwrap().http);
        let mut taken = Vec::new();
        while let Some(file) = open_files.take(None) {
            taken.push(file);
        }
        assert_eq!(open_files.taken(), (taken.len(), taken.len()));
        drop(taken.pop());
        assert!(open_files.take(None).is_some(), "a connection that ends makes room");
        taken.len() + 1
    }

    #[test]
    fn the_limit_leaves_open_files_for_the_tasks() {
        assert_eq!(most(20_000, 64), 20_000 - 128 - 3 * 64);
        assert_eq!(most(300, 64), 75);
        assert_eq!(most(300, usize::MAX), 75);
    }

    #[test]
    fn a_refused_connection_does_not_count_for_its_address() {
        let open_files =
            OpenFiles::new(1, NonZeroUsize::new(1), Metrics::new(std::iter::empty()).unwrap().http);
        let (one, other) = ("192.0.2.1".parse().ok(), "192.0.2.2".parse().ok());
        let taken = open_files.take(one).unwrap();
        assert!(open_files.take(other).is_none());
        drop(taken);
        assert!(open_files.take(other).is_some());
    }
}
