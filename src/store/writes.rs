//! The methods of [`Store`] that write: for the acceptance, the run and the end of tasks.

use bytes::Bytes;

use super::records::{Forgotten, TaskMark};
use super::{Acceptance, ChunkJournal, Ending, NewRecord, Retained, Store, StoreError};
use crate::audio::{AudioFacts, BlobId};
use crate::task::{Snapshot, TaskId, Timeline, Timestamp};

impl Store {
    /// Makes a new id for audio that is then given to [`Store::accept`].
    #[must_use]
    pub fn blob_id(&self) -> BlobId {
        self.blobs.blob_id()
    }

    /// Records an accepted task and its inline audio. When this returns, both are durable.
    ///
    /// # Errors
    /// When they are not durable. The store then keeps nothing of them.
    pub async fn accept(
        &self,
        record: NewRecord,
        inline: Vec<(BlobId, Bytes)>,
    ) -> Result<Acceptance, StoreError> {
        if let Some(trouble) = self.trouble() {
            return Err(trouble);
        }
        let keys_before = Timestamp::now().before(self.retention.idempotency);
        self.tasks.accept(record, inline, keys_before).await.inspect_err(StoreError::log)
    }

    /// Records that a run of a task begins. When this returns, the run is counted.
    ///
    /// # Errors
    /// When the run is not counted.
    pub async fn run(&self, id: TaskId, timeline: Timeline) -> Result<(), StoreError> {
        self.tasks.run(id, timeline).await
    }

    /// Records, with one of the next commits, that a task publishes its first chunk, and its timeline until then: the
    /// task will not run again. Nothing waits for this commit. The journal also shows that there is a chunk; this mark
    /// is for the case that a power cut deletes that chunk.
    pub fn mark_published(&self, id: TaskId, timeline: Timeline) {
        self.tasks.mark(id, TaskMark::Published(timeline));
    }

    /// Records the progress of a task in percent, so that progress does not fall when another process runs the task
    /// again. When this returns, the progress is durable.
    ///
    /// # Errors
    /// When the progress is not durable.
    pub async fn progress(&self, id: TaskId, percent: u8) -> Result<(), StoreError> {
        self.tasks.progress(id, percent).await
    }

    /// Records, with one of the next commits, the facts about audio that was downloaded for a task. `index` is its
    /// place.
    pub fn mark_downloaded(&self, id: TaskId, index: usize, facts: AudioFacts) {
        self.tasks.mark(id, TaskMark::Downloaded(index, facts));
    }

    /// Returns the writing end of a task's journal, which keeps chunks before they are published. This makes no file
    /// yet.
    #[must_use]
    pub fn journal(&self, id: &TaskId) -> Box<dyn ChunkJournal> {
        self.journals.journal(id)
    }

    /// Records how a task ended and removes its audio. When this returns, the end is durable. A task that has already
    /// ended keeps its first end, and this returns that end.
    ///
    /// # Errors
    /// When the end is not recorded.
    pub async fn end(&self, id: TaskId, ending: Ending) -> Result<Option<Snapshot>, StoreError> {
        self.tasks.end(id, ending, Timestamp::now()).await
    }

    /// Deletes data whose retention has ended: tasks, chunks, idempotency keys. Returns the number of deleted tasks.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_expired(&self) -> Result<usize, StoreError> {
        let now = Timestamp::now();
        let kept = Retained {
            tasks: now.before(self.retention.tasks),
            chunks: now.before(self.retention.chunks),
            keys: now.before(self.retention.idempotency),
        };
        let mut tasks = 0;
        loop {
            let Forgotten { tasks: some, streams, more } = self.tasks.forget(kept).await?;
            tasks += some;
            self.journals.remove(streams).await?;
            if !more {
                return Ok(tasks);
            }
        }
    }
}
