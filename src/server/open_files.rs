//! How many connections there may be: as many as leave open files for the tasks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Semaphore;

use crate::fanout::socket::OpenFile;
use crate::metrics::HttpMetrics;

/// Open files of the server itself: its store, its event loops, its listeners, the downloads and connections that are
/// kept for the next call.
const FILES_OF_THE_SERVER: u64 = 128;
/// Open files of a running task: its upstream connection, its journal, its audio.
const FILES_OF_A_TASK: u64 = 3;

/// The open files that connections may use; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct OpenFiles {
    left: Arc<Semaphore>,
    most: usize,
    ran_out: Arc<AtomicBool>,
    metrics: HttpMetrics,
}

impl OpenFiles {
    /// For a process that may open so many files and run so many tasks at once. Of a number that is too small for both,
    /// connections get a quarter.
    pub(super) fn of(files: u64, tasks: usize, metrics: HttpMetrics) -> Self {
        let reserved = FILES_OF_A_TASK.saturating_mul(tasks as u64).saturating_add(FILES_OF_THE_SERVER);
        if files / 4 > files.saturating_sub(reserved) {
            tracing::warn!(
                files,
                tasks,
                "the limit on open files (RLIMIT_NOFILE) is too low for so many running tasks: raise it, or lower \
                 max_running_tasks; tasks that find no file fail"
            );
        }
        let most = files.saturating_sub(reserved).max(files / 4);
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { left: Arc::new(Semaphore::new(most)), most, ran_out: Arc::default(), metrics }
    }

    /// Nothing where there is no room: the connection is closed at once, and the log tells of the first.
    pub(super) fn take(&self) -> Option<OpenFile> {
        let file = Arc::clone(&self.left).try_acquire_owned().ok();
        if file.is_none() {
            self.metrics.connection_refused();
        }
        if !self.ran_out.swap(file.is_none(), Ordering::Relaxed) && file.is_none() {
            tracing::warn!("connections are refused: the limit on open files (RLIMIT_NOFILE) allows no more");
        }
        file
    }

    /// How many are open, and how many may be.
    pub(super) fn taken(&self) -> (usize, usize) {
        (self.most.saturating_sub(self.left.available_permits()), self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    fn most(files: u64, tasks: usize) -> usize {
        let open_files = OpenFiles::of(files, tasks, Metrics::new(std::iter::empty()).unwrap().http);
        let mut taken = Vec::new();
        while let Some(file) = open_files.take() {
            taken.push(file);
        }
        assert_eq!(open_files.taken(), (taken.len(), taken.len()));
        drop(taken.pop());
        assert!(open_files.take().is_some(), "who leaves makes room");
        taken.len() + 1
    }

    #[test]
    fn connections_leave_files_for_the_tasks() {
        assert_eq!(most(20_000, 64), 20_000 - 128 - 3 * 64);
        assert_eq!(most(300, 64), 75);
        assert_eq!(most(300, usize::MAX), 75);
    }
}
