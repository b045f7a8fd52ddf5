//! The threads that read. Each answers questions on its own connection.
//!
//! Questions about one task and about the API keys have their own threads, so that none of them waits for a list.

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

/// A question, which runs on a reader's thread and sends its answer itself.
type Question = Box<dyn FnOnce(&Reader) + Send>;

/// Most questions of one kind that may wait for a reader. Callers with further questions wait for a place.
const QUEUE: usize = 4096;
/// Threads for each kind of question.
const THREADS: usize = 2;

/// A handle to all readers; cheap to clone. They stop with the last one.
#[derive(Debug, Clone)]
pub(super) struct Readers {
    /// Readers for questions that read one row, or a few small ones.
    pub(super) short: Questions,
    /// Readers for lists.
    pub(super) long: Questions,
}

/// The queue of questions for the readers of one kind.
#[derive(Debug, Clone)]
pub(super) struct Questions(mpsc::Sender<Question>);

impl Readers {
    /// Starts the readers of a data directory, whose files stay open until they have stopped.
    pub(super) fn start(
        data_dir: &Path,
        sync: bool,
        health: &Health,
        files: &Arc<OpenFiles>,
    ) -> Result<Self, StoreError> {
        let start = || {
            let (queue, questions) = mpsc::channel(QUEUE);
            let questions = Arc::new(Mutex::new(questions));
            for _ in 0..THREADS {
                let reader = Reader {
                    connection: sqlite::connect(data_dir, sync)?,
                    health: health.clone(),
                    files: Arc::clone(files),
                };
                let questions = Arc::clone(&questions);
                std::thread::Builder::new()
                    .name("store-reader".to_owned())
                    .spawn(move || {
                        while let Some(question) = next(&questions) {
                            question(&reader);
                        }
                        if reader.health.damage().is_some() {
                            leave_as_is(&reader.connection);
                        }
                    })
                    .map_err(file_error(data_dir))?;
            }
            Ok::<_, StoreError>(Questions(queue))
        };
        Ok(Self { short: start()?, long: start()? })
    }
}

impl Questions {
    /// Sends a question to a reader, and waits for the answer.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let question: Question = Box::new(move |reader| reader.answer(reply, read));
        self.0.send(question).await.map_err(|_| StoreError::Stopped)?;
        answer.await.map_err(|_| StoreError::Stopped)?
    }
}

/// Returns the next question. One thread waits for it; the others wait for that thread.
fn next(questions: &Mutex<mpsc::Receiver<Question>>) -> Option<Question> {
    // A thread that panics does so while it answers, not while it holds this lock.
    questions.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv()
}

/// The resources of one thread. The connection comes first, so that it is closed before the other files.
struct Reader {
    connection: Connection,
    health: Health,
    files: Arc<OpenFiles>,
}

impl Reader {
    /// Answers a question, unless its caller has stopped waiting.
    fn answer<T>(&self, reply: Reply<T>, read: impl FnOnce(&Connection) -> Result<T, StoreError>) {
        if reply.is_closed() {
            return;
        }
        // A damaged database may give wrong answers, for example that a task does not exist.
        let result = match self.health.damage().map_or_else(|| self.files.judge_index(), Err) {
            Ok(()) => read(&self.connection).map_err(|err| self.health.notice(err)),
            Err(trouble) => {
                self.health.alarm(trouble.clone());
                Err(trouble.into())
            }
        };
        let _ = reply.send(result);
    }
}
