//! What a transaction leaves to the next one: tasks to be withdrawn, and audio that may have no row any more.

use rusqlite::Connection;

use super::rows;
use crate::secret::KeyHash;
use crate::store::StoreError;
use crate::store::spool::{RecordedBlob, Spool};
use crate::task::{IdempotencyKey, TaskId};

/// A task that may be recorded, and whose caller does not know that.
#[derive(Debug)]
pub(in crate::store) struct Withdrawn {
    pub(super) id: TaskId,
    pub(super) key: Option<(KeyHash, IdempotencyKey)>,
    pub(super) blobs: Vec<RecordedBlob>,
}

/// What the next transaction settles. Its files stay until that stands, also where there is no next transaction: the next
/// start of the store removes those without a row.
#[derive(Debug)]
pub(super) struct Unsettled {
    spool: Spool,
    withdrawn: Vec<Withdrawn>,
    /// How many of those the present transaction settles.
    settling: usize,
    freed: Vec<RecordedBlob>,
}

impl Unsettled {
    /// Nothing, of the store with this spool.
    pub(super) fn new(spool: Spool) -> Self {
        Self { spool, withdrawn: Vec::new(), settling: 0, freed: Vec::new() }
    }

    /// Returns true if there is nothing to settle.
    pub(super) fn is_empty(&self) -> bool {
        self.withdrawn.is_empty() && self.freed.is_empty()
    }

    /// Deletes a task with the next transaction, as if it had never been.
    pub(super) fn withdraw(&mut self, task: Withdrawn) {
        tracing::warn!(task_id = %task.id, "a task is withdrawn that may be recorded although its caller was not told so");
        self.withdrawn.push(task);
    }

    /// Frees blobs whose rows are gone for good.
    pub(super) fn free(&self, blobs: &[RecordedBlob]) {
        blobs.iter().for_each(|blob| self.spool.free(blob));
    }

    /// Frees blobs after the next transaction if they have no rows then.
    pub(super) fn free_later(&mut self, blobs: Vec<RecordedBlob>) {
        self.freed.extend(blobs);
    }

    /// Writes what there is to settle: at most so many tasks.
    pub(super) fn settle(&mut self, connection: &Connection, most: usize) -> Result<(), StoreError> {
        self.settling = self.withdrawn.len().min(most);
        for Withdrawn { id, key, blobs } in self.withdrawn.iter().take(most) {
            rows::withdraw(connection, id, key.as_ref(), blobs)?;
        }
        // A blob that has a row was freed by a transaction that does not stand.
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

    /// Frees what is settled, now that this stands.
    pub(super) fn settled(&mut self) {
        let withdrawn = self.withdrawn.drain(..self.settling).flat_map(|task| task.blobs);
        withdrawn.chain(self.freed.drain(..)).for_each(|blob| self.spool.free(&blob));
    }
}
