//! The thread that writes. It turns all waiting writes into one transaction.

mod commit_status;
mod deferred;
mod forget;
mod rows;
#[cfg(test)]
mod tests;
mod write;

use std::path::Path;
use std::time::Instant;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::mpsc;

use super::StoreError;
use super::commit_counter::{self, CommitCounter};
use super::health::{Health, Trouble};
use super::known_files::KnownFiles;
use super::spool::Spool;
use super::sqlite::{file_error, leave_as_is};
use crate::metrics::StoreMetrics;

use commit_status::CommitStatus;
use deferred::DeferredWork;
pub(super) use deferred::Withdrawn;
pub(super) use write::Write;
use write::{Answer, Failed};

/// Most writes that share one commit. This bounds how long the first of them waits for the last.
const MOST_IN_A_COMMIT: usize = 512;

/// The parts of a store that its writer needs.
pub(super) struct WriterParts {
    pub(super) connection: Connection,
    pub(super) spool: Spool,
    pub(super) files: KnownFiles,
    pub(super) health: Health,
    pub(super) commit_counter: CommitCounter,
    pub(super) metrics: StoreMetrics,
}

/// The writer of the database: nothing else writes to the tables of tasks.
pub(super) struct Writer {
    parts: WriterParts,
    deferred: DeferredWork,
    /// The result of the last probe.
    is_disk_low: bool,
    /// Most writes in the next commit. After a commit that fails, the next one takes a single write: many writes
    /// together need more of the write-ahead log than a full disk has left, single writes do not. This applies to every
    /// error, since SQLite's error for a full disk depends on where it runs out of room.
    most: usize,
}

impl Writer {
    /// Makes the writer of a database.
    pub(super) fn new(parts: WriterParts) -> Self {
        let deferred = DeferredWork::new(parts.spool.clone());
        Self { parts, deferred, is_disk_low: false, most: MOST_IN_A_COMMIT }
    }

    /// Starts the writer's thread. It stops when its queue closes, and then releases the data directory.
    pub(super) fn start(
        mut self,
        data_dir: &Path,
        mut queue: mpsc::Receiver<Write>,
    ) -> Result<(), StoreError> {
        let run = move || {
            let mut writes = Vec::new();
            while queue.blocking_recv_many(&mut writes, self.most) > 0 {
                self.commit(&mut writes);
            }
            self.stop();
        };
        let thread = std::thread::Builder::new().name("store-writer".to_owned());
        thread.spawn(run).map(drop).map_err(file_error(data_dir))
    }

    /// Commits writes together, and answers them. Deferred work is done at once in another commit. Otherwise a client
    /// that submits again with its `Idempotency-Key` could find a task that is about to be withdrawn.
    fn commit(&mut self, writes: &mut Vec<Write>) {
        while self.commit_once(writes) && !self.deferred.is_empty() {}
    }

    /// Makes one commit of writes and empties the list. Returns true if the transaction is committed.
    fn commit_once(&mut self, writes: &mut Vec<Write>) -> bool {
        let (began, count) = (Instant::now(), writes.len());
        self.parts.health.begin();
        if writes.iter().any(|write| matches!(write, Write::Probe)) {
            self.is_disk_low = self.parts.spool.is_disk_low();
        }
        let (answers, status) = self.transact(writes);
        // This comes before the answers: a caller that has its answer finds the commit counted.
        self.parts.metrics.committed(count, began.elapsed(), status.trouble().is_none());
        let low = self.is_disk_low.then(|| Trouble::Full("the disk is full".to_owned()));
        self.parts.health.end(status.trouble().cloned().or(low));
        self.most = match &status {
            CommitStatus::Committed if count == self.most => (self.most * 2).min(MOST_IN_A_COMMIT),
            CommitStatus::Committed => self.most,
            CommitStatus::Unknown(_) | CommitStatus::Undone(_) => 1,
        };
        for answer in answers {
            answer(&status, &mut self.deferred);
        }
        matches!(status, CommitStatus::Committed)
    }

    /// Runs writes in one transaction. A write that fails before it has changed anything fails alone. A write that
    /// fails halfway undoes the whole transaction. Returns the answers, and the status with which to call them.
    fn transact(&mut self, writes: &mut Vec<Write>) -> (Vec<Answer>, CommitStatus) {
        let mut answers = Vec::with_capacity(writes.len());
        let mut writes = writes.drain(..);
        let status = self.try_transact(&mut writes, &mut answers).err().unwrap_or(CommitStatus::Committed);
        answers.extend(writes.map(Write::skip));
        (answers, status)
    }

    fn try_transact(
        &mut self,
        writes: &mut impl Iterator<Item = Write>,
        answers: &mut Vec<Answer>,
    ) -> Result<(), CommitStatus> {
        let WriterParts { connection, files, health, commit_counter, .. } = &mut self.parts;
        let undone = |err: &StoreError| CommitStatus::Undone(health.trouble_of(err));
        if let Some(damage) = health.damage() {
            return Err(CommitStatus::Undone(damage));
        }
        files.check_before_write().map_err(CommitStatus::Undone)?;
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|err| undone(&err.into()))?;
        self.deferred.write(&transaction, self.most).map_err(|err| undone(&err))?;
        for write in writes {
            let (answer, failed) = write.run(&transaction, health);
            answers.push(answer);
            match failed {
                // The callers of the other writes get an error, too: half of a write must not be committed.
                Some(Failed::Halfway(trouble) | Failed::Alone(trouble @ Trouble::Damaged(_))) => {
                    return Err(CommitStatus::Undone(trouble));
                }
                // A full disk makes SQLite undo the whole transaction. A statement after that would be a transaction of
                // its own, and would be committed although its caller gets an error.
                Some(Failed::Alone(trouble)) if transaction.is_autocommit() => {
                    return Err(CommitStatus::Undone(trouble));
                }
                None if transaction.is_autocommit() => {
                    let trouble = Trouble::Unusable("the database has undone a transaction".to_owned());
                    return Err(CommitStatus::Undone(trouble));
                }
                Some(Failed::Alone(_)) | None => {}
            }
        }
        let number = commit_counter::count(&transaction).map_err(|err| undone(&err.into()))?;
        if number != commit_counter.last() + 1 {
            let lost = format!("it has {} of {} commits", number - 1, commit_counter.last());
            return Err(undone(&StoreError::Corrupt(lost)));
        }
        transaction.commit().map_err(|err| CommitStatus::of_failed_commit(health.trouble_of(&err.into())))?;
        commit_counter.advance(number);
        files.holds_commit().map_err(CommitStatus::Unknown)?;
        // A reader may have found damage in between.
        health.damage().map_or(Ok(()), |damage| Err(CommitStatus::Unknown(damage)))?;
        commit_counter.write();
        self.deferred.committed();
        Ok(())
    }

    /// Does the deferred work, and closes the database.
    fn stop(mut self) {
        if !self.deferred.is_empty() {
            self.commit(&mut Vec::new());
        }
        if self.parts.health.damage().is_some() {
            leave_as_is(&self.parts.connection);
        }
        // `files` holds the locks on the directory, so it is closed after everything that uses the directory.
        drop(self.parts.connection);
    }
}
