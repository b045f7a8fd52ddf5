//! The backend on a local disk: SQLite with a writer and readers, and the spool.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::claim::{Claim, OpenFiles};
use super::commit_counter::CommitCounter;
use super::health::{self, Health, Trouble};
use super::journal::FileJournals;
use super::key_table::{KeyTable, keys_and_version, keys_version};
use super::known_files::KnownFiles;
use super::promises::{BlobStore, Download, KeyStore, Promise, TaskStore};
use super::reader::{self, ReadQueue, Readers};
use super::records::{Acceptance, Ending, Forgotten, NewRecord, StoredStream, TaskMark, Unfinished, Weighed};
use super::spool::{NewBlob, Spool};
use super::writer::{Withdrawn, Write, Writer, WriterParts};
use super::{Reply, Retained, StoreConfig, StoreError, blocking, integrity, sqlite};
use crate::audio::{AudioBytes, BlobId};
use crate::keys::KeyRecord;
use crate::metrics::{DiskLevels, StoreMetrics};
use crate::secret::KeyHash;
use crate::task::{
    Idempotency, IdempotencyKey, ListQuery, Page, Request, Snapshot, TaskId, Timeline, Timestamp,
};

/// Most writes that may wait for the writer. Callers with further writes wait for a place.
const WRITE_QUEUE: usize = 4096;

/// An open database and its spool.
#[derive(Debug)]
pub(super) struct LocalBackend {
    writes: mpsc::Sender<Write>,
    readers: Readers,
    health: Health,
    spool: Spool,
    key_table: KeyTable,
}

impl LocalBackend {
    /// Opens a data directory and the journals in it. The directory stays locked until both are dropped. Files that a
    /// crash left behind and that belong to no task are removed.
    ///
    /// # Errors
    /// When the directory cannot be used or another server has it.
    pub(super) fn open(
        data_dir: &Path,
        config: StoreConfig,
        metrics: StoreMetrics,
    ) -> Result<(Self, FileJournals), StoreError> {
        Self::try_open(data_dir, config, metrics).map_err(sqlite::error_in(data_dir))
    }

    fn try_open(
        data_dir: &Path,
        config: StoreConfig,
        metrics: StoreMetrics,
    ) -> Result<(Self, FileJournals), StoreError> {
        sqlite::make_directory(data_dir)?;
        let claim = Claim::take(data_dir)?;
        // This check comes before anything is written to the database.
        drop(integrity::examine(data_dir)?);
        let connection = sqlite::connect(data_dir, config.sync)?;
        let open = Arc::new(OpenFiles::of(data_dir, claim)?);
        let (commit_counter, lost) = CommitCounter::open(data_dir, &connection)?;
        // The database has lost commits. The operator may put a newer copy back, to which all files may belong, so all
        // files are kept.
        let is_all_kept = lost.is_some();
        if !is_all_kept {
            sqlite::delete_unnamed_blobs(&connection);
        }
        let recorded = sqlite::recorded_blobs(&connection)?;
        let spool = Spool::open(data_dir, config.max_spool_bytes, config.sync, &recorded, |id| {
            Ok(is_all_kept || sqlite::has_file(&connection, *id)?)
        })?;
        let has_stream = |id: &TaskId| Ok(is_all_kept || sqlite::has_stream(&connection, id)?);
        let health = Health::new(data_dir);
        let journals =
            FileJournals::open(data_dir, config.sync, metrics.clone(), health.clone(), has_stream)?;
        let (writes, write_queue) = mpsc::channel(WRITE_QUEUE);
        let files = KnownFiles::of(data_dir, Arc::clone(&open))?;
        let parts = WriterParts {
            connection,
            spool: spool.clone(),
            files,
            health: health.clone(),
            commit_counter,
            metrics,
        };
        Writer::new(parts).start(data_dir, write_queue)?;
        let readers = Readers::start(data_dir, config.sync, &health, &open)?;
        Ok((Self { writes, readers, health, spool, key_table: KeyTable::of(data_dir) }, journals))
    }

    /// Waits for the store, unless it has been in trouble for too long. The work may still be done after such an error.
    async fn unless_trouble_lasts<T>(
        &self,
        done: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        tokio::select! {
            biased;
            done = done => done,
            trouble = self.health.trouble_lasts() => Err(trouble),
        }
    }

    async fn write<T>(&self, make: impl FnOnce(Reply<T>) -> Write) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.writes.send(make(reply)).await.map_err(|_| StoreError::Stopped)?;
        answer.await.map_err(|_| StoreError::Stopped)?
    }

    fn read_rows<'a, T: Send + 'static>(
        &'a self,
        readers: &'a ReadQueue,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Promise<'a, T> {
        self.unless_trouble_lasts(readers.read(read)).boxed()
    }

    /// Makes a blob. If the caller gives up before the file of a large blob is written, the file is removed.
    async fn make_blob(&self, id: BlobId, bytes: Bytes) -> Result<NewBlob, StoreError> {
        if !NewBlob::is_large(&bytes) {
            return NewBlob::new(&self.spool, id, bytes);
        }
        let spool = self.spool.clone();
        let permit = spool.permit(bytes.len() as u64).await;
        blocking(move || {
            // The permit is held to the end, whether or not a caller waits.
            let _permit = permit;
            NewBlob::new(&spool, id, bytes)
        })
        .await
    }
}

/// The wait for the answer to a submit. If the caller stops waiting before it has read the answer, the task is
/// withdrawn.
struct AcceptAnswer<'a> {
    answer: oneshot::Receiver<Result<Option<Withdrawn>, StoreError>>,
    writes: &'a mpsc::Sender<Write>,
}

impl Drop for AcceptAnswer<'_> {
    fn drop(&mut self) {
        // A later answer finds this channel closed, and the writer withdraws the task.
        self.answer.close();
        if let Ok(Ok(Some(task))) = self.answer.try_recv() {
            // If too many writes wait, the task stays, as after a kill at this moment.
            let _ = self.writes.try_send(Write::Withdraw(task));
        }
    }
}

impl TaskStore for LocalBackend {
    fn accept(
        &self,
        record: NewRecord,
        blobs: Vec<(BlobId, Bytes)>,
        keys_before: Timestamp,
    ) -> Promise<'_, Acceptance> {
        let made = async move {
            let mut made = Vec::new();
            for (id, bytes) in blobs {
                made.push(self.make_blob(id, bytes).await?);
            }
            let (reply, answer) = oneshot::channel();
            let write = Write::Accept { record: Box::new(record), blobs: made, keys_before, reply };
            self.writes.send(write).await.map_err(|_| StoreError::Stopped)?;
            let mut answer = AcceptAnswer { answer, writes: &self.writes };
            let recorded = (&mut answer.answer).await.map_err(|_| StoreError::Stopped)??;
            Ok(recorded.map_or(Acceptance::KeyTaken, |_| Acceptance::Durable))
        };
        self.unless_trouble_lasts(made).boxed()
    }

    fn run(&self, id: TaskId, timeline: Timeline) -> Promise<'_, ()> {
        self.write(|reply| Write::Run { id, timeline, reply }).boxed()
    }

    fn progress(&self, id: TaskId, percent: u8) -> Promise<'_, ()> {
        self.write(move |reply| Write::Progress { id, percent, reply }).boxed()
    }

    fn mark(&self, id: TaskId, mark: TaskMark) {
        // If the queue is full, the mark is dropped: a mark is not worth the wait.
        let _ = self.writes.try_send(Write::Mark { id, mark });
    }

    fn end(&self, id: TaskId, ending: Ending, at: Timestamp) -> Promise<'_, Option<Snapshot>> {
        self.write(move |reply| Write::End { id, ending: Box::new(ending), at, reply }).boxed()
    }

    fn forget(&self, kept: Retained) -> Promise<'_, Forgotten> {
        self.write(move |reply| Write::Forget { kept, reply }).boxed()
    }

    fn find(
        &self,
        id: TaskId,
        owner: KeyHash,
        ended_after: Timestamp,
        most_bytes: usize,
        with_segments: bool,
    ) -> Promise<'_, Option<Weighed<Snapshot>>> {
        self.read_rows(&self.readers.short, move |rows| {
            reader::find(rows, &id, owner, ended_after, most_bytes, with_segments)
        })
    }

    fn request(&self, id: TaskId, owner: KeyHash) -> Promise<'_, Option<Request>> {
        self.read_rows(&self.readers.short, move |rows| reader::request(rows, &id, owner))
    }

    fn list(
        &self,
        owner: KeyHash,
        query: ListQuery,
        ended_after: Timestamp,
        most_bytes: usize,
    ) -> Promise<'_, Option<Weighed<Page>>> {
        self.read_rows(&self.readers.long, move |rows| {
            reader::list(rows, owner, &query, ended_after, most_bytes)
        })
    }

    fn stream(&self, id: TaskId, owner: KeyHash) -> Promise<'_, Option<StoredStream>> {
        self.read_rows(&self.readers.short, move |rows| reader::stream(rows, &id, owner))
    }

    fn submitted(
        &self,
        owner: KeyHash,
        key: IdempotencyKey,
        created_after: Timestamp,
    ) -> Promise<'_, Option<(TaskId, Idempotency)>> {
        self.read_rows(&self.readers.short, move |rows| reader::submitted(rows, owner, key, created_after))
    }

    fn unfinished(&self, after: Option<(Timestamp, TaskId)>) -> Promise<'_, Vec<Unfinished>> {
        self.read_rows(&self.readers.long, move |rows| reader::unfinished(rows, after))
    }

    fn trouble(&self) -> Option<StoreError> {
        self.health.trouble().map(StoreError::from)
    }

    /// Watches the store. Otherwise a store that has nothing to write would not notice that its disk fails.
    fn watch(&self) -> BoxFuture<'_, ()> {
        let watch = async {
            let mut ticks = tokio::time::interval(health::TICK);
            loop {
                ticks.tick().await;
                if self.writes.is_closed() {
                    let stopped = "the thread that writes has stopped; start the server again".to_owned();
                    return self.health.set_trouble(Trouble::Unusable(stopped));
                }
                if self.health.tick() {
                    // A full queue has writes in it, which test the disk as well as a probe does.
                    let _ = self.writes.try_send(Write::Probe);
                }
            }
        };
        watch.boxed()
    }

    fn writes_waiting(&self) -> usize {
        self.writes.max_capacity() - self.writes.capacity()
    }
}

/// Reads the keys only while the database is not damaged.
impl KeyStore for LocalBackend {
    fn list(&self) -> Promise<'_, (i64, Vec<KeyRecord>)> {
        self.read_rows(&self.readers.short, keys_and_version)
    }

    fn version(&self) -> Promise<'_, i64> {
        self.read_rows(&self.readers.short, keys_version)
    }

    fn create(&self, key: KeyRecord) -> Promise<'_, bool> {
        self.key_table.create(key)
    }

    fn revoke(&self, name: String) -> Promise<'_, bool> {
        self.key_table.revoke(name)
    }
}

impl BlobStore for LocalBackend {
    fn blob_id(&self) -> BlobId {
        self.spool.blob_id()
    }

    fn read(&self, id: BlobId) -> Promise<'_, AudioBytes> {
        let read = async move {
            let spool = self.spool.clone();
            let stored = self.read_rows(&self.readers.short, move |rows| reader::blob(rows, id)).await?;
            let stored =
                stored.ok_or_else(|| StoreError::Damaged(format!("the audio {id} has no record")))?;
            if stored.data.is_some() {
                return spool.read(id, stored);
            }
            let permit = spool.permit(stored.bytes).await;
            blocking(move || {
                let _permit = permit;
                spool.read(id, stored)
            })
            .await
        };
        read.boxed()
    }

    fn download(&self) -> Promise<'_, Download> {
        let spool = self.spool.clone();
        blocking(move || Ok(Box::new(spool.download()?) as Download)).boxed()
    }

    fn used(&self) -> (u64, u64) {
        self.spool.used()
    }

    fn disk(&self) -> Option<DiskLevels> {
        self.spool.disk()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::suite::kit::{CONFIG, metrics};

    #[actix_rt::test]
    async fn a_store_without_its_writer_reports_that_it_takes_no_tasks() {
        let data_dir = tempfile::tempdir().unwrap();
        let (mut local, _journals) = LocalBackend::open(data_dir.path(), CONFIG, metrics()).unwrap();
        local.writes = mpsc::channel(1).0;
        local.watch().await;
        assert!(matches!(local.trouble(), Some(StoreError::Unavailable(_))));
    }
}
