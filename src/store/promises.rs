//! What a store promises, whatever keeps it: the seam between [`Store`](super::Store) and its backends.
//!
//! A backend implements four traits: [`TaskStore`], [`BlobStore`], [`KeyStore`] and [`ChunkJournals`]. `Store::open` and
//! [`find_keys`](super::find_keys) choose it, and `store_suite!` runs every promise against every backend; a new backend
//! adds one line there.
//!
//! # What durable means
//!
//! Durable is what outlives a kill of the process and a power cut. [`TaskStore::accept`], [`TaskStore::run`],
//! [`TaskStore::progress`], [`TaskStore::end`] and changes of a [`KeyStore`] return `Ok` only when what they recorded is
//! durable, all of it together: a task with its audio and its `Idempotency-Key`, an end with the references to audio that
//! go. A [`ChunkJournal`] promises less: what it has acknowledged outlives a kill of the process, and a power cut may cost
//! the last moments of it, but never its order.
//! [`TaskStore::mark`] and [`TaskStore::forget`] may be lost: both are said again, or missed by nothing.
//!
//! # Order
//!
//! What was recorded with `Ok` is found by every call that begins afterwards. [`TaskStore::mark`] and the writes after it
//! take effect in the order in which they were called. Nothing changes a task that has ended, except that it is forgotten.
//!
//! # Callers that leave
//!
//! A caller may drop a [`Promise`] before it is done. What it asked for then happens as a whole or not at all. A task whose
//! caller left [`TaskStore::accept`] is not kept: no client knows of it, so nothing would ever ask for its result. The same
//! is true where that returns an error. What was recorded all the same is withdrawn by the commit after that: until then it
//! may be found, and where the process is killed or the backend stops in between, the task stays and runs at the next start.
//!
//! # Errors
//!
//! | error | a backend returns it when |
//! |---|---|
//! | [`Full`](StoreError::Full) | there is no room, by the configuration or on the disk; the caller may come back |
//! | [`Unavailable`](StoreError::Unavailable) | the backend does not work at the moment, or a commit failed; the caller may come back |
//! | [`Damaged`](StoreError::Damaged) | one record, or one piece of audio, is missing or not as it was written; all others can be read |
//! | [`Corrupt`](StoreError::Corrupt) | the backend as a whole is damaged: it reads and writes nothing more |
//! | [`Stopped`](StoreError::Stopped) | the backend has stopped |
//! | [`Backend`](StoreError::Backend) | the backend refuses for a reason of its own |
//!
//! Any promise may return any of them; a section on errors names those that its caller counts on. A question waits a
//! few seconds at most while the backend does not work, and is `Unavailable` then. A backend returns its errors and does
//! not log them, except where no result carries them: its health, marks, and journals that refuse entries.

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
    Chunks, Entry, Idempotency, IdempotencyKey, Kept, ListQuery, Page, Request, Snapshot, TaskId, Timeline,
    Timestamp,
};

/// What comes of a question to a store.
pub type Promise<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Keeps tasks, and the `Idempotency-Key`s that started them.
pub trait TaskStore: fmt::Debug + Send + Sync {
    /// Records a task with the audio that its record names, unless a younger record than `keys_before` has its
    /// `Idempotency-Key`. When this returns [`Acceptance::Durable`], all of it is durable; else nothing is left of it,
    /// except what the section on callers that leave names.
    ///
    /// # Errors
    /// [`StoreError::Full`] when the audio finds no room. A task whose id is taken is refused, too, and fails alone.
    fn accept(
        &self,
        record: NewRecord,
        blobs: Vec<(BlobId, Bytes)>,
        keys_before: Timestamp,
    ) -> Promise<'_, Acceptance>;

    /// Counts a run of a task, which is processing from then on; when this returns, that is durable. Does nothing to a
    /// task that has ended.
    fn run(&self, id: TaskId, timeline: Timeline) -> Promise<'_, ()>;

    /// Records how far a task has come, in percent; when this returns, that is durable. Does nothing to a task that has
    /// ended.
    fn progress(&self, id: TaskId, percent: u8) -> Promise<'_, ()>;

    /// Notes something about a task that has not ended, with one of the next commits. Waits for nothing: where too many
    /// writes wait, the mark is dropped. Does nothing to a task that has ended.
    fn mark(&self, id: TaskId, mark: TaskMark);

    /// Records how a task ended, and takes away its references to audio; when this returns, that is durable. A task that
    /// has ended already keeps its first end, which is returned. Rows about usage and callbacks, once there are any, are
    /// to be written in the same transaction.
    fn end(&self, id: TaskId, ending: Ending, at: Timestamp) -> Promise<'_, Option<Snapshot>>;

    /// Deletes some of what is older than it is kept: a bounded part, so that other writes need not wait for long.
    /// [`Forgotten::more`] says whether to ask again. The caller removes the journals of the streams that it names.
    /// Journals that no task refers to are removed when the backend is opened.
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

    /// Tells why the store takes no tasks; `None` while it does. Waits for nothing.
    fn trouble(&self) -> Option<StoreError>;

    /// Looks at the store's health from time to time, until the store has stopped.
    fn watch(&self) -> BoxFuture<'_, ()>;

    /// Tells how many writes wait.
    fn writes_waiting(&self) -> usize;
}

/// Keeps the bytes of audio.
pub trait BlobStore: fmt::Debug + Send + Sync {
    /// Makes a name that no other blob has had, also in earlier processes.
    fn blob_id(&self) -> BlobId;

    /// Returns the bytes of a blob, as they were written: a checksum says so. They stay where they are if there are many.
    /// A blob is there as long as a task that has not ended refers to it.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when there is no such blob or it is not as it was written.
    fn read(&self, id: BlobId) -> Promise<'_, AudioBytes>;

    /// Makes room for audio that is about to be downloaded. A download is not durable: a task that runs again downloads
    /// anew.
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

/// Keeps API keys. Other processes change them while a server runs: the command line does.
pub trait KeyStore: fmt::Debug + Send + Sync {
    /// Lists the keys, the oldest first, and tells the version of the list.
    fn list(&self) -> Promise<'_, (i64, Vec<KeyRecord>)>;

    /// Tells the version of the list: it changes with every change of a key, also by another process, and with nothing
    /// else.
    fn version(&self) -> Promise<'_, i64>;

    /// Adds a key; when this returns, that is durable. False if the name is taken.
    fn create(&self, key: KeyRecord) -> Promise<'_, bool>;

    /// Removes a key; when this returns, that is durable. False if there is none of this name.
    fn revoke(&self, name: String) -> Promise<'_, bool>;
}

/// Keeps the chunks of tasks with a stream before they are shown, until their retention is over.
///
/// A task has one journal. What a subscriber has seen is in it, so a task whose journal has [begun](Self::begun) does not
/// run again after a kill.
pub trait ChunkJournals: fmt::Debug + Send + Sync {
    /// Returns the writing end of a task's journal. Nothing is made yet. A journal has one writer: one that an earlier
    /// writer has begun refuses what it is given, since entries of that one may still be on their way.
    fn journal(&self, id: &TaskId) -> Box<dyn ChunkJournal>;

    /// Returns those of these tasks whose journal has entries. A journal that cannot be looked at has none.
    fn begun(&self, ids: Vec<TaskId>) -> Promise<'_, HashSet<TaskId>>;

    /// Reads the entries of a task, up to the first that is not as it was written. A task without a journal has none.
    fn read(&self, id: TaskId) -> Promise<'_, Journalled>;

    /// Returns the entries of a task, which stay where they are if there are many. `None` where they are not exactly those
    /// that its record tells of.
    fn read_whole(&self, id: TaskId, told: Chunks) -> Promise<'_, Option<Kept>>;

    /// Removes the journals of these tasks; a task may have none.
    fn remove(&self, ids: Vec<TaskId>) -> Promise<'_, ()>;
}

/// The writing end of one task's journal, which the task's actor holds.
pub trait ChunkJournal: fmt::Debug + Send {
    /// Takes entries that are to be shown once they are kept. The caller gives the next ones when this batch is
    /// acknowledged. Does not block: where this takes longer than a copy, it is [`Appended::Later`].
    fn append(&mut self, entries: &mut dyn Iterator<Item = &Entry>) -> Appended;

    /// Prepares for the first entries, which then take less time. A journal that is only prepared has not begun.
    fn make_ready(&mut self);

    /// Returns what was written, for the task's record and for readers that come when the task has ended. `None` if this is
    /// not all that the journal was given.
    fn into_kept(self: Box<Self>) -> Option<Kept>;
}

/// What becomes of entries that a journal was given: true if it has them. It takes nothing more once it has refused some:
/// what it has is always a beginning of the stream.
pub enum Appended {
    /// This is known already.
    Now(bool),
    /// This will be known in a moment.
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
