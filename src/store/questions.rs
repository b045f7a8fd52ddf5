//! What is read through a [`Store`]: tasks, their streams and audio, lists.

use std::sync::Arc;
use std::time::Duration;

use super::{Download, Journalled, Replay, Store, StoreError, Unfinished, Weighed};
use crate::audio::{AudioBytes, BlobId};
use crate::secret::KeyHash;
use crate::task::{Idempotency, IdempotencyKey, ListQuery, Page, Request, Snapshot, TaskId, Timestamp};

impl Store {
    /// Returns the bytes of a piece of audio, which stay where they are if there are many.
    ///
    /// # Errors
    /// When they are not there as they were written.
    pub async fn audio(&self, id: BlobId) -> Result<AudioBytes, StoreError> {
        let read = self.blobs.read(id).await;
        // A task tells by itself of audio that is damaged.
        read.inspect_err(|err| {
            if !matches!(err, StoreError::Damaged(_)) {
                err.log()
            }
        })
    }

    /// Room in the spool for audio that is about to be downloaded.
    ///
    /// # Errors
    /// When the spool cannot be written to.
    pub async fn download(&self) -> Result<Download, StoreError> {
        self.blobs.download().await
    }

    /// The chunks of a task that were journalled.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn chunks(&self, id: TaskId) -> Result<Journalled, StoreError> {
        self.journals.read(id).await
    }

    /// What is kept of the stream of an ended task, as long as its chunks are whole.
    ///
    /// # Errors
    /// When the database or the journal refuses.
    pub async fn replay(&self, id: TaskId, owner: KeyHash) -> Result<Option<Replay>, StoreError> {
        self.read_whole(id, owner).await.inspect_err(StoreError::log)
    }

    async fn read_whole(&self, id: TaskId, owner: KeyHash) -> Result<Option<Replay>, StoreError> {
        let turn = Arc::clone(&self.replays).acquire_owned().await.map_err(|_| StoreError::Stopped)?;
        let Some(stored) = self.tasks.stream(id.clone(), owner).await? else {
            return Ok(None);
        };
        let age = Duration::from_millis(Timestamp::now().since(stored.ended));
        let Some(left) = self.retention.streams().checked_sub(age).filter(|left| !left.is_zero()) else {
            return Ok(None);
        };
        let journals = Arc::clone(&self.journals);
        // The turn is held to the end, whether or not a caller waits for it.
        let replay = actix_rt::spawn(async move {
            let chunks = journals.read_whole(id, stored.chunks).await?;
            Ok(chunks.map(|chunks| Replay { chunks, state: stored.state, left, _turn: turn }))
        });
        replay.await.map_err(|_| StoreError::Stopped)?
    }

    /// A task of this owner, unless it ended longer ago than tasks are kept. It is read if its result has at most
    /// `most_bytes`, and its segments, where they are asked for, with it.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn find(
        &self,
        id: TaskId,
        owner: KeyHash,
        most_bytes: usize,
        with_segments: bool,
    ) -> Result<Option<Weighed<Snapshot>>, StoreError> {
        let ended_after = Timestamp::now().before(self.retention.tasks);
        let found = self.tasks.find(id, owner, ended_after, most_bytes, with_segments).await;
        found.inspect_err(StoreError::log)
    }

    /// The request of a task of this owner.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn request(&self, id: TaskId, owner: KeyHash) -> Result<Option<Request>, StoreError> {
        self.tasks.request(id, owner).await.inspect_err(StoreError::log)
    }

    /// Tasks of this owner; `None` where there is no task `after` which to go on. They are read if their results have
    /// at most `most_bytes` together. From [`MOST_LISTED_BYTES`](super::MOST_LISTED_BYTES) on a page that would have more ends earlier, but not
    /// before its first task.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn list(
        &self,
        owner: KeyHash,
        query: ListQuery,
        most_bytes: usize,
    ) -> Result<Option<Weighed<Page>>, StoreError> {
        let ended_after = Timestamp::now().before(self.retention.tasks);
        self.tasks.list(owner, query, ended_after, most_bytes).await.inspect_err(StoreError::log)
    }

    /// The task that a submit with this `Idempotency-Key` started, and what it was a submit of.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn submitted(
        &self,
        owner: KeyHash,
        key: IdempotencyKey,
    ) -> Result<Option<(TaskId, Idempotency)>, StoreError> {
        let created_after = Timestamp::now().before(self.retention.idempotency);
        self.tasks.submitted(owner, key, created_after).await.inspect_err(StoreError::log)
    }

    /// Tasks that earlier processes did not end, oldest first, those after the given one; empty at the end.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn unfinished(
        &self,
        after: Option<(Timestamp, TaskId)>,
    ) -> Result<Vec<Unfinished>, StoreError> {
        let mut left = self.tasks.unfinished(after).await?;
        let begun = self.journals.begun(left.iter().map(|left| left.task.id.clone()).collect()).await?;
        for Unfinished { task, facts, .. } in &mut left {
            facts.published |= begun.contains(&task.id);
        }
        Ok(left)
    }
}
