//! The thread that writes. It turns all waiting writes into one transaction.

mod fate;
mod forget;
mod rows;
#[cfg(test)]
mod tests;
mod unsettled;
mod write;

use std::path::Path;
use std::time::Instant;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::mpsc;

use super::StoreError;
use super::health::{Health, Trouble};
use super::known_files::KnownFiles;
use super::spool::Spool;
use super::sqlite::{file_error, leave_as_is};
use super::tally::{self, Tally};
use crate::metrics::StoreMetrics;

use fate::Fate;
use unsettled::Unsettled;
pub(super) use unsettled::Withdrawn;
pub(super) use write::Write;
use write::{Answer, Failed};

/// Most writes that share one commit. This bounds how long the first of them waits for the last.
const MOST_IN_A_COMMIT: usize = 512;

/// The parts of a store that its writer needs.
pub(super) struct Parts {
    pub(super) connection: Connection,
    pub(super) spool: Spool,
    pub(super) files: KnownFiles,
    pub(super) health: Health,
    pub(super) tally: Tally,
    pub(super) metrics: StoreMetrics,
}

/// The writer of the database: nothing else writes to the tables of tasks.
pub(super) struct Writer {
    parts: Parts,
    unsettled: Unsettled,
    /// The result of the last probe.
    is_disk_low: bool,
    /// Most writes in the next commit. After a commit that fails, the next one takes a single write: many writes
    /// together need more of the write-ahead log than a full disk has left, single writes do not. This applies to every
    /// error, since SQLite's error for a full disk depends on where it runs out of room.
    most: usize,
}

impl Writer {
    /// Makes the writer of a database.
    pub(super) fn new(parts: Parts) -> Self {
        let unsettled = Unsettled::new(parts.spool.clone());
        Self { parts, unsettled, is_disk_low: false, most: MOST_IN_A_COMMIT }
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

    /// Commits writes together, and answers them. What this leaves to settle is settled at once: otherwise a client
    /// that submits again with its `Idempotency-Key` could find a task that is about to be withdrawn.
    fn commit(&mut self, writes: &mut Vec<Write>) {
        while self.commit_once(writes) && !self.unsettled.is_empty() {}
    }

    /// Makes one commit of writes and empties the list. Returns true if it is committed.
    fn commit_once(&mut self, writes: &mut Vec<Write>) -> bool {
        let (began, count) = (Instant::now(), writes.len());
        self.parts.health.begin();
        if writes.iter().any(|write| matches!(write, Write::Probe)) {
            self.is_disk_low = self.parts.spool.is_disk_low();
        }
        let (answers, fate) = self.transact(writes);
        // This comes before the answers: a caller that has its answer finds the commit counted.
        self.parts.metrics.committed(count, began.elapsed(), fate.trouble().is_none());
        let low = self.is_disk_low.then(|| Trouble::Full("the disk is full".to_owned()));
        self.parts.health.end(fate.trouble().cloned().or(low));
        self.most = match &fate {
            Fate::Committed if count == self.most => (self.most * 2).min(MOST_IN_A_COMMIT),
            Fate::Committed => self.most,
            Fate::Unknown(_) | Fate::Undone(_) => 1,
        };
        for answer in answers {
            answer(&fate, &mut self.unsettled);
        }
        matches!(fate, Fate::Committed)
    }

    /// Runs writes in one transaction. A write that fails before it has changed anything fails alone. A write that
    /// fails halfway undoes the whole transaction. Returns the answers, and the fate to call them with.
    fn transact(&mut self, writes: &mut Vec<Write>) -> (Vec<Answer>, Fate) {
        let mut answers = Vec::with_capacity(writes.len());
        let mut writes = writes.drain(..);
        let fate = self.try_transact(&mut writes, &mut answers).err().unwrap_or(Fate::Committed);
        answers.extend(writes.map(Write::skip));
        (answers, fate)
    }

    fn try_transact(
        &mut self,
        writes: &mut impl Iterator<Item = Write>,
        answers: &mut Vec<Answer>,
    ) -> Result<(), Fate> {
        let Parts { connection, files, health, tally, .. } = &mut self.parts;
        let undone = |err: &StoreError| Fate::Undone(health.trouble_of(err));
        if let Some(damage) = health.damage() {
            return Err(Fate::Undone(damage));
        }
        files.judge().map_err(Fate::Undone)?;
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|err| undone(&err.into()))?;
        self.unsettled.settle(&transaction, self.most).map_err(|err| undone(&err))?;
        for write in writes {
            let (answer, failed) = write.run(&transaction, health);
            answers.push(answer);
            match failed {
                // The callers of the other writes get an error, too: half of a write must not be committed.
                Some(Failed::Halfway(trouble) | Failed::Alone(trouble @ Trouble::Damaged(_))) => {
                    return Err(Fate::Undone(trouble));
                }
                // A full disk makes SQLite undo the whole transaction. A statement after that would be a transaction of
                // its own, and would be committed although its caller gets an error.
                Some(Failed::Alone(trouble)) if transaction.is_autocommit() => {
                    return Err(Fate::Undone(trouble));
                }
                None if transaction.is_autocommit() => {
                    let trouble = Trouble::Unusable("the database has undone a transaction".to_owned());
                    return Err(Fate::Undone(trouble));
                }
                Some(Failed::Alone(_)) | None => {}
            }
        }
        let number = tally::count(&transaction).map_err(|err| undone(&err.into()))?;
        if number != tally.last() + 1 {
            let lost = format!("it has {} of {} commits", number - 1, tally.last());
            return Err(undone(&StoreError::Corrupt(lost)));
        }
        transaction.commit().map_err(|err| Fate::of_failed_commit(health.trouble_of(&err.into())))?;
        tally.advance(number);
        files.holds_commit().map_err(Fate::Unknown)?;
        // A reader may have found damage in between.
        health.damage().map_or(Ok(()), |damage| Err(Fate::Unknown(damage)))?;
        tally.write();
        self.unsettled.settled();
        Ok(())
    }

    /// Settles what is left to settle, and closes the database.
    fn stop(mut self) {
        if !self.unsettled.is_empty() {
            self.commit(&mut Vec::new());
        }
        if self.parts.health.damage().is_some() {
            leave_as_is(&self.parts.connection);
        }
        // `files` holds the locks on the directory, so it is closed after everything that uses the directory.
        drop(self.parts.connection);
    }
}
