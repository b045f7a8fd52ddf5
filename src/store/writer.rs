//! The thread that writes: whatever waits for it becomes one transaction.

mod rows;

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::mpsc;

use super::journal::Journals;
use super::spool::{Range, Segments, Spool};
use super::sqlite::file_error;
use super::{Acceptance, Ending, NewRecord, Reply, StoreError};
use crate::audio::facts::AudioFacts;
use crate::metrics::StoreMetrics;
use crate::task::Timestamp;
use crate::task::id::TaskId;
use crate::task::snapshot::Snapshot;
use crate::task::timeline::Timeline;

/// Most writes that share one commit: bounds how long the first of them waits for the last.
const MOST_IN_A_COMMIT: usize = 512;

/// What is written. Each but a mark is answered after the commit.
pub(super) enum Write {
    Accept {
        record: Box<NewRecord>,
        audio: Shared,
        /// Keys from before this moment are free again.
        keys_before: Timestamp,
        reply: Reply<Acceptance>,
    },
    Run {
        id: TaskId,
        timeline: Timeline,
        reply: Reply<()>,
    },
    Mark {
        id: TaskId,
        mark: Mark,
    },
    End {
        id: TaskId,
        ending: Box<Ending>,
        at: Timestamp,
        reply: Reply<Option<Snapshot>>,
    },
    Forget {
        tasks_before: Timestamp,
        chunks_before: Timestamp,
        keys_before: Timestamp,
        reply: Reply<Forgotten>,
    },
}

/// The audio of a new task that shares a segment of the spool.
pub(super) enum Shared {
    /// There is none: it has a file of its own, or is elsewhere.
    Nothing,
    /// It waits to be brought to the disk.
    Text(Bytes),
    /// It is on the disk.
    Kept(Range),
    /// It cannot be.
    Refused(StoreError),
}

impl Shared {
    fn append(&mut self, segments: &mut Segments) {
        if let Self::Text(text) = self {
            *self = segments.append(text).map_or_else(Self::Refused, Self::Kept);
        }
    }

    fn take_back(&mut self, segments: &mut Segments, err: &StoreError) {
        if let Self::Kept(range) = *self {
            segments.give_back(range);
            *self = Self::Refused(Undone::from(err).into());
        }
    }
}

/// What is remembered about a task that runs.
pub(super) enum Mark {
    /// A chunk may have been seen; this has happened so far.
    Published(Timeline),
    /// So far it has come, in percent.
    Progress(u8),
    /// This is its audio.
    Downloaded(AudioFacts),
}

/// What was deleted.
#[derive(Debug, Default)]
pub(super) struct Forgotten {
    pub(super) tasks: usize,
    /// Is there more to delete?
    pub(super) more: bool,
    /// Tasks whose journals go with the commit.
    journals: Vec<TaskId>,
}

/// Why nothing of a transaction stands.
#[derive(Clone)]
enum Undone {
    Full(String),
    Failed(String),
}

impl From<&rusqlite::Error> for Undone {
    fn from(err: &rusqlite::Error) -> Self {
        match err.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full(err.to_string()),
            _ => Self::Failed(err.to_string()),
        }
    }
}

impl From<&StoreError> for Undone {
    fn from(err: &StoreError) -> Self {
        match err {
            StoreError::Full(text) => Self::Full(text.clone()),
            err => Self::Failed(err.to_string()),
        }
    }
}

impl From<Undone> for StoreError {
    fn from(undone: Undone) -> Self {
        match undone {
            Undone::Full(text) => Self::Full(text),
            Undone::Failed(text) => Self::Commit(text),
        }
    }
}

/// The files beside the database.
pub(super) struct Files {
    pub(super) spool: Spool,
    pub(super) segments: Segments,
    pub(super) journals: Journals,
}

/// Says what there is to say once the fate of the transaction is known.
type Answer = Box<dyn FnOnce(Result<(), Undone>, &mut Files)>;

/// Starts the writer; it stops when its queue closes, and lets go of the data directory then.
pub(super) fn start(
    data_dir: &Path,
    mut connection: Connection,
    lock: File,
    mut files: Files,
    metrics: StoreMetrics,
    mut queue: mpsc::Receiver<Write>,
) -> Result<(), StoreError> {
    let run = move || {
        let _lock = lock;
        let mut writes = Vec::new();
        while queue.blocking_recv_many(&mut writes, MOST_IN_A_COMMIT) > 0 {
            let (began, count) = (Instant::now(), writes.len());
            spool_together(&mut files.segments, &mut writes);
            let (answers, fate) = commit_together(&mut connection, writes.drain(..));
            // Before anybody hears of it: who was told of a commit finds it counted.
            metrics.committed(count, began.elapsed(), fate.is_ok());
            for answer in answers {
                answer(fate.clone(), &mut files);
            }
        }
    };
    std::thread::Builder::new()
        .name("store-writer".to_owned())
        .spawn(run)
        .map(|_| ())
        .map_err(file_error(data_dir))
}

/// Brings the small audio of all submits among these writes to the disk. It is there before the commit that refers to
/// it.
fn spool_together(segments: &mut Segments, writes: &mut [Write]) {
    let mut of_all = |change: &mut dyn FnMut(&mut Shared)| {
        for write in &mut *writes {
            if let Write::Accept { audio, .. } = write {
                change(audio);
            }
        }
    };
    of_all(&mut |audio| audio.append(segments));
    if let Err(err) = segments.sync() {
        of_all(&mut |audio| audio.take_back(segments, &err));
    }
}

/// Runs writes in one transaction. One that fails by itself fails alone; when the transaction is undone, all
/// are. Returns the answers, and with what they are to be given.
fn commit_together(
    connection: &mut Connection,
    writes: impl Iterator<Item = Write>,
) -> (Vec<Answer>, Result<(), Undone>) {
    let mut answers: Vec<Answer> = Vec::new();
    let fate = match connection.transaction_with_behavior(TransactionBehavior::Immediate) {
        Ok(mut transaction) => {
            let mut undone = None;
            for write in writes {
                if undone.is_some() {
                    answers.push(write.skip());
                    continue;
                }
                let (answer, error) = write.run(&mut transaction);
                answers.push(answer);
                // A full disk makes SQLite undo the whole transaction by itself; what was run then would be
                // a transaction of its own, and stand although its caller is told that it does not.
                if transaction.is_autocommit() {
                    undone = Some(error.unwrap_or_else(|| Undone::Failed("it was undone".to_owned())));
                }
            }
            match undone {
                Some(undone) => Err(undone),
                None => transaction.commit().map_err(|err| Undone::from(&err)),
            }
        }
        Err(err) => {
            answers.extend(writes.map(Write::skip));
            Err(Undone::from(&err))
        }
    };
    (answers, fate)
}

/// An answer that has nothing to do but to say it.
fn say<T: 'static>(reply: Reply<T>, result: Result<T, StoreError>) -> Answer {
    Box::new(move |fate, _| {
        // Whoever asked may have gone; the write stands.
        let _ = reply.send(fate.map_err(StoreError::from).and(result));
    })
}

/// The answer to a submit: where it does not stand, its range is free again.
fn say_accepted(
    reply: Reply<Acceptance>,
    result: Result<Acceptance, StoreError>,
    range: Option<Range>,
) -> Answer {
    Box::new(move |fate, files| {
        let result = fate.map_err(StoreError::from).and(result);
        if let Some(range) = range.filter(|_| !matches!(result, Ok(Acceptance::Durable))) {
            files.segments.give_back(range);
        }
        let _ = reply.send(result);
    })
}

fn undone<T>(result: &Result<T, StoreError>) -> Option<Undone> {
    result.as_ref().err().map(Undone::from)
}

impl Write {
    /// Runs the statements. The second value is what went wrong, if something did.
    fn run(self, transaction: &mut Transaction<'_>) -> (Answer, Option<Undone>) {
        match self {
            Self::Accept { record, audio, keys_before, reply } => {
                let range = match audio {
                    Shared::Nothing | Shared::Text(_) => None,
                    Shared::Kept(range) => Some(range),
                    Shared::Refused(err) => return (say(reply, Err(err)), None),
                };
                let result = rows::accept(transaction, &record, range, keys_before);
                let error = undone(&result);
                (say_accepted(reply, result, range), error)
            }
            Self::Run { id, timeline, reply } => {
                let result = rows::run(transaction, &id, &timeline);
                let error = undone(&result);
                (say(reply, result), error)
            }
            Self::Mark { id, mark: what } => {
                let result = rows::mark(transaction, &id, &what);
                if let Err(err) = &result {
                    tracing::warn!(task_id = %id, %err, "a task's mark was not written");
                }
                (Box::new(|_, _| ()), undone(&result))
            }
            Self::End { id, ending, at, reply } => {
                let result = rows::end(transaction, &id, &ending, at);
                let error = undone(&result);
                let answer = move |fate: Result<(), Undone>, files: &mut Files| {
                    let result = fate.map_err(StoreError::from).and(result).map(|ended| match ended {
                        rows::Ended::Now(Some(range)) => {
                            files.segments.give_back(range);
                            None
                        }
                        rows::Ended::Now(None) => {
                            files.spool.remove(&id);
                            None
                        }
                        rows::Ended::Before(snapshot) => snapshot,
                    });
                    let _ = reply.send(result);
                };
                (Box::new(answer), error)
            }
            Self::Forget { tasks_before, chunks_before, keys_before, reply } => {
                let result = rows::forget(transaction, tasks_before, chunks_before, keys_before);
                let error = undone(&result);
                let answer = move |fate: Result<(), Undone>, files: &mut Files| {
                    let result = fate.map_err(StoreError::from).and(result);
                    if let Ok(forgotten) = &result {
                        forgotten.journals.iter().for_each(|id| files.journals.remove(id));
                    }
                    let _ = reply.send(result);
                };
                (Box::new(answer), error)
            }
        }
    }

    /// Does nothing but wait for the fate of a transaction that is known to be undone.
    fn skip(self) -> Answer {
        match self {
            Self::Accept { audio: Shared::Kept(range), reply, .. } => {
                say_accepted(reply, Err(StoreError::Stopped), Some(range))
            }
            Self::Accept { reply, .. } => say(reply, Err(StoreError::Stopped)),
            Self::Run { reply, .. } => say(reply, Err(StoreError::Stopped)),
            Self::Mark { .. } => Box::new(|_, _| ()),
            Self::End { reply, .. } => say(reply, Err(StoreError::Stopped)),
            Self::Forget { reply, .. } => say(reply, Err(StoreError::Stopped)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::oneshot;

    use super::*;
    use crate::audio::source::KeptAudio;
    use crate::metrics::Metrics;
    use crate::store::sqlite;
    use crate::task::Task;
    use crate::task::submission::Question;

    fn store_metrics() -> StoreMetrics {
        Metrics::new(std::iter::empty()).unwrap().store
    }

    fn write(prompt: usize) -> (TaskId, Write, oneshot::Receiver<Result<Acceptance, StoreError>>) {
        let created = Timestamp::now();
        let question = Question {
            model: "m".into(),
            prompt: "p".repeat(prompt),
            system_prompt: None,
            max_tokens: None,
            temperature: None,
            reasoning: false,
        };
        let id = TaskId::generate(created.seconds());
        let owner = crate::keys::KeyHash::of("sk-owner");
        let record = Box::new(NewRecord {
            task: Arc::new(Task { id: id.clone(), owner, created, stream: false, question, trace: None }),
            audio: KeptAudio::Url("https://example.com/a.wav".parse().unwrap()),
            audio_facts: AudioFacts::Url { url: "https://example.com/a.wav".into(), sound: None },
            runs: false,
            leashed: false,
            timeline: Timeline::begun(created),
            idempotency: None,
        });
        let (reply, answer) = oneshot::channel();
        (id, Write::Accept { record, audio: Shared::Nothing, keys_before: created, reply }, answer)
    }

    #[test]
    fn of_a_batch_that_fills_the_disk_what_is_said_to_stand_stands_and_nothing_else() {
        let data_dir = tempfile::tempdir().unwrap();
        let mut connection = sqlite::connect(data_dir.path(), true).unwrap();
        let spool = Spool::open(data_dir.path(), 1, true, |_| Ok(true)).unwrap();
        let mut files = Files {
            segments: Segments::open(spool.clone(), &[]).unwrap(),
            spool,
            journals: Journals::open(data_dir.path(), false, store_metrics(), |_| Ok(true)).unwrap(),
        };
        let mut commit_all = |connection: &mut Connection, writes: Vec<Write>| {
            let (answers, fate) = commit_together(connection, writes.into_iter());
            answers.into_iter().for_each(|answer| answer(fate.clone(), &mut files));
        };
        let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        let limit = |connection: &Connection, more: i64| {
            connection
                .query_row(&format!("PRAGMA max_page_count = {}", pages + more), [], |_| Ok(()))
                .unwrap();
        };
        limit(&connection, 10);
        let (tasks, mut refused): (Vec<_>, usize) = ([10, 1 << 20, 10, 10].map(write).into(), 0);
        let mut answers = Vec::new();
        let mut writes = Vec::new();
        for (id, write, answer) in tasks {
            writes.push(write);
            answers.push((id, answer));
        }
        commit_all(&mut connection, writes);
        for (id, mut answer) in answers {
            let stands = match answer.try_recv().unwrap() {
                Ok(_) => true,
                Err(err) => {
                    assert!(matches!(err, StoreError::Full(_)), "{err}");
                    refused += 1;
                    false
                }
            };
            assert_eq!(sqlite::is_unfinished(&connection, &id).unwrap(), stands, "{id}");
        }
        assert!(refused > 0);
        // With room again, all goes on.
        limit(&connection, 10_000);
        let (id, again, mut answer) = write(1 << 20);
        commit_all(&mut connection, vec![again]);
        assert!(answer.try_recv().unwrap().is_ok() && sqlite::is_unfinished(&connection, &id).unwrap());
    }
}
