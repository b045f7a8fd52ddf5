//! The methods of [`Store`] that read: tasks, their streams and audio, lists.

use std::sync::Arc;
use std::time::Duration;

use super::{Download, Journalled, Replay, Store, StoreError, Unfinished, Weighed};
use crate::audio::{AudioBytes, BlobId};
use crate::secret::KeyHash;
use crate::task::{Idempotency, IdempotencyKey, ListQuery, Page, Request, Snapshot, TaskId, Timestamp};

impl Store {
    /// Returns the bytes of a piece of audio. If there are many, they stay where they are.
    ///
    /// # Errors
    /// When the bytes are missing or were changed.
    pub async fn audio(&self, id: BlobId) -> Result<AudioBytes, StoreError> {
        let read = self.blobs.read(id).await;
        // Damaged audio is not logged here, because the task logs it.
        read.inspect_err(|err| {
            if !matches!(err, StoreError::Damaged(_)) {
                err.log()
            }
        })
    }

    /// Makes room in the spool for audio that is about to be downloaded.
    ///
    /// # Errors
    /// When the spool cannot be written to.
    pub async fn download(&self) -> Result<Download, StoreError> {
        self.blobs.download().await
    }

    /// Returns the chunks in the journal of a task.
    ///
    /// # Errors
    /// When the chunks cannot be read.
    pub async fn chunks(&self, id: TaskId) -> Result<Journalled, StoreError> {
        self.journals.read(id).await
    }

    /// Returns the kept stream of an ended task; `None` if its chunks are no longer kept or are damaged.
    ///
    /// # Errors
    /// When the database or the journal fails.
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
        // The permit is held to the end, whether or not a caller waits.
        let replay = actix_rt::spawn(async move {
            let chunks = journals.read_whole(id, stored.chunks).await?;
            Ok(chunks.map(|chunks| Replay { chunks, state: stored.state, left, _permit: turn }))
        });
        replay.await.map_err(|_| StoreError::Stopped)?
    }

    /// Finds a task of this owner, unless its retention has ended. The task is read only if its result has at most
    /// `most_bytes`, together with its segments if they are requested.
    ///
    /// # Errors
    /// When the database fails.
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

    /// Finds the request of a task of this owner.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn request(&self, id: TaskId, owner: KeyHash) -> Result<Option<Request>, StoreError> {
        self.tasks.request(id, owner).await.inspect_err(StoreError::log)
    }

    /// Lists tasks of this owner. Returns `None` if the task to continue after does not exist. The tasks are read only
    /// if their results have at most `most_bytes` together. If `most_bytes` is at least
    /// [`MOST_LISTED_BYTES`](super::MOST_LISTED_BYTES), a page with more bytes ends earlier instead, but has at least
    /// one task.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(
        &self,
        owner: KeyHash,
        query: ListQuery,
        most_bytes: usize,
    ) -> Result<Option<Weighed<Page>>, StoreError> {
        let ended_after = Timestamp::now().before(self.retention.tasks);
        self.tasks.list(owner, query, ended_after, most_bytes).await.inspect_err(StoreError::log)
    }

    /// Finds the task that a submit with this `Idempotency-Key` started, and the fingerprint of that submit.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn submitted(
        &self,
        owner: KeyHash,
        key: IdempotencyKey,
    ) -> Result<Option<(TaskId, Idempotency)>, StoreError> {
        let created_after = Timestamp::now().before(self.retention.idempotency);
        self.tasks.submitted(owner, key, created_after).await.inspect_err(StoreError::log)
    }

    /// Lists some tasks that earlier processes did not end and that come after the given one, the oldest first. The
    /// list is empty at the end.
    ///
    /// # Errors
    /// When the database fails.
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
