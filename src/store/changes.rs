//! What is written through a [`Store`]: tasks, their ends, what happens to them in between.

use bytes::Bytes;
use tokio::sync::oneshot;

use super::spool::SMALL_BYTES;
use super::writer::{Mark, Shared, Write};
use super::{Acceptance, Ending, NewRecord, Store, StoreError};
use crate::audio::facts::AudioFacts;
use crate::task::Timestamp;
use crate::task::id::TaskId;
use crate::task::snapshot::Snapshot;
use crate::task::timeline::Timeline;

impl Store {
    /// Records an accepted task and its inline audio; when this returns, both are durable.
    ///
    /// # Errors
    /// When they are not: then nothing is left of them.
    pub async fn accept(&self, record: NewRecord, inline: Vec<Bytes>) -> Result<Acceptance, StoreError> {
        if let Some(trouble) = self.trouble() {
            return Err(trouble);
        }
        let keys_before = Timestamp::now().before(self.retention.idempotency);
        let id = record.task.id.clone();
        let mut inline = inline.into_iter();
        let (first, None) = (inline.next(), inline.next()) else {
            return Err(StoreError::Damaged("the spool holds one audio of a task".to_owned()));
        };
        let (audio, has_own_file) = match first {
            None => (Shared::Nothing, false),
            Some(audio) if audio.len() as u64 <= SMALL_BYTES => (Shared::Text(audio), false),
            Some(audio) => (Shared::Own(self.unless_trouble_lasts(self.spool_own(&id, audio)).await?), true),
        };
        let record = Box::new(record);
        let accepted = self
            .unless_trouble_lasts(self.write(|reply| Write::Accept { record, audio, keys_before, reply }))
            .await;
        if has_own_file && !matches!(accepted, Ok(Acceptance::Durable)) {
            let spool = self.spool.clone();
            // Not waited for: a disk that hangs does so here, too.
            actix_rt::task::spawn_blocking(move || spool.remove(&id));
        }
        accepted
    }

    /// Writes a task's audio to a file of its own, and returns its checksum. A file that is written after its caller has
    /// given up is removed.
    async fn spool_own(&self, id: &TaskId, audio: Bytes) -> Result<u32, StoreError> {
        let (spool, id) = (self.spool.clone(), id.clone());
        let turn = spool.turn(audio.len() as u64).await;
        let (written, waiting) = oneshot::channel();
        actix_rt::task::spawn_blocking(move || {
            // Held to the end, whether or not a caller waits for it.
            let _turn = turn;
            if let Err(Ok(_)) = written.send(spool.write(&id, &audio)) {
                spool.remove(&id);
            }
        });
        waiting.await.map_err(|_| StoreError::Stopped)?
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

    /// Remembers, with one of the next commits, what was downloaded for a task: for which of its audio, counted from 0.
    pub fn mark_downloaded(&self, id: TaskId, place: usize, facts: AudioFacts) {
        self.mark(id, Mark::Downloaded(place, facts));
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
