//! The thread that writes: whatever waits for it becomes one transaction.

mod rows;

use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::mpsc;

use super::health::{Health, Trouble};
use super::journal::Journals;
use super::place::Place;
use super::spool::{AtRest, Range, Segments, Spool};
use super::sqlite::file_error;
use super::tally::{self, Tally};
use super::{Acceptance, Ending, NewRecord, Reply, StoreError};
use crate::audio::facts::AudioFacts;
use crate::keys::KeyHash;
use crate::metrics::StoreMetrics;
use crate::task::Timestamp;
use crate::task::id::TaskId;
use crate::task::idempotency::IdempotencyKey;
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
    /// Nothing but the commit, which shows whether the disk can be written to.
    Probe,
    Forget {
        tasks_before: Timestamp,
        chunks_before: Timestamp,
        keys_before: Timestamp,
        reply: Reply<Forgotten>,
    },
}

/// The audio of a new task, as far as the spool has it.
pub(super) enum Shared {
    /// There is none here.
    Nothing,
    /// It is on the disk, in a file of its own, and has this checksum.
    Own(u32),
    /// It waits to be brought to the disk.
    Text(Bytes),
    /// It is on the disk, in a segment.
    Kept(Range, u32),
    /// It cannot be.
    Refused(StoreError),
}

impl Shared {
    fn append(&mut self, segments: &mut Segments) {
        if let Self::Text(text) = self {
            let sum = crc32fast::hash(text);
            *self = segments.append(text).map_or_else(Self::Refused, |range| Self::Kept(range, sum));
        }
    }

    fn take_back(&mut self, segments: &mut Segments, err: &StoreError) {
        if let Self::Kept(range, _) = *self {
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
#[derive(Debug, Clone)]
enum Undone {
    Full(String),
    Corrupt(String),
    /// It was not begun: the files are not those that were opened.
    Misplaced(String),
    Failed(String),
}

impl From<rusqlite::Error> for Undone {
    fn from(err: rusqlite::Error) -> Self {
        Self::from(&StoreError::from(err))
    }
}

impl From<&StoreError> for Undone {
    fn from(err: &StoreError) -> Self {
        match err {
            StoreError::Full(text) => Self::Full(text.clone()),
            StoreError::Corrupt(text) => Self::Corrupt(text.clone()),
            err => Self::Failed(err.to_string()),
        }
    }
}

impl From<Undone> for StoreError {
    fn from(undone: Undone) -> Self {
        match undone {
            Undone::Full(text) => Self::Full(text),
            Undone::Corrupt(text) => Self::Corrupt(text),
            Undone::Misplaced(text) => Self::Unavailable(text),
            Undone::Failed(text) => Self::Commit(text),
        }
    }
}

impl From<Undone> for Trouble {
    fn from(undone: Undone) -> Self {
        match undone {
            Undone::Full(text) => Self::Full(text),
            Undone::Corrupt(text) => Self::Damaged(text),
            Undone::Misplaced(text) | Undone::Failed(text) => Self::Unusable(text),
        }
    }
}

/// The files beside the database.
pub(super) struct Files {
    pub(super) spool: Spool,
    pub(super) segments: Segments,
    pub(super) journals: Journals,
    /// Tasks that stand although their caller has given up, and was told that they do not.
    pub(super) withdrawn: Vec<Withdrawn>,
}

/// A task that is to be deleted as if it had never been.
#[derive(Debug)]
pub(super) struct Withdrawn {
    id: TaskId,
    key: Option<(KeyHash, IdempotencyKey)>,
}

/// What the writer keeps an eye on beside its transactions.
pub(super) struct Keeping {
    pub(super) place: Place,
    pub(super) health: Health,
    pub(super) tally: Tally,
    pub(super) metrics: StoreMetrics,
}

/// Says what there is to say once the fate of the transaction is known.
type Answer = Box<dyn FnOnce(Result<(), Undone>, &mut Files)>;

/// Starts the writer; it stops when its queue closes, and lets go of the data directory then.
pub(super) fn start(
    data_dir: &Path,
    mut connection: Connection,
    mut files: Files,
    mut keeping: Keeping,
    mut queue: mpsc::Receiver<Write>,
) -> Result<(), StoreError> {
    let run = move || {
        let mut writes = Vec::new();
        // What the last probe has found.
        let mut is_disk_low = false;
        while queue.blocking_recv_many(&mut writes, MOST_IN_A_COMMIT) > 0 {
            let (began, count) = (Instant::now(), writes.len());
            keeping.health.begin();
            if writes.iter().any(|write| matches!(write, Write::Probe)) {
                is_disk_low = files.spool.is_disk_low();
            }
            let withdrawn = std::mem::take(&mut files.withdrawn);
            let (answers, fate) = match keeping.place.judge() {
                Ok(()) => {
                    spool_together(&mut files.segments, &mut writes);
                    commit_together(&mut connection, writes.drain(..), &withdrawn, &keeping.health)
                }
                Err(misplaced) => {
                    (writes.drain(..).map(Write::skip).collect(), Err(Undone::Misplaced(misplaced)))
                }
            };
            // Before a caller hears of it: one that was told of a commit finds it counted.
            keeping.metrics.committed(count, began.elapsed(), fate.is_ok());
            let fate = match fate {
                Ok(commits) => {
                    keeping.tally.write(commits);
                    Ok(())
                }
                Err(undone) => {
                    files.withdrawn = withdrawn;
                    Err(undone)
                }
            };
            keeping.health.end(match &fate {
                Ok(()) => is_disk_low.then(|| Trouble::Full("the disk is full".to_owned())),
                Err(undone) => Some(undone.clone().into()),
            });
            for answer in answers {
                answer(fate.clone(), &mut files);
            }
        }
        // First: what locks the directory is closed after what uses it.
        drop(connection);
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
/// are. Returns the answers, and with what they are to be given: the number of the commit, or why there is none.
fn commit_together(
    connection: &mut Connection,
    writes: impl Iterator<Item = Write>,
    withdrawn: &[Withdrawn],
    health: &Health,
) -> (Vec<Answer>, Result<i64, Undone>) {
    let mut answers: Vec<Answer> = Vec::new();
    let fate = match connection.transaction_with_behavior(TransactionBehavior::Immediate) {
        Ok(mut transaction) => {
            let mut undone = withdraw_all(&transaction, withdrawn).err();
            for write in writes {
                if undone.is_some() {
                    answers.push(write.skip());
                    continue;
                }
                let (answer, error) = write.run(&mut transaction);
                answers.push(answer);
                if let Some(Undone::Corrupt(what)) = &error {
                    health.damaged(what);
                }
                // A full disk makes SQLite undo the whole transaction by itself; what was run then would be
                // a transaction of its own, and stand although its caller is told that it does not.
                if transaction.is_autocommit() {
                    undone = Some(error.unwrap_or_else(|| Undone::Failed("it was undone".to_owned())));
                }
            }
            match undone {
                Some(undone) => Err(undone),
                None => commit(transaction).map_err(Undone::from),
            }
        }
        Err(err) => {
            answers.extend(writes.map(Write::skip));
            Err(Undone::from(err))
        }
    };
    (answers, fate)
}

fn commit(transaction: Transaction<'_>) -> rusqlite::Result<i64> {
    let number = tally::count(&transaction)?;
    transaction.commit()?;
    Ok(number)
}

fn withdraw_all(transaction: &Transaction<'_>, withdrawn: &[Withdrawn]) -> Result<(), Undone> {
    for Withdrawn { id, key } in withdrawn {
        tracing::warn!(task_id = %id, "a task is withdrawn that was recorded after its caller had given up");
        rows::withdraw(transaction, id, key.as_ref()).map_err(|err| Undone::from(&err))?;
    }
    Ok(())
}

/// An answer that has nothing to do but to say it.
fn say<T: 'static>(reply: Reply<T>, result: Result<T, StoreError>) -> Answer {
    Box::new(move |fate, _| {
        // Whoever asked may have gone; the write stands.
        let _ = reply.send(fate.map_err(StoreError::from).and(result));
    })
}

/// The answer to a submit: where it does not stand, its range is free again. Where it stands and the caller has given up,
/// the task is withdrawn.
fn say_accepted(
    reply: Reply<Acceptance>,
    result: Result<Acceptance, StoreError>,
    range: Option<Range>,
    if_vain: Option<Withdrawn>,
) -> Answer {
    Box::new(move |fate, files| {
        let result = fate.map_err(StoreError::from).and(result);
        let stands = matches!(result, Ok(Acceptance::Durable));
        let free = |files: &mut Files| range.into_iter().for_each(|range| files.segments.give_back(range));
        if !stands {
            free(files);
        }
        if reply.send(result).is_err() && stands {
            free(files);
            files.withdrawn.extend(if_vain);
        }
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
                let (range, sum) = match audio {
                    Shared::Nothing | Shared::Text(_) => (None, None),
                    Shared::Own(sum) => (None, Some(sum)),
                    Shared::Kept(range, sum) => (Some(range), Some(sum)),
                    Shared::Refused(err) => return (say(reply, Err(err)), None),
                };
                let result = rows::accept(transaction, &record, AtRest { range, sum }, keys_before);
                let error = undone(&result);
                let NewRecord { task, idempotency, .. } = *record;
                let key = idempotency.map(|idempotency| (task.owner, idempotency.key));
                let withdrawn = Withdrawn { id: task.id.clone(), key };
                (say_accepted(reply, result, range, Some(withdrawn)), error)
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
            Self::Probe => (Box::new(|_, _| ()), None),
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
            Self::Accept { audio: Shared::Kept(range, _), reply, .. } => {
                say_accepted(reply, Err(StoreError::Stopped), Some(range), None)
            }
            Self::Accept { reply, .. } => say(reply, Err(StoreError::Stopped)),
            Self::Run { reply, .. } => say(reply, Err(StoreError::Stopped)),
            Self::Mark { .. } | Self::Probe => Box::new(|_, _| ()),
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
    use crate::store::place::make_database;
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
    fn a_task_whose_caller_has_given_up_is_withdrawn() {
        let data_dir = tempfile::tempdir().unwrap();
        drop(make_database(data_dir.path()).unwrap());
        let mut connection = sqlite::connect(data_dir.path(), true).unwrap();
        let spool = Spool::open(data_dir.path(), 1, true, |_| Ok(true)).unwrap();
        let mut files = Files {
            segments: Segments::open(spool.clone(), &[]).unwrap(),
            spool,
            journals: Journals::open(
                data_dir.path(),
                false,
                store_metrics(),
                Health::new(data_dir.path()),
                |_| Ok(true),
            )
            .unwrap(),
            withdrawn: Vec::new(),
        };
        let health = Health::new(data_dir.path());
        let (id, write, answer) = write(10);
        let (answers, fate) = commit_together(&mut connection, std::iter::once(write), &[], &health);
        drop(answer);
        let fate = fate.map(drop);
        answers.into_iter().for_each(|answer| answer(fate.clone(), &mut files));
        assert!(sqlite::is_unfinished(&connection, &id).unwrap());
        let withdrawn = std::mem::take(&mut files.withdrawn);
        let probe = std::iter::once(Write::Probe);
        commit_together(&mut connection, probe, &withdrawn, &health).1.unwrap();
        assert!(!sqlite::is_unfinished(&connection, &id).unwrap());
    }

    #[test]
    fn of_a_batch_that_fills_the_disk_what_is_said_to_stand_stands_and_nothing_else() {
        let data_dir = tempfile::tempdir().unwrap();
        drop(make_database(data_dir.path()).unwrap());
        let mut connection = sqlite::connect(data_dir.path(), true).unwrap();
        let spool = Spool::open(data_dir.path(), 1, true, |_| Ok(true)).unwrap();
        let mut files = Files {
            segments: Segments::open(spool.clone(), &[]).unwrap(),
            spool,
            journals: Journals::open(
                data_dir.path(),
                false,
                store_metrics(),
                Health::new(data_dir.path()),
                |_| Ok(true),
            )
            .unwrap(),
            withdrawn: Vec::new(),
        };
        let health = Health::new(data_dir.path());
        let mut commit_all = |connection: &mut Connection, writes: Vec<Write>| {
            let (answers, fate) = commit_together(connection, writes.into_iter(), &[], &health);
            let fate = fate.map(drop);
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
