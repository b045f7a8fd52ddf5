//! What is written through a [`Store`]: tasks, their ends, what happens to them in between.

use super::spool::NewBlob;
use super::writer::{Mark, Write};
use super::{Acceptance, Ending, NewRecord, Store, StoreError, blocking};
use crate::audio::blob_id::BlobId;
use crate::audio::facts::AudioFacts;
use crate::task::Timestamp;
use crate::task::id::TaskId;
use crate::task::snapshot::Snapshot;
use crate::task::timeline::Timeline;
use bytes::Bytes;

impl Store {
    /// Makes the name under which audio will be found that is given to [`Store::accept`].
    #[must_use]
    pub fn blob_id(&self) -> BlobId {
        self.spool.blob_id()
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
        let mut blobs = Vec::new();
        for (id, bytes) in inline {
            blobs.push(if NewBlob::is_large(&bytes) {
                self.unless_trouble_lasts(self.write_blob(id, bytes)).await?
            } else {
                NewBlob::new(&self.spool, id, bytes)?
            });
        }
        let record = Box::new(record);
        self.unless_trouble_lasts(self.write(|reply| Write::Accept {
            record,
            blobs: Ok(blobs),
            keys_before,
            reply,
        }))
        .await
    }

    /// Writes the file of a large blob. One that is written after its caller has given up is removed.
    async fn write_blob(&self, id: BlobId, bytes: Bytes) -> Result<NewBlob, StoreError> {
        let spool = self.spool.clone();
        let turn = spool.turn(bytes.len() as u64).await;
        blocking(move || {
            // Held to the end, whether or not a caller waits for it.
            let _turn = turn;
            NewBlob::new(&spool, id, bytes)
        })
        .await
    }

    /// Records that a run of a task begins; when this returns, the run is counted.
    ///
    /// # Errors
    /// When it is not.
    pub async fn run(&self, id: TaskId, timeline: Timeline) -> Result<(), StoreError> {
        self.write(|reply| Write::Run { id, timeline, reply }).await
    }

    /// Remembers, with one of the next commits, that a task publishes its first chunk, and what has happened to it until
    /// then: it will not run again. Nothing waits for that: that there is a chunk the journal says as well, and this is
    /// for the case that a power cut takes it.
    pub fn mark_published(&self, id: TaskId, timeline: Timeline) {
        self.mark(id, Mark::Published(timeline));
    }

    /// Remembers, with one of the next commits, how far a task has come, so that progress does not fall when
    /// another process runs it again.
    pub fn mark_progress(&self, id: TaskId, progress: u8) {
        self.mark(id, Mark::Progress(progress));
    }

    /// Remembers, with one of the next commits, what was downloaded for a task as its audio of this number.
    pub fn mark_downloaded(&self, id: TaskId, index: usize, facts: AudioFacts) {
        self.mark(id, Mark::Downloaded(index, facts));
    }

    fn mark(&self, id: TaskId, mark: Mark) {
        // A writer with that much to do is not worth waiting for: a mark is a help, not a promise.
        let _ = self.writes.try_send(Write::Mark { id, mark });
    }

    /// Records how a task ended and removes its audio; when this returns, that is durable. A task that has
    /// ended already keeps its first end, which is returned.
    ///
    /// # Errors
    /// When it is not recorded.
    pub async fn end(&self, id: TaskId, ending: Ending) -> Result<Option<Snapshot>, StoreError> {
        self.write(|reply| Write::End { id, ending: Box::new(ending), at: Timestamp::now(), reply }).await
    }

    /// Deletes what has been kept long enough: tasks, chunks, idempotency keys. Returns how many tasks.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn forget_expired(&self) -> Result<usize, StoreError> {
        let now = Timestamp::now();
        let mut tasks = 0;
        loop {
            let forgotten = self
                .write(|reply| Write::Forget {
                    tasks_before: now.before(self.retention.tasks),
                    chunks_before: now.before(self.retention.chunks),
                    keys_before: now.before(self.retention.idempotency),
                    reply,
                })
                .await?;
            tasks += forgotten.tasks;
            if !forgotten.more {
                return Ok(tasks);
            }
        }
    }
}
