//! The threads that read from the database. Each has its own connection.
//!
//! Reads of one task and of the API keys have their own threads, so that they do not wait for lists.

mod list;
mod rows;
mod unfinished;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::claim::OpenFiles;
use super::health::Health;
use super::sqlite::{self, file_error, leave_as_is};
use super::{Reply, StoreError};

pub(super) use list::list;
pub(super) use rows::{SNAPSHOT_COLUMNS, blob, find, parse, request, snapshot, stream, submitted};
pub(super) use unfinished::unfinished;

/// A read. It runs on a reader's thread and sends its own result.
type ReadJob = Box<dyn FnOnce(&Reader) + Send>;

/// The most reads of one kind that may wait for a thread. When that many wait, further callers wait.
const QUEUE: usize = 4096;
/// Threads for each kind of read.
const THREADS: usize = 2;

/// A handle to all readers; cheap to clone. They stop with the last one.
#[derive(Debug, Clone)]
pub(super) struct Readers {
    /// Threads for reads of one row, or of a few small ones.
    pub(super) short: ReadQueue,
    /// Threads for lists.
    pub(super) long: ReadQueue,
}

/// The queue of reads of one kind.
#[derive(Debug, Clone)]
pub(super) struct ReadQueue(mpsc::Sender<ReadJob>);

impl Readers {
    /// Starts the readers of a data directory, whose files stay open until they have stopped.
    pub(super) fn start(
        data_dir: &Path,
        sync: bool,
        health: &Health,
        files: &Arc<OpenFiles>,
    ) -> Result<Self, StoreError> {
        let start = || {
            let (queue, reads) = mpsc::channel(QUEUE);
            let reads = Arc::new(Mutex::new(reads));
            for _ in 0..THREADS {
                let reader = Reader {
                    connection: sqlite::connect(data_dir, sync)?,
                    health: health.clone(),
                    files: Arc::clone(files),
                };
                let reads = Arc::clone(&reads);
                std::thread::Builder::new()
                    .name("store-reader".to_owned())
                    .spawn(move || {
                        while let Some(job) = next(&reads) {
                            job(&reader);
                        }
                        if reader.health.damage().is_some() {
                            leave_as_is(&reader.connection);
                        }
                    })
                    .map_err(file_error(data_dir))?;
            }
            Ok::<_, StoreError>(ReadQueue(queue))
        };
        Ok(Self { short: start()?, long: start()? })
    }
}

impl ReadQueue {
    /// Runs a read on a reader's thread, and waits for its result.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job: ReadJob = Box::new(move |reader| reader.answer(reply, read));
        self.0.send(job).await.map_err(|_| StoreError::Stopped)?;
        answer.await.map_err(|_| StoreError::Stopped)?
    }
}

/// Returns the next read. One thread waits for it; the others wait for that thread.
fn next(reads: &Mutex<mpsc::Receiver<ReadJob>>) -> Option<ReadJob> {
    // A panic happens only while a read runs, never while this lock is held.
    reads.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv()
}

/// The resources of one thread. The connection comes first, so that it is closed before the other files.
struct Reader {
    connection: Connection,
    health: Health,
    files: Arc<OpenFiles>,
}

impl Reader {
    /// Runs a read and sends its result, unless the caller has stopped waiting.
    fn answer<T>(&self, reply: Reply<T>, read: impl FnOnce(&Connection) -> Result<T, StoreError>) {
        if reply.is_closed() {
            return;
        }
        // A damaged database may give wrong answers, for example that a task does not exist.
        let result = match self.health.damage().map_or_else(|| self.files.check_index(), Err) {
            Ok(()) => read(&self.connection).map_err(|err| self.health.record_read_error(err)),
            Err(trouble) => {
                self.health.set_trouble(trouble.clone());
                Err(trouble.into())
            }
        };
        let _ = reply.send(result);
    }
}
