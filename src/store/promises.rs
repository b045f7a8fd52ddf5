//! What a store promises, whatever keeps it: the seam between [`Store`](super::Store) and its backends.
//!
//! `store_suite!` runs every promise against every backend.

use std::fmt;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::records::{Acceptance, Ending, Forgotten, Mark, NewRecord, StoredStream, Unfinished, Weighed};
use super::{Retained, StoreError};
use crate::audio::{AudioBytes, BlobId};
use crate::keys::KeyRecord;
use crate::metrics::DiskLevels;
use crate::secret::KeyHash;
use crate::task::Timestamp;
use crate::task::id::TaskId;
use crate::task::idempotency::{Idempotency, IdempotencyKey};
use crate::task::list::{ListQuery, Page};
use crate::task::request::Request;
use crate::task::snapshot::Snapshot;
use crate::task::timeline::Timeline;

/// What comes of a question to a store.
pub type Promise<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Keeps tasks, the `Idempotency-Key`s that started them, and API keys.
pub trait TaskStore: fmt::Debug + Send + Sync {
    /// Records a task with the audio that its record names, unless a younger record than `keys_before` has its
    /// `Idempotency-Key`. When this returns [`Acceptance::Durable`], all of it is durable; else nothing is left of it.
    fn accept(
        &self,
        record: NewRecord,
        blobs: Vec<(BlobId, Bytes)>,
        keys_before: Timestamp,
    ) -> Promise<'_, Acceptance>;

    /// Counts a run of a task; when this returns, that is durable.
    fn run(&self, id: TaskId, timeline: Timeline) -> Promise<'_, ()>;

    /// Notes something about a task that has not ended, with one of the next commits. A help, not a promise.
    fn mark(&self, id: TaskId, mark: Mark);

    /// Records how a task ended, and takes away its references to audio; when this returns, that is durable. A task that
    /// has ended already keeps its first end, which is returned.
    fn end(&self, id: TaskId, ending: Ending, at: Timestamp) -> Promise<'_, Option<Snapshot>>;

    /// Deletes some of what is older than it is kept.
    fn forget(&self, kept: Retained) -> Promise<'_, Forgotten>;

    /// Finds a task of this owner, unless it ended before `ended_after`. It is read if its result has at most
    /// `most_bytes`, together with its segments where they are asked for.
    fn find(
        &self,
        id: TaskId,
        owner: KeyHash,
        ended_after: Timestamp,
        most_bytes: usize,
        with_segments: bool,
    ) -> Promise<'_, Option<Weighed<Snapshot>>>;

    /// Finds the request of a task of this owner.
    fn request(&self, id: TaskId, owner: KeyHash) -> Promise<'_, Option<Request>>;

    /// Lists tasks of this owner, the newest first; `None` where there is no task after which to go on. They are read if
    /// their results have at most `most_bytes` together. From [`MOST_LISTED_BYTES`](super::MOST_LISTED_BYTES) on a page
    /// that would have more ends earlier, but not before its first task.
    fn list(
        &self,
        owner: KeyHash,
        query: ListQuery,
        ended_after: Timestamp,
        most_bytes: usize,
    ) -> Promise<'_, Option<Weighed<Page>>>;

    /// Finds what is recorded of the stream of an ended task of this owner, as long as its chunks are kept.
    fn stream(&self, id: TaskId, owner: KeyHash) -> Promise<'_, Option<StoredStream>>;

    /// Finds the task that a submit with this `Idempotency-Key` started, and what it was a submit of.
    fn submitted(
        &self,
        owner: KeyHash,
        key: IdempotencyKey,
        created_after: Timestamp,
    ) -> Promise<'_, Option<(TaskId, Idempotency)>>;

    /// Lists some tasks that have not ended, the oldest first, those after the given one; empty at the end.
    fn unfinished(&self, after: Option<(Timestamp, TaskId)>) -> Promise<'_, Vec<Unfinished>>;

    /// Lists the API keys, and tells the version of their table.
    fn keys(&self) -> Promise<'_, (i64, Vec<KeyRecord>)>;

    /// Tells the version of the keys' table: it changes with every change of a key, also by another process.
    fn keys_version(&self) -> Promise<'_, i64>;

    /// Tells why the store takes no tasks; `None` while it does. Waits for nothing.
    fn trouble(&self) -> Option<StoreError>;

    /// Looks at the store's health from time to time, until the store has stopped.
    fn watch(&self) -> BoxFuture<'_, ()>;

    /// Tells how many writes wait.
    fn writes_waiting(&self) -> usize;
}

/// Keeps the bytes of audio.
pub trait BlobStore: fmt::Debug + Send + Sync {
    /// Makes a name that no other blob has had.
    fn blob_id(&self) -> BlobId;

    /// Returns the bytes of a blob, which stay where they are if there are many.
    fn read(&self, id: BlobId) -> Promise<'_, AudioBytes>;

    /// Makes room for audio that is about to be downloaded.
    fn download(&self) -> Promise<'_, Download>;

    /// Tells how many bytes of audio there are, and how many there may be.
    fn used(&self) -> (u64, u64);

    /// Tells of the disk, where there is one and the system tells of it. Blocks.
    fn disk(&self) -> Option<DiskLevels>;
}

/// A download on its way into a store; nothing is left of it when its last reader is gone.
pub type Download = Box<dyn Receive>;

/// Takes in a download.
pub trait Receive: fmt::Debug + Send {
    /// Adds bytes at the end. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Full`] beyond the bound of the store or when its disk is full.
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError>;

    /// Returns what was written. It is kept until its last reader is gone.
    fn finish(self: Box<Self>) -> AudioBytes;
}
