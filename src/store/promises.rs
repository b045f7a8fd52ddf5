//! The promises of a store, for every backend: the interface between [`Store`](super::Store) and its backends.
//!
//! A backend implements four traits: [`TaskStore`], [`BlobStore`], [`KeyStore`] and [`ChunkJournals`]. `Store::open`
//! and [`find_keys`](super::find_keys) choose the backend. `store_suite!` checks every promise against every backend; a
//! new backend adds one line there.
//!
//! # What durable means
//!
//! Durable data outlives a kill of the process and a power cut. [`TaskStore::accept`], [`TaskStore::run`],
//! [`TaskStore::progress`], [`TaskStore::end`] and changes of a [`KeyStore`] return `Ok` only when everything that they
//! record is durable: for example a task together with its audio and its `Idempotency-Key`, or an end together with the
//! removed references to audio. A [`ChunkJournal`] promises less: acknowledged entries outlive a kill of the process. A
//! power cut may lose the entries of the last moments, but never their order. [`TaskStore::mark`] and
//! [`TaskStore::forget`] may be lost: either they are repeated, or their loss does no harm.
//!
//! # Order
//!
//! Every call finds what was recorded with `Ok` before the call began. [`TaskStore::mark`] and the writes after it take
//! effect in the order of their calls. Nothing changes a task that has ended, except that it is deleted.
//!
//! # Callers that stop waiting
//!
//! A caller may drop a [`Promise`] before it is done. The work then happens as a whole or not at all. A task is not
//! kept if its caller dropped [`TaskStore::accept`]: no client has the task's id, so no client would ever request its
//! result. The same is true if `accept` returns an error. If the task was recorded anyway, the next commit withdraws
//! it. Until then it may be found; and if the process is killed or the backend stops in between, the task stays and
//! runs at the next start.
//!
//! # Errors
//!
//! | error | a backend returns it when |
//! |---|---|
//! | [`Full`](StoreError::Full) | there is no room, by the configuration or on the disk; the caller may retry |
//! | [`Unavailable`](StoreError::Unavailable) | the backend does not work at the moment, or a commit failed; the caller
//! may retry |
//! | [`Damaged`](StoreError::Damaged) | one record or one piece of audio is missing or was changed; all others can be
//! read |
//! | [`Corrupt`](StoreError::Corrupt) | the backend as a whole is damaged: it reads and writes nothing more |
//! | [`Stopped`](StoreError::Stopped) | the backend has stopped |
//! | [`Backend`](StoreError::Backend) | the backend refuses for any other reason |
//!
//! Any promise may return any of these errors; an "Errors" section names those that its caller relies on. While the
//! backend does not work, a read waits a few seconds at most and then fails with `Unavailable`. A backend returns its
//! errors and does not log them, except where no result carries them: its health, marks, and journals that refuse
//! entries.

use std::collections::HashSet;
use std::fmt;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::records::{
    Acceptance, Ending, Forgotten, Journalled, NewRecord, StoredStream, TaskMark, Unfinished, Weighed,
};
use super::{Retained, StoreError};
use crate::audio::{AudioBytes, BlobId};
use crate::keys::KeyRecord;
use crate::metrics::DiskLevels;
use crate::secret::KeyHash;
use crate::task::{
    Chunks, Entry, Idempotency, IdempotencyKey, KeptEntries, ListQuery, Page, Request, Snapshot, TaskId,
    Timeline, Timestamp,
};

/// The future result of a call to a store.
pub type Promise<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Keeps tasks, and the `Idempotency-Key`s that started them.
pub trait TaskStore: fmt::Debug + Send + Sync {
    /// Records a task with the audio that its record names. If a record that is younger than `keys_before` has the same
    /// `Idempotency-Key`, the task is not recorded. When this returns [`Acceptance::Durable`], everything is durable.
    /// Otherwise nothing of the task is kept, except in the cases of the section on callers that stop waiting.
    ///
    /// # Errors
    /// [`StoreError::Full`] when there is no room for the audio. A task whose id exists already is refused, too; only
    /// this write fails.
    fn accept(
        &self,
        record: NewRecord,
        blobs: Vec<(BlobId, Bytes)>,
        keys_before: Timestamp,
    ) -> Promise<'_, Acceptance>;

    /// Counts a run of a task, whose state is "processing" from then on. When this returns, the run is durable. Does
    /// nothing to a task that has ended.
    fn run(&self, id: TaskId, timeline: Timeline) -> Promise<'_, ()>;

    /// Records the progress of a task in percent. When this returns, the progress is durable. Does nothing to a task
    /// that has ended.
    fn progress(&self, id: TaskId, percent: u8) -> Promise<'_, ()>;

    /// Records a mark of a task that has not ended, with one of the next commits. Does not wait: if too many writes
    /// wait, the mark is dropped. Does nothing to a task that has ended.
    fn mark(&self, id: TaskId, mark: TaskMark);

    /// Records how a task ended, and removes its references to audio. When this returns, the end is durable. A task
    /// that has already ended keeps its first end, and this returns that end. Rows about usage and callbacks, once
    /// there are any, must be written in the same transaction.
    fn end(&self, id: TaskId, ending: Ending, at: Timestamp) -> Promise<'_, Option<Snapshot>>;

    /// Deletes some of the data whose retention has ended: a bounded part, so that other writes do not wait long.
    /// [`Forgotten::more`] tells whether to call this again. The caller removes the journals of the streams that this
    /// returns. Journals that no task refers to are removed when the backend is opened.
    fn forget(&self, kept: Retained) -> Promise<'_, Forgotten>;

    /// Finds a task of this owner, unless it ended before `ended_after`. The task is read only if its result has at
    /// most `most_bytes`, together with its segments if they are requested.
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

    /// Lists tasks of this owner, the newest first. Returns `None` if the task to continue after does not exist. The
    /// tasks are read only if their results have at most `most_bytes` together. If `most_bytes` is at least
    /// [`MOST_LISTED_BYTES`](super::MOST_LISTED_BYTES), a page with more bytes ends earlier instead, but has at least
    /// one task.
    fn list(
        &self,
        owner: KeyHash,
        query: ListQuery,
        ended_after: Timestamp,
        most_bytes: usize,
    ) -> Promise<'_, Option<Weighed<Page>>>;

    /// Finds the record of the stream of an ended task of this owner, while its chunks are kept.
    fn stream(&self, id: TaskId, owner: KeyHash) -> Promise<'_, Option<StoredStream>>;

    /// Finds the task that a submit with this `Idempotency-Key` started, and the fingerprint of that submit.
    fn submitted(
        &self,
        owner: KeyHash,
        key: IdempotencyKey,
        created_after: Timestamp,
    ) -> Promise<'_, Option<(TaskId, Idempotency)>>;

    /// Lists some tasks that have not ended and come after the given one, the oldest first. The list is empty at the
    /// end.
    fn unfinished(&self, after: Option<(Timestamp, TaskId)>) -> Promise<'_, Vec<Unfinished>>;

    /// Returns the reason why the store takes no tasks, or `None` while it takes tasks. Does not wait.
    fn trouble(&self) -> Option<StoreError>;

    /// Checks the store's health from time to time, until the store has stopped.
    fn watch(&self) -> BoxFuture<'_, ()>;

    /// Returns how many writes wait.
    fn writes_waiting(&self) -> usize;
}

/// Keeps the bytes of audio.
pub trait BlobStore: fmt::Debug + Send + Sync {
    /// Makes an id that no other blob has had, also in earlier processes.
    fn blob_id(&self) -> BlobId;

    /// Returns the bytes of a blob, verified by a checksum. The bytes of a large blob stay where they are. A blob
    /// exists as long as a task that has not ended refers to it.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when there is no such blob or its bytes were changed.
    fn read(&self, id: BlobId) -> Promise<'_, AudioBytes>;

    /// Begins the storage of audio that is about to be downloaded. A download is not durable: a task that runs again
    /// downloads its audio again.
    fn download(&self) -> Promise<'_, Download>;

    /// Returns how many bytes of audio there are, and how many there may be.
    fn used(&self) -> (u64, u64);

    /// Returns the levels of the disk, if there is one and the system reports them. Blocks.
    fn disk(&self) -> Option<DiskLevels>;
}

/// A download in progress. Its bytes are removed when its last reader is dropped.
pub type Download = Box<dyn Receive>;

/// Receives a download.
pub trait Receive: fmt::Debug + Send {
    /// Adds bytes at the end. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Full`] when the bound of the store is passed or its disk is full.
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError>;

    /// Returns the written bytes. They are kept until their last reader is dropped.
    fn finish(self: Box<Self>) -> AudioBytes;
}

/// Keeps API keys. Other processes change them while a server runs, for example the command line.
pub trait KeyStore: fmt::Debug + Send + Sync {
    /// Lists the keys, the oldest first, with the version of the list.
    fn list(&self) -> Promise<'_, (i64, Vec<KeyRecord>)>;

    /// Returns the version of the list. It changes with every change of a key, also by another process, and with
    /// nothing else.
    fn version(&self) -> Promise<'_, i64>;

    /// Adds a key. When this returns, the key is durable. Returns false if the name is taken.
    fn create(&self, key: KeyRecord) -> Promise<'_, bool>;

    /// Removes a key. When this returns, the removal is durable. Returns false if no key has this name.
    fn revoke(&self, name: String) -> Promise<'_, bool>;
}

/// Keeps the chunks of tasks with a stream, from before they are published until their retention ends.
///
/// A task has one journal. The journal holds everything that a subscriber has seen, so a task whose journal has
/// [begun](Self::begun) does not run again after a kill.
pub trait ChunkJournals: fmt::Debug + Send + Sync {
    /// Returns the writing end of a task's journal. This makes no file yet. A journal has one writer. If an earlier
    /// writer has begun the journal, a new writer refuses all entries, since entries of the earlier writer may not be
    /// written yet.
    fn journal(&self, id: &TaskId) -> Box<dyn ChunkJournal>;

    /// Returns the tasks whose journals have entries. A journal that cannot be examined counts as empty.
    fn begun(&self, ids: Vec<TaskId>) -> Promise<'_, HashSet<TaskId>>;

    /// Reads the entries of a task, up to the first damaged one. A task without a journal has none.
    fn read(&self, id: TaskId) -> Promise<'_, Journalled>;

    /// Returns the entries of a task; if there are many, they stay where they are. Returns `None` if they do not match
    /// `recorded`, the chunks of the task's record.
    fn read_whole(&self, id: TaskId, recorded: Chunks) -> Promise<'_, Option<KeptEntries>>;

    /// Removes the journals of these tasks; a task may have none.
    fn remove(&self, ids: Vec<TaskId>) -> Promise<'_, ()>;
}

/// The writing end of one task's journal, which the task's actor holds.
pub trait ChunkJournal: fmt::Debug + Send {
    /// Takes entries that will be published once they are kept. The caller gives the next entries after this batch is
    /// acknowledged. Does not block: if this takes longer than a copy, the result is [`Appended::Later`].
    fn append(&mut self, entries: &mut dyn Iterator<Item = &Entry>) -> Appended;

    /// Prepares for the first entries, which then take less time. A journal that is only prepared has not begun.
    fn make_ready(&mut self);

    /// Returns the written entries, for the task's record and for readers that come after the task has ended. `None` if
    /// the journal did not keep all entries that it was given.
    fn into_kept(self: Box<Self>) -> Option<KeptEntries>;
}

/// The result of appending entries to a journal: true if the journal has them. Once it has refused entries, it takes no
/// more: it always holds a beginning of the stream without a gap.
pub enum Appended {
    /// The result is known already.
    Now(bool),
    /// The result will be known in a moment.
    Later(BoxFuture<'static, bool>),
}

impl fmt::Debug for Appended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(is_kept) => write!(f, "Now({is_kept})"),
            Self::Later(_) => f.write_str("Later"),
        }
    }
}
