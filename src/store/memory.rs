//! A second backend, for tests. It keeps everything in memory, which outlives its handles like a disk.

mod journals;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, pending, ready};
use tokio::task::yield_now;

pub(crate) use journals::{Batch, MemoryJournals};

use super::promises::{BlobStore, Download, KeyStore, Promise, Receive, TaskStore};
use super::records::{Acceptance, Ending, Forgotten, NewRecord, StoredStream, TaskMark, Unfinished, Weighed};
use super::{MOST_LISTED_BYTES, Retained, StoreError};
use crate::audio::{AudioBytes, BlobId, KeptAudio};
use crate::keys::KeyRecord;
use crate::metrics::DiskLevels;
use crate::secret::KeyHash;
use crate::task::{
    Idempotency, IdempotencyKey, ListQuery, Outcome, Page, Request, Snapshot, State, TaskId, Timeline,
    Timestamp,
};

/// The data that a process would leave behind.
#[derive(Debug)]
pub(super) struct MemoryBackend {
    kept: Mutex<Tables>,
    next: AtomicU64,
    most_bytes: u64,
}

#[derive(Debug, Default)]
struct Tables {
    tasks: BTreeMap<TaskId, Row>,
    submits: HashMap<(KeyHash, IdempotencyKey), (TaskId, Idempotency, Timestamp)>,
    /// The API keys, and the version of their table.
    keys: (i64, Vec<KeyRecord>),
    blobs: HashMap<BlobId, MemoryBlob>,
}

#[derive(Debug)]
struct MemoryBlob {
    bytes: Bytes,
    /// The number of tasks that refer to the blob.
    refs: usize,
    is_damaged: bool,
}

#[derive(Debug)]
struct Row {
    record: NewRecord,
    runs: u32,
    published: bool,
    progress: u8,
    timeline: Timeline,
    end: Option<(Ending, Timestamp)>,
}

impl Row {
    fn ended_before(&self, moment: Timestamp) -> bool {
        self.end.as_ref().is_some_and(|(_, at)| *at < moment)
    }

    fn state(&self) -> State {
        match &self.end {
            None if self.runs == 0 => State::Pending,
            None => State::Processing { progress: self.progress },
            Some((Ending { outcome: Outcome::Completed(completed), .. }, _)) => {
                State::Completed(completed.completion.clone())
            }
            Some((Ending { outcome: Outcome::Failed(failure), progress, .. }, _)) => {
                State::Failed { failure: failure.clone(), progress: *progress }
            }
        }
    }

    fn snapshot(&self) -> Snapshot {
        let task = &self.record.task;
        Snapshot {
            id: task.id.clone(),
            model: task.question.model.clone(),
            created: task.created.seconds(),
            stream: task.stream.is_some(),
            state: self.state(),
            timeline: self.timeline.clone(),
        }
    }

    fn without_segments(&self) -> Snapshot {
        let mut snapshot = self.snapshot();
        if let State::Completed(completion) = &mut snapshot.state {
            *completion = completion.without_segments();
        }
        snapshot
    }
}

impl Tables {
    fn of(&self, id: &TaskId, owner: KeyHash) -> Option<&Row> {
        self.tasks.get(id).filter(|row| row.record.task.owner == owner)
    }

    fn used(&self) -> u64 {
        self.blobs.values().map(|blob| blob.bytes.len() as u64).sum()
    }

    fn accept(
        &mut self,
        record: NewRecord,
        blobs: Vec<(BlobId, Bytes)>,
        keys_before: Timestamp,
        most_bytes: u64,
    ) -> Result<Acceptance, StoreError> {
        let (task, timeline) = (record.task.clone(), record.timeline.clone());
        let bytes: u64 = blobs.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        if self.used() + bytes > most_bytes {
            return Err(StoreError::Full("the memory is full".into()));
        }
        if self.tasks.contains_key(&task.id) {
            return Err(StoreError::Backend("this task exists already".into()));
        }
        if let Some(idempotency) = &record.idempotency {
            let place = (task.owner, idempotency.key.clone());
            if self.submits.get(&place).is_some_and(|(.., created)| *created >= keys_before) {
                return Ok(Acceptance::KeyTaken);
            }
            self.submits.insert(place, (task.id.clone(), idempotency.clone(), task.created));
        }
        let blobs =
            blobs.into_iter().map(|(id, bytes)| (id, MemoryBlob { bytes, refs: 1, is_damaged: false }));
        self.blobs.extend(blobs);
        let runs = u32::from(record.runs);
        let row = Row { record, runs, published: false, progress: 0, timeline, end: None };
        self.tasks.insert(task.id.clone(), row);
        Ok(Acceptance::Durable)
    }

    /// Removes the references to audio.
    fn release(&mut self, audio: Vec<KeptAudio>) {
        for audio in audio {
            if let KeptAudio::Blob { id, .. } = audio
                && let Some(blob) = self.blobs.get_mut(&id)
            {
                blob.refs -= 1;
            }
        }
        self.blobs.retain(|_, blob| blob.refs > 0);
    }
}

fn resolved<T: Send + 'static>(value: T) -> Promise<'static, T> {
    ready(Ok(value)).boxed()
}

impl MemoryBackend {
    pub(super) fn new(most_bytes: u64) -> Self {
        Self { kept: Mutex::default(), next: AtomicU64::new(1), most_bytes }
    }

    fn kept(&self) -> MutexGuard<'_, Tables> {
        self.kept.lock().unwrap()
    }

    /// Damages all stored audio.
    pub(super) fn damage_audio(&self) {
        self.kept().blobs.values_mut().for_each(|blob| blob.is_damaged = true);
    }

    fn change(&self, id: &TaskId, change: impl FnOnce(&mut Row)) {
        if let Some(row) = self.kept().tasks.get_mut(id).filter(|row| row.end.is_none()) {
            change(row);
        }
    }
}

/// A guard that withdraws a task when dropped, unless the task's caller has learned that the task is accepted.
struct Withdrawal<'a> {
    memory: &'a MemoryBackend,
    id: Option<TaskId>,
}

impl Drop for Withdrawal<'_> {
    fn drop(&mut self) {
        let mut kept = self.memory.kept();
        if let Some(id) = self.id.take()
            && let Some(row) = kept.tasks.remove(&id)
        {
            kept.submits.retain(|_, (task, ..)| *task != id);
            kept.release(row.record.audio);
        }
    }
}

impl TaskStore for MemoryBackend {
    fn accept(
        &self,
        record: NewRecord,
        blobs: Vec<(BlobId, Bytes)>,
        keys_before: Timestamp,
    ) -> Promise<'_, Acceptance> {
        let accept = async move {
            let id = record.task.id.clone();
            let accepted = self.kept().accept(record, blobs, keys_before, self.most_bytes)?;
            let id = Some(id).filter(|_| accepted == Acceptance::Durable);
            let mut withdrawal = Withdrawal { memory: self, id };
            // The caller may stop waiting here.
            yield_now().await;
            withdrawal.id = None;
            Ok(accepted)
        };
        accept.boxed()
    }

    fn run(&self, id: TaskId, timeline: Timeline) -> Promise<'_, ()> {
        self.change(&id, |row| {
            row.runs += 1;
            row.timeline = timeline;
        });
        resolved(())
    }

    fn progress(&self, id: TaskId, percent: u8) -> Promise<'_, ()> {
        self.change(&id, |row| row.progress = percent);
        resolved(())
    }

    fn mark(&self, id: TaskId, mark: TaskMark) {
        self.change(&id, |row| match mark {
            TaskMark::Published(timeline) => {
                row.published = true;
                row.timeline = timeline;
            }
            TaskMark::Downloaded(place, facts) => row.record.audio_facts[place] = facts,
        });
    }

    fn end(&self, id: TaskId, ending: Ending, at: Timestamp) -> Promise<'_, Option<Snapshot>> {
        let mut kept = self.kept();
        let Some(row) = kept.tasks.get_mut(&id) else { return resolved(None) };
        if row.end.is_some() {
            return resolved(Some(row.snapshot()));
        }
        row.timeline = ending.timeline.clone();
        row.end = Some((ending, at));
        let audio = std::mem::take(&mut row.record.audio);
        kept.release(audio);
        resolved(None)
    }

    fn forget(&self, before: Retained) -> Promise<'_, Forgotten> {
        let mut kept = self.kept();
        let mut streams = Vec::new();
        for (id, row) in &mut kept.tasks {
            if row.ended_before(before.chunks)
                && let Some((ending, _)) = &mut row.end
                && ending.chunks.take().is_some()
            {
                streams.push(id.clone());
            }
        }
        let all = kept.tasks.len();
        kept.tasks.retain(|_, row| !row.ended_before(before.tasks));
        kept.submits.retain(|_, (.., created)| *created >= before.keys);
        resolved(Forgotten { tasks: all - kept.tasks.len(), streams, more: false })
    }

    fn find(
        &self,
        id: TaskId,
        owner: KeyHash,
        ended_after: Timestamp,
        most_bytes: usize,
        with_segments: bool,
    ) -> Promise<'_, Option<Weighed<Snapshot>>> {
        let kept = self.kept();
        let found = kept.of(&id, owner).filter(|row| !row.ended_before(ended_after));
        let found = found.map(|row| if with_segments { row.snapshot() } else { row.without_segments() });
        resolved(found.map(|found| match found.weight() {
            weight if weight > most_bytes => Weighed::Heavy(weight),
            _ => Weighed::Light(found),
        }))
    }

    fn request(&self, id: TaskId, owner: KeyHash) -> Promise<'_, Option<Request>> {
        resolved(self.kept().of(&id, owner).map(|row| Request {
            question: row.record.task.question.clone(),
            stream: row.record.task.stream.is_some(),
            audio: row.record.audio_facts.clone(),
        }))
    }

    fn list(
        &self,
        owner: KeyHash,
        query: ListQuery,
        ended_after: Timestamp,
        most_bytes: usize,
    ) -> Promise<'_, Option<Weighed<Page>>> {
        let kept = self.kept();
        let place = |row: &Row| (row.record.task.created, row.record.task.id.clone());
        let before = match &query.after {
            None => None,
            Some(id) => match kept.of(id, owner) {
                None => return resolved(None),
                Some(row) => Some(place(row)),
            },
        };
        let mut rows: Vec<&Row> = kept
            .tasks
            .values()
            .filter(|row| row.record.task.owner == owner && !row.ended_before(ended_after))
            .filter(|row| query.status.is_none_or(|status| row.state().status() == status))
            .filter(|row| before.as_ref().is_none_or(|before| place(row) < *before))
            .collect();
        rows.sort_by_key(|row| std::cmp::Reverse(place(row)));
        let mut page = Page { tasks: Vec::new(), has_more: rows.len() > query.limit };
        let mut left = most_bytes;
        for task in rows.into_iter().take(query.limit).map(Row::without_segments) {
            let weight = task.weight();
            if weight <= left {
                left -= weight;
                page.tasks.push(task);
            } else if page.tasks.is_empty() {
                return resolved(Some(Weighed::Heavy(weight)));
            } else if most_bytes < MOST_LISTED_BYTES {
                return resolved(Some(Weighed::Heavy(MOST_LISTED_BYTES)));
            } else {
                page.has_more = true;
                break;
            }
        }
        resolved(Some(Weighed::Light(page)))
    }

    fn stream(&self, id: TaskId, owner: KeyHash) -> Promise<'_, Option<StoredStream>> {
        let kept = self.kept();
        let stream = kept.of(&id, owner).and_then(|row| {
            let (ending, ended) = row.end.as_ref()?;
            Some(StoredStream { chunks: ending.chunks?, state: row.state(), ended: *ended })
        });
        resolved(stream)
    }

    fn submitted(
        &self,
        owner: KeyHash,
        key: IdempotencyKey,
        created_after: Timestamp,
    ) -> Promise<'_, Option<(TaskId, Idempotency)>> {
        let kept = self.kept();
        let found = kept.submits.get(&(owner, key)).filter(|(.., created)| *created >= created_after);
        resolved(found.map(|(task, idempotency, _)| (task.clone(), idempotency.clone())))
    }

    fn unfinished(&self, after: Option<(Timestamp, TaskId)>) -> Promise<'_, Vec<Unfinished>> {
        let kept = self.kept();
        let rows = kept.tasks.values().filter(|row| row.end.is_none());
        let mut left: Vec<_> = rows
            .map(|row| Unfinished {
                task: (*row.record.task).clone(),
                audio: row.record.audio.clone(),
                facts: crate::task::RecoveryFacts {
                    runs: row.runs,
                    published: row.published,
                    irreplaceable_caller: row.record.irreplaceable_caller,
                },
                progress: row.progress,
                timeline: row.timeline.clone(),
            })
            .collect();
        let place = |left: &Unfinished| (left.task.created, left.task.id.clone());
        left.retain(|left| after.as_ref().is_none_or(|after| place(left) > *after));
        left.sort_by_key(place);
        resolved(left)
    }

    fn trouble(&self) -> Option<StoreError> {
        None
    }

    fn watch(&self) -> BoxFuture<'_, ()> {
        pending().boxed()
    }

    fn writes_waiting(&self) -> usize {
        0
    }
}

impl KeyStore for MemoryBackend {
    fn list(&self) -> Promise<'_, (i64, Vec<KeyRecord>)> {
        resolved(self.kept().keys.clone())
    }

    fn version(&self) -> Promise<'_, i64> {
        resolved(self.kept().keys.0)
    }

    fn create(&self, key: KeyRecord) -> Promise<'_, bool> {
        let (version, keys) = &mut self.kept().keys;
        let is_free = keys.iter().all(|known| known.name != key.name);
        if is_free {
            *version += 1;
            keys.push(key);
        }
        resolved(is_free)
    }

    fn revoke(&self, name: String) -> Promise<'_, bool> {
        let (version, keys) = &mut self.kept().keys;
        let known = keys.iter().position(|key| key.name == name);
        if let Some(place) = known {
            *version += 1;
            keys.remove(place);
        }
        resolved(known.is_some())
    }
}

impl BlobStore for MemoryBackend {
    fn blob_id(&self) -> BlobId {
        BlobId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    fn read(&self, id: BlobId) -> Promise<'_, AudioBytes> {
        let kept = self.kept();
        let whole = kept.blobs.get(&id).filter(|blob| !blob.is_damaged);
        let read = whole.map(|blob| blob.bytes.clone().into());
        ready(read.ok_or_else(|| StoreError::Damaged(format!("there is no audio {id}")))).boxed()
    }

    fn download(&self) -> Promise<'_, Download> {
        resolved(Box::new(MemoryDownload { bytes: Vec::new(), most: self.most_bytes }))
    }

    fn used(&self) -> (u64, u64) {
        (self.kept().used(), self.most_bytes)
    }

    fn disk(&self) -> Option<DiskLevels> {
        None
    }
}

#[derive(Debug)]
struct MemoryDownload {
    bytes: Vec<u8>,
    most: u64,
}

impl Receive for MemoryDownload {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() as u64 > self.most {
            return Err(StoreError::Full("the memory is full".into()));
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> AudioBytes {
        Bytes::from(self.bytes).into()
    }
}
