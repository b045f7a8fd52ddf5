//! The threads that read: each answers questions on a connection of its own.
//!
//! Questions about one task and about the API keys have threads of their own, so that none of them waits for a list.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::health::Health;
use super::journal::Journals;
use super::key_table::{keys, keys_version};
use super::place::Claim;
use super::spool::AtRest;
use super::sqlite::{self, StoredState, file_error};
use super::{Chunks, MOST_LISTED_BYTES, Reply, StoreError, Unfinished, Weighed};
use crate::keys::{KeyHash, KeyRecord};
use crate::task::id::TaskId;
use crate::task::idempotency::{Fingerprint, Idempotency, IdempotencyKey};
use crate::task::list::{ListQuery, Page};
use crate::task::recovery::Remains;
use crate::task::request::Request;
use crate::task::snapshot::{Snapshot, State, Status};
use crate::task::submission::Question;
use crate::task::timeline::Timeline;
use crate::task::{Task, Timestamp};

/// Unfinished tasks that are read in one go.
const MOST_UNFINISHED: i64 = 256;

/// What is asked.
pub(super) enum Read {
    Find {
        id: TaskId,
        owner: KeyHash,
        ended_after: Timestamp,
        most_bytes: usize,
        reply: Reply<Option<Weighed<Snapshot>>>,
    },
    Request {
        id: TaskId,
        owner: KeyHash,
        reply: Reply<Option<Request>>,
    },
    List {
        owner: KeyHash,
        query: ListQuery,
        ended_after: Timestamp,
        most_bytes: usize,
        reply: Reply<Option<Weighed<Page>>>,
    },
    Stream {
        id: TaskId,
        owner: KeyHash,
        reply: Reply<Option<StoredStream>>,
    },
    Submitted {
        owner: KeyHash,
        key: IdempotencyKey,
        created_after: Timestamp,
        reply: Reply<Option<(TaskId, Idempotency)>>,
    },
    Audio {
        id: TaskId,
        reply: Reply<AtRest>,
    },
    Unfinished {
        after: Option<(Timestamp, TaskId)>,
        reply: Reply<Vec<Unfinished>>,
    },
    Keys {
        reply: Reply<(i64, Vec<KeyRecord>)>,
    },
    KeysVersion {
        reply: Reply<i64>,
    },
}

/// What the row says about the stream of an ended task.
pub(super) struct StoredStream {
    pub(super) chunks: Chunks,
    pub(super) state: State,
    pub(super) ended: Timestamp,
}

/// Reads of a kind that may wait for a reader; beyond, callers wait.
const QUEUE: usize = 4096;
/// Threads for each kind of question.
const THREADS: usize = 2;

/// A handle to all readers; cheap to clone. They stop with the last one.
#[derive(Debug, Clone)]
pub(super) struct Readers {
    /// For what reads one row, or a few small ones.
    short: mpsc::Sender<Read>,
    /// For lists.
    long: mpsc::Sender<Read>,
}

impl Readers {
    /// Starts the readers of a data directory, which is claimed until they have stopped.
    pub(super) fn start(
        data_dir: &Path,
        sync: bool,
        journals: &Journals,
        health: &Health,
        claim: &Arc<Claim>,
    ) -> Result<Self, StoreError> {
        let start = || {
            let (queue, reads) = mpsc::channel(QUEUE);
            let reads = Arc::new(Mutex::new(reads));
            for _ in 0..THREADS {
                let reader = Reader {
                    connection: sqlite::connect(data_dir, sync)?,
                    journals: journals.clone(),
                    health: health.clone(),
                    _claim: Arc::clone(claim),
                };
                let reads = Arc::clone(&reads);
                std::thread::Builder::new()
                    .name("store-reader".to_owned())
                    .spawn(move || {
                        while let Some(read) = next(&reads) {
                            reader.answer(read);
                        }
                    })
                    .map_err(file_error(data_dir))?;
            }
            Ok::<_, StoreError>(queue)
        };
        Ok(Self { short: start()?, long: start()? })
    }

    /// Hands a question to a reader.
    pub(super) async fn ask(&self, read: Read) -> Result<(), StoreError> {
        let readers = match &read {
            Read::List { .. } | Read::Unfinished { .. } => &self.long,
            _ => &self.short,
        };
        readers.send(read).await.map_err(|_| StoreError::Stopped)
    }
}

/// The next question. One thread waits for it; the others wait for that thread.
fn next(reads: &Mutex<mpsc::Receiver<Read>>) -> Option<Read> {
    // A thread that panics does so while it answers, not here.
    reads.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv()
}

/// One thread's means. The connection comes first, so that it is closed before the claim is given up.
struct Reader {
    connection: Connection,
    journals: Journals,
    health: Health,
    _claim: Arc<Claim>,
}

impl Reader {
    /// Answers, unless the one that asked has gone.
    fn answer(&self, read: Read) {
        let connection = &self.connection;
        match read {
            Read::Find { id, owner, ended_after, most_bytes, reply } => {
                self.say(reply, || find(connection, &id, owner, ended_after, most_bytes));
            }
            Read::Request { id, owner, reply } => self.say(reply, || request(connection, &id, owner)),
            Read::List { owner, query, ended_after, most_bytes, reply } => {
                self.say(reply, || list(connection, owner, &query, ended_after, most_bytes));
            }
            Read::Stream { id, owner, reply } => self.say(reply, || stream(connection, &id, owner)),
            Read::Submitted { owner, key, created_after, reply } => {
                self.say(reply, || submitted(connection, owner, key, created_after));
            }
            Read::Audio { id, reply } => self.say(reply, || audio_of(connection, &id)),
            Read::Unfinished { after, reply } => {
                self.say(reply, || unfinished(connection, &self.journals, after));
            }
            Read::Keys { reply } => {
                self.say(reply, || keys_version(connection).and_then(|v| Ok((v, keys(connection)?))));
            }
            Read::KeysVersion { reply } => self.say(reply, || keys_version(connection)),
        }
    }

    fn say<T>(&self, reply: Reply<T>, read: impl FnOnce() -> Result<T, StoreError>) {
        if reply.is_closed() {
            return;
        }
        let result = read();
        self.health.notice(&result);
        let _ = reply.send(result);
    }
}

fn damaged(id: &str) -> impl Fn(serde_json::Error) -> StoreError {
    move |err| StoreError::Damaged(format!("{id}: {err}"))
}

fn parse<T: DeserializeOwned>(id: &str, json: &str) -> Result<T, StoreError> {
    serde_json::from_str(json).map_err(damaged(id))
}

/// What [`snapshot`] reads, in its order.
pub(super) const SNAPSHOT_COLUMNS: &str =
    "id, created_ms, stream, question, progress, completion, failure, timeline, state";

/// Reads a task as clients see it. What is damaged is the inner error.
pub(super) fn snapshot(row: &Row<'_>) -> rusqlite::Result<Result<Snapshot, StoreError>> {
    let id: String = row.get(0)?;
    let created: Timestamp = row.get(1)?;
    let stream = row.get(2)?;
    let question: String = row.get(3)?;
    let progress = row.get(4)?;
    let completion: Option<String> = row.get(5)?;
    let failure: Option<String> = row.get(6)?;
    let timeline: Option<String> = row.get(7)?;
    let stored: StoredState = row.get(8)?;
    let make = || {
        Ok(Snapshot {
            model: parse::<Question>(&id, &question)?.model,
            created: created.seconds(),
            stream,
            state: state(&id, stored, progress, completion, failure)?,
            timeline: match &timeline {
                Some(timeline) => parse(&id, timeline)?,
                None => Timeline::begun(created),
            },
            id: id.parse().map_err(|_| StoreError::Damaged(format!("{id} is no task id")))?,
        })
    };
    Ok(make())
}

fn state(
    id: &str,
    stored: StoredState,
    progress: u8,
    completion: Option<String>,
    failure: Option<String>,
) -> Result<State, StoreError> {
    Ok(match (completion, failure) {
        (Some(completion), _) => {
            State::Completed { completion: RawValue::from_string(completion).map_err(damaged(id))?.into() }
        }
        (None, Some(failure)) => State::Failed { failure: parse(id, &failure)?, progress },
        (None, None) if stored == StoredState::Pending => State::Pending,
        (None, None) => State::Processing { progress },
    })
}

/// What [`weighed`] reads: the columns of a snapshot, the result only where it has at most `:most_bytes`, and behind
/// them its bytes, which SQLite knows without reading it.
const WEIGHED_COLUMNS: &str = "id, created_ms, stream, question, progress,
    CASE WHEN octet_length(completion) <= :most_bytes THEN completion END, failure, timeline, state,
    coalesce(octet_length(completion), 0)";

/// Reads a task whose result has at most so many bytes, or only tells how many it has.
fn weighed(row: &Row<'_>, most_bytes: usize) -> rusqlite::Result<Result<Weighed<Snapshot>, StoreError>> {
    let bytes = usize::try_from(row.get::<_, i64>(9)?).unwrap_or(usize::MAX);
    if bytes > most_bytes {
        return Ok(Ok(Weighed::Heavy(bytes)));
    }
    Ok(snapshot(row)?.map(Weighed::Light))
}

fn number(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn find(
    connection: &Connection,
    id: &TaskId,
    owner: KeyHash,
    ended_after: Timestamp,
    most_bytes: usize,
) -> Result<Option<Weighed<Snapshot>>, StoreError> {
    connection
        .prepare_cached(&format!(
            "SELECT {WEIGHED_COLUMNS} FROM tasks
             WHERE id = :id AND owner = :owner AND (ended_ms IS NULL OR ended_ms >= :ended_after)"
        ))?
        .query_row(
            named_params! {
                ":id": id.as_str(),
                ":owner": owner.as_bytes(),
                ":ended_after": ended_after,
                ":most_bytes": number(most_bytes),
            },
            |row| weighed(row, most_bytes),
        )
        .optional()?
        .transpose()
}

fn request(connection: &Connection, id: &TaskId, owner: KeyHash) -> Result<Option<Request>, StoreError> {
    let row = connection
        .prepare_cached("SELECT question, stream, audio_facts FROM tasks WHERE id = ?1 AND owner = ?2")?
        .query_row(params![id.as_str(), owner.as_bytes()], |row| {
            Ok((row.get::<_, String>(0)?, row.get(1)?, row.get::<_, Option<String>>(2)?))
        })
        .optional()?;
    let Some((question, stream, facts)) = row else { return Ok(None) };
    Ok(Some(Request {
        question: parse(id.as_str(), &question)?,
        stream,
        audio: facts.map(|facts| parse(id.as_str(), &facts)).transpose()?,
    }))
}

/// The tasks of a page, whose results together have at most so many bytes. Where there are more, a page that holds a
/// task and may have [`MOST_LISTED_BYTES`] ends before them. Any other is [`Weighed::Heavy`] with the bytes to ask for.
fn list(
    connection: &Connection,
    owner: KeyHash,
    query: &ListQuery,
    ended_after: Timestamp,
    most_bytes: usize,
) -> Result<Option<Weighed<Page>>, StoreError> {
    let before = match &query.after {
        None => Timestamp(u64::MAX),
        Some(id) => {
            let created = connection
                .prepare_cached("SELECT created_ms FROM tasks WHERE id = ?1 AND owner = ?2")?
                .query_row(params![id.as_str(), owner.as_bytes()], |row| row.get(0))
                .optional()?;
            let Some(created) = created else { return Ok(None) };
            created
        }
    };
    let found = listed(connection, owner, query, before, ended_after)?;
    let mut statement =
        connection.prepare_cached(&format!("SELECT {WEIGHED_COLUMNS} FROM tasks WHERE id = :id"))?;
    let mut page = Page { tasks: Vec::new(), has_more: false };
    let mut left = most_bytes;
    for (_, id) in found {
        if page.tasks.len() >= query.limit {
            page.has_more = true;
            break;
        }
        let values = named_params! { ":id": id, ":most_bytes": number(most_bytes) };
        // A task that was deleted meanwhile is not listed.
        let Some(task) = statement.query_row(values, |row| weighed(row, left)).optional()? else { continue };
        match task? {
            Weighed::Light(task) => {
                left -= task.weight();
                page.tasks.push(task);
            }
            Weighed::Heavy(_) if most_bytes >= MOST_LISTED_BYTES && !page.tasks.is_empty() => {
                page.has_more = true;
                break;
            }
            Weighed::Heavy(bytes) if page.tasks.is_empty() => return Ok(Some(Weighed::Heavy(bytes))),
            Weighed::Heavy(_) => return Ok(Some(Weighed::Heavy(MOST_LISTED_BYTES))),
        }
    }
    Ok(Some(Weighed::Light(page)))
}

/// Finds the tasks of a page among those of one state. The index has all that is asked here, in this order: as many
/// entries are looked at as are wanted, and those that are hidden until a sweep deletes them.
const LISTED: &str = "SELECT created_ms, id FROM tasks
     WHERE owner = :owner AND state = :state AND (created_ms, id) < (:before, :after)
     AND (ended_ms IS NULL OR ended_ms >= :ended_after)
     ORDER BY created_ms DESC, id DESC LIMIT :limit";

/// The ids of the tasks that a page may have, and of one more, the newest first.
fn listed(
    connection: &Connection,
    owner: KeyHash,
    query: &ListQuery,
    before: Timestamp,
    ended_after: Timestamp,
) -> Result<Vec<(Timestamp, String)>, StoreError> {
    let wanted = query.limit + 1;
    let mut statement = connection.prepare_cached(LISTED)?;
    let mut found = Vec::new();
    for status in Status::ALL.into_iter().filter(|status| query.status.is_none_or(|wanted| wanted == *status))
    {
        let rows = statement.query_map(
            named_params! {
                ":owner": owner.as_bytes(),
                ":state": StoredState::from(status),
                ":before": before,
                ":after": query.after.as_ref().map_or("", TaskId::as_str),
                ":ended_after": ended_after,
                ":limit": i64::try_from(wanted).unwrap_or(i64::MAX),
            },
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        for row in rows {
            found.push(row?);
        }
    }
    found.sort_unstable_by(|one: &(Timestamp, String), other| other.cmp(one));
    found.truncate(wanted);
    Ok(found)
}

fn stream(connection: &Connection, id: &TaskId, owner: KeyHash) -> Result<Option<StoredStream>, StoreError> {
    let row = connection
        .prepare_cached(
            "SELECT chunks, ended_ms, progress, completion, failure, state, chunks_sum FROM tasks
             WHERE id = ?1 AND owner = ?2 AND chunks IS NOT NULL AND ended_ms IS NOT NULL",
        )?
        .query_row(params![id.as_str(), owner.as_bytes()], |row| {
            let count = usize::try_from(row.get::<_, i64>(0)?).unwrap_or(usize::MAX);
            let chunks = Chunks { count, sum: row.get(6)? };
            let state = state(id.as_str(), row.get(5)?, row.get(2)?, row.get(3)?, row.get(4)?);
            Ok((chunks, row.get(1)?, state))
        })
        .optional()?;
    row.map(|(chunks, ended, state)| Ok(StoredStream { chunks, state: state?, ended })).transpose()
}

fn submitted(
    connection: &Connection,
    owner: KeyHash,
    key: IdempotencyKey,
    created_after: Timestamp,
) -> Result<Option<(TaskId, Idempotency)>, StoreError> {
    let row = connection
        .prepare_cached(
            "SELECT task, fingerprint FROM idempotency WHERE owner = ?1 AND key = ?2 AND created_ms >= ?3",
        )?
        .query_row(params![owner.as_bytes(), key.as_str(), created_after], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?))
        })
        .optional()?;
    let Some((task, fingerprint)) = row else { return Ok(None) };
    let fingerprint = Fingerprint::from_bytes(&fingerprint);
    match (task.parse(), fingerprint) {
        (Ok(task), Some(fingerprint)) => Ok(Some((task, Idempotency { key, fingerprint }))),
        _ => Err(StoreError::Damaged(format!("the idempotency key of {task}"))),
    }
}

/// Where the audio of a task is that has not ended.
fn audio_of(connection: &Connection, id: &TaskId) -> Result<AtRest, StoreError> {
    let found = connection
        .prepare_cached("SELECT range, audio_sum FROM tasks WHERE id = ?1 AND ended_ms IS NULL")?
        .query_row([id.as_str()], |row| Ok(AtRest { range: row.get(0)?, sum: row.get(1)? }))
        .optional()?;
    Ok(found.unwrap_or_default())
}

fn unfinished(
    connection: &Connection,
    journals: &Journals,
    after: Option<(Timestamp, TaskId)>,
) -> Result<Vec<Unfinished>, StoreError> {
    let mut last = after.map_or((Timestamp(0), String::new()), |(at, id)| (at, id.to_string()));
    let mut statement = connection.prepare_cached(
        "SELECT id, owner, created_ms, stream, question, audio, runs, published, leashed, progress, timeline,
         trace FROM tasks WHERE ended_ms IS NULL AND (created_ms, id) > (?1, ?2)
         ORDER BY created_ms, id LIMIT ?3",
    )?;
    loop {
        let mut rows = statement.query(params![last.0, last.1, MOST_UNFINISHED])?;
        let (mut tasks, mut are_there_more) = (Vec::new(), false);
        while let Some(row) = rows.next()? {
            are_there_more = true;
            last = (row.get(2)?, row.get(0)?);
            // One that is damaged must not keep the others from running.
            match unfinished_task(row, journals) {
                Ok(task) => tasks.push(task),
                Err(err) => tracing::error!(%err, "an unfinished task cannot be read and stays where it is"),
            }
        }
        // Nothing at all would say that there are no more, where there are only damaged ones.
        if !tasks.is_empty() || !are_there_more {
            return Ok(tasks);
        }
    }
}

fn unfinished_task(row: &Row<'_>, journals: &Journals) -> Result<Unfinished, StoreError> {
    let text: String = row.get(0)?;
    let wrong = |what: &str| StoreError::Damaged(format!("{text}: {what}"));
    let id: TaskId = text.parse().map_err(|_| wrong("no task id"))?;
    let owner: Vec<u8> = row.get(1)?;
    let created = row.get(2)?;
    let question: String = row.get(4)?;
    let audio: Option<String> = row.get(5)?;
    let published: bool = row.get(7)?;
    let timeline: Option<String> = row.get(10)?;
    let trace: Option<String> = row.get(11)?;
    Ok(Unfinished {
        audio: audio.map(|audio| parse(&text, &audio)).transpose()?,
        remains: Remains {
            runs: row.get(6)?,
            published: published || journals.exists(&id),
            leashed: row.get(8)?,
        },
        progress: row.get(9)?,
        timeline: match timeline {
            Some(timeline) => parse(&text, &timeline)?,
            None => Timeline::begun(created),
        },
        task: Task {
            owner: KeyHash::from_bytes(&owner).ok_or_else(|| wrong("no owner"))?,
            created,
            stream: row.get(3)?,
            question: parse(&text, &question)?,
            trace: trace.map(|trace| parse(&text, &trace)).transpose()?,
            id,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::place::make_database;

    #[test]
    fn a_list_is_found_in_the_index_alone() {
        let data_dir = tempfile::tempdir().unwrap();
        drop(make_database(data_dir.path()).unwrap());
        let connection = sqlite::connect(data_dir.path(), true).unwrap();
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {LISTED}")).unwrap();
        let values = named_params! {
            ":owner": [0_u8; 32], ":state": 3, ":before": 1, ":after": "", ":ended_after": 0, ":limit": 1,
        };
        let steps = statement.query_map(values, |row| row.get(3)).unwrap();
        let steps: Vec<String> = steps.collect::<Result<_, _>>().unwrap();
        // Neither another step, such as a sort, nor a look at the table.
        let [step] = &steps[..] else { panic!("{steps:?}") };
        let index = "SEARCH tasks USING COVERING INDEX tasks_by_owner (owner=? AND state=? AND ";
        assert!(step.starts_with(index), "{step}");
    }
}
