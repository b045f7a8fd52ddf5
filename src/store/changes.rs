//! What is written through a [`Store`]: tasks, their ends, what happens to them in between.

use bytes::Bytes;

use super::records::{Forgotten, TaskMark};
use super::{Acceptance, ChunkJournal, Ending, NewRecord, Retained, Store, StoreError};
use crate::audio::{AudioFacts, BlobId};
use crate::task::{Snapshot, TaskId, Timeline, Timestamp};

impl Store {
    /// Makes the name under which audio will be found that is given to [`Store::accept`].
    #[must_use]
    pub fn blob_id(&self) -> BlobId {
        self.blobs.blob_id()
    }

    /// Records an accepted task and its inline audio; when this returns, both are durable.
    ///
    /// # Errors
    /// When they are not: then nothing is left of them.
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

    /// Records that a run of a task begins; when this returns, the run is counted.
    ///
    /// # Errors
    /// When it is not.
    pub async fn run(&self, id: TaskId, timeline: Timeline) -> Result<(), StoreError> {
        self.tasks.run(id, timeline).await
    }

    /// Remembers, with one of the next commits, that a task publishes its first chunk, and what has happened to it until
    /// then: it will not run again. Nothing waits for that: that there is a chunk the journal says as well, and this is
    /// for the case that a power cut takes it.
    pub fn mark_published(&self, id: TaskId, timeline: Timeline) {
        self.tasks.mark(id, TaskMark::Published(timeline));
    }

    /// Records how far a task has come, in percent, so that progress does not fall when another process runs it again;
    /// when this returns, that is durable.
    ///
    /// # Errors
    /// When it is not.
    pub async fn progress(&self, id: TaskId, percent: u8) -> Result<(), StoreError> {
        self.tasks.progress(id, percent).await
    }

    /// Remembers, with one of the next commits, what was downloaded for a task as its audio of this number.
    pub fn mark_downloaded(&self, id: TaskId, index: usize, facts: AudioFacts) {
        self.tasks.mark(id, TaskMark::Downloaded(index, facts));
    }

    /// Returns the writing end of a task's journal, which keeps chunks before they are shown. Nothing is made yet.
    #[must_use]
    pub fn journal(&self, id: &TaskId) -> Box<dyn ChunkJournal> {
        self.journals.journal(id)
    }

    /// Records how a task ended and removes its audio; when this returns, that is durable. A task that has
    /// ended already keeps its first end, which is returned.
    ///
    /// # Errors
    /// When it is not recorded.
    pub async fn end(&self, id: TaskId, ending: Ending) -> Result<Option<Snapshot>, StoreError> {
        self.tasks.end(id, ending, Timestamp::now()).await
    }

    /// Deletes what has been kept long enough: tasks, chunks, idempotency keys. Returns how many tasks.
    ///
    /// # Errors
    /// When the database refuses.
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
