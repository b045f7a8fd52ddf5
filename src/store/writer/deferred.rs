//! The work that one transaction defers to the next one: tasks to withdraw, and audio that may have no row any more.

use rusqlite::Connection;

use super::rows;
use crate::secret::KeyHash;
use crate::store::StoreError;
use crate::store::spool::{RecordedBlob, Spool};
use crate::task::{IdempotencyKey, TaskId};

/// A task that may be recorded although its caller does not know that.
#[derive(Debug)]
pub(in crate::store) struct Withdrawn {
    pub(super) id: TaskId,
    pub(super) key: Option<(KeyHash, IdempotencyKey)>,
    pub(super) blobs: Vec<RecordedBlob>,
}

/// The work that the next transaction does. The files stay until that transaction is committed. If there is no next
/// transaction, the next start of the store removes those without a row.
#[derive(Debug)]
pub(super) struct DeferredWork {
    spool: Spool,
    withdrawn: Vec<Withdrawn>,
    /// The number of withdrawn tasks in the current transaction.
    in_transaction: usize,
    freed: Vec<RecordedBlob>,
}

impl DeferredWork {
    /// Makes an empty list for the store with this spool.
    pub(super) fn new(spool: Spool) -> Self {
        Self { spool, withdrawn: Vec::new(), in_transaction: 0, freed: Vec::new() }
    }

    /// Returns true if there is no deferred work.
    pub(super) fn is_empty(&self) -> bool {
        self.withdrawn.is_empty() && self.freed.is_empty()
    }

    /// Defers the deletion of a task, as if it had never been submitted, to the next transaction.
    pub(super) fn withdraw(&mut self, task: Withdrawn) {
        tracing::warn!(task_id = %task.id, "withdrawing a task that may be recorded although its caller does not know");
        self.withdrawn.push(task);
    }

    /// Frees blobs whose rows are permanently deleted.
    pub(super) fn free(&self, blobs: &[RecordedBlob]) {
        blobs.iter().for_each(|blob| self.spool.free(blob));
    }

    /// Frees blobs after the next transaction if they have no rows then.
    pub(super) fn free_later(&mut self, blobs: Vec<RecordedBlob>) {
        self.freed.extend(blobs);
    }

    /// Writes the deferred changes, for at most `most` tasks.
    pub(super) fn write(&mut self, connection: &Connection, most: usize) -> Result<(), StoreError> {
        self.in_transaction = self.withdrawn.len().min(most);
        for Withdrawn { id, key, blobs } in self.withdrawn.iter().take(most) {
            rows::withdraw(connection, id, key.as_ref(), blobs)?;
        }
        // If a blob still has a row, the transaction that freed it was not committed.
        let mut result = Ok(());
        self.freed.retain(|blob| match rows::has_blob(connection, blob.id) {
            Ok(has_row) => !has_row,
            Err(err) => {
                result = Err(err);
                true
            }
        });
        result
    }

    /// Frees the blobs of the deferred work, now that the transaction is committed.
    pub(super) fn committed(&mut self) {
        let withdrawn = self.withdrawn.drain(..self.in_transaction).flat_map(|task| task.blobs);
        withdrawn.chain(self.freed.drain(..)).for_each(|blob| self.spool.free(&blob));
    }
}
