//! What is read through a [`Store`]: tasks, their streams and audio, lists, keys.

use std::sync::Arc;
use std::time::Duration;

use super::reader::Read;
use super::{
    ChunkJournal, Download, Journal, Journalled, Replay, Store, StoreError, Unfinished, Weighed, blocking,
};
use crate::audio::blob_id::BlobId;
use crate::audio::bytes::AudioBytes;
use crate::keys::KeyRecord;
use crate::secret::KeyHash;
use crate::task::Timestamp;
use crate::task::answer::Answer;
use crate::task::id::TaskId;
use crate::task::idempotency::{Idempotency, IdempotencyKey};
use crate::task::list::{ListQuery, Page};
use crate::task::request::Request;
use crate::task::snapshot::Snapshot;

impl Store {
    /// Returns the bytes of a piece of audio, which stay where they are if there are many.
    ///
    /// # Errors
    /// When they are not there as they were written.
    pub async fn audio(&self, id: BlobId) -> Result<AudioBytes, StoreError> {
        let spool = self.spool.clone();
        let stored = self.read(|reply| Read::Blob { id, reply }).await?;
        let stored = stored.ok_or_else(|| StoreError::Damaged(format!("the audio {id} has no record")))?;
        if stored.data.is_some() {
            return spool.read(id, stored);
        }
        let turn = spool.turn(stored.bytes).await;
        blocking(move || {
            let _turn = turn;
            spool.read(id, stored)
        })
        .await
    }

    /// Room in the spool for audio that is about to be downloaded.
    ///
    /// # Errors
    /// When the spool cannot be written to.
    pub async fn download(&self) -> Result<Download, StoreError> {
        let spool = self.spool.clone();
        blocking(move || spool.download()).await
    }

    /// The chunks of a task that were journalled.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn chunks(&self, id: TaskId) -> Result<Journalled, StoreError> {
        let journals = self.journals.clone();
        blocking(move || journals.read(&id)).await
    }

    /// The stream of an ended task, as long as its chunks are kept and whole.
    ///
    /// # Errors
    /// When the database or the journal refuses.
    pub async fn replay(&self, id: TaskId, owner: KeyHash) -> Result<Option<Replay>, StoreError> {
        let turn = Arc::clone(&self.replays).acquire_owned().await.map_err(|_| StoreError::Stopped)?;
        let Some(stored) = self.read(|reply| Read::Stream { id: id.clone(), owner, reply }).await? else {
            return Ok(None);
        };
        let age = Duration::from_millis(Timestamp::now().since(stored.ended));
        let Some(left) = self.retention.streams().checked_sub(age).filter(|left| !left.is_zero()) else {
            return Ok(None);
        };
        let journals = self.journals.clone();
        blocking(move || {
            let kept = journals.read_whole(&id, stored.chunks)?;
            let stream = kept.and_then(|kept| Answer::replay(kept, &stored.state));
            // Held to the end, also when no caller waits any more.
            let _turn = turn;
            Ok(stream.map(|stream| Replay { stream, left }))
        })
        .await
    }

    /// A task of this owner, unless it ended longer ago than tasks are kept. It is read if its result has at most
    /// `most_bytes`.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn find(
        &self,
        id: TaskId,
        owner: KeyHash,
        most_bytes: usize,
    ) -> Result<Option<Weighed<Snapshot>>, StoreError> {
        let ended_after = Timestamp::now().before(self.retention.tasks);
        self.read(|reply| Read::Find { id, owner, ended_after, most_bytes, reply }).await
    }

    /// The request of a task of this owner.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn request(&self, id: TaskId, owner: KeyHash) -> Result<Option<Request>, StoreError> {
        self.read(|reply| Read::Request { id, owner, reply }).await
    }

    /// Tasks of this owner; `None` where there is no task `after` which to go on. They are read if their results have
    /// at most `most_bytes` together. From [`MOST_LISTED_BYTES`] on a page that would have more ends earlier, but not
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
        self.read(|reply| Read::List { owner, query, ended_after, most_bytes, reply }).await
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
        self.read(|reply| Read::Submitted { owner, key, created_after, reply }).await
    }

    /// Tasks that earlier processes did not end, oldest first, those after the given one; empty at the end.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn unfinished(
        &self,
        after: Option<(Timestamp, TaskId)>,
    ) -> Result<Vec<Unfinished>, StoreError> {
        self.read(|reply| Read::Unfinished { after, reply }).await
    }

    /// The API keys, and the version of their table.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn keys(&self) -> Result<(i64, Vec<KeyRecord>), StoreError> {
        self.read(|reply| Read::Keys { reply }).await
    }

    /// The version of the keys' table: it changes with every change of a key, also by another process.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn keys_version(&self) -> Result<i64, StoreError> {
        self.read(|reply| Read::KeysVersion { reply }).await
    }
}

impl ChunkJournal for Store {
    fn journal(&self, id: &TaskId) -> Box<dyn Journal> {
        Box::new(self.journals.of(id))
    }
}
