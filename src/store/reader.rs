//! The thread that reads: answers questions on a connection of its own.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::journal::Journals;
use super::key_table::{keys, keys_version};
use super::spool::Range;
use super::sqlite::{StoredState, file_error};
use super::{MOST_LISTED_BYTES, Reply, StoreError, Unfinished, Weighed};
use crate::keys::{KeyHash, KeyRecord};
use crate::task::id::TaskId;
use crate::task::idempotency::{Fingerprint, Idempotency, IdempotencyKey};
use crate::task::list::{ListQuery, Page};
use crate::task::recovery::Remains;
use crate::task::request::Request;
use crate::task::snapshot::{Snapshot, State};
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
    Range {
        id: TaskId,
        reply: Reply<Option<Range>>,
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
    pub(super) chunks: usize,
    pub(super) state: State,
    pub(super) ended: Timestamp,
}

/// Starts the reader; it stops when its queue closes.
pub(super) fn start(
    data_dir: &Path,
    connection: Connection,
    journals: Journals,
    mut queue: mpsc::Receiver<Read>,
) -> Result<(), StoreError> {
    let run = move || {
        while let Some(read) = queue.blocking_recv() {
            answer(&connection, &journals, read);
        }
    };
    std::thread::Builder::new()
        .name("store-reader".to_owned())
        .spawn(run)
        .map(|_| ())
        .map_err(file_error(data_dir))
}

/// Whoever asked may have gone: then the answer is nobody's.
fn answer(connection: &Connection, journals: &Journals, read: Read) {
    match read {
        Read::Find { id, owner, ended_after, most_bytes, reply } => {
            let _ = reply.send(find(connection, &id, owner, ended_after, most_bytes));
        }
        Read::Request { id, owner, reply } => {
            let _ = reply.send(request(connection, &id, owner));
        }
        Read::List { owner, query, ended_after, most_bytes, reply } => {
            let _ = reply.send(list(connection, owner, &query, ended_after, most_bytes));
        }
        Read::Stream { id, owner, reply } => {
            let _ = reply.send(stream(connection, &id, owner));
        }
        Read::Submitted { owner, key, created_after, reply } => {
            let _ = reply.send(submitted(connection, owner, key, created_after));
        }
        Read::Range { id, reply } => {
            let _ = reply.send(range_of(connection, &id));
        }
        Read::Unfinished { after, reply } => {
            let _ = reply.send(unfinished(connection, journals, after));
        }
        Read::Keys { reply } => {
            let _ = reply.send(keys_version(connection).and_then(|v| Ok((v, keys(connection)?))));
        }
        Read::KeysVersion { reply } => {
            let _ = reply.send(keys_version(connection));
        }
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
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {WEIGHED_COLUMNS} FROM tasks
         WHERE owner = :owner AND (created_ms, id) < (:before, :after)
         AND (:state IS NULL OR state = :state) AND (ended_ms IS NULL OR ended_ms >= :ended_after)
         ORDER BY created_ms DESC, id DESC"
    ))?;
    let mut rows = statement.query(named_params! {
        ":owner": owner.as_bytes(),
        ":before": before,
        ":after": query.after.as_ref().map_or("", TaskId::as_str),
        ":state": query.status.map(StoredState::from),
        ":ended_after": ended_after,
        ":most_bytes": number(most_bytes),
    })?;
    let mut page = Page { tasks: Vec::new(), has_more: false };
    let mut left = most_bytes;
    while let Some(row) = rows.next()? {
        if page.tasks.len() >= query.limit {
            page.has_more = true;
            break;
        }
        match weighed(row, left)?? {
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

fn stream(connection: &Connection, id: &TaskId, owner: KeyHash) -> Result<Option<StoredStream>, StoreError> {
    let row = connection
        .prepare_cached(
            "SELECT chunks, ended_ms, progress, completion, failure, state FROM tasks
             WHERE id = ?1 AND owner = ?2 AND chunks IS NOT NULL AND ended_ms IS NOT NULL",
        )?
        .query_row(params![id.as_str(), owner.as_bytes()], |row| {
            let chunks = usize::try_from(row.get::<_, i64>(0)?).unwrap_or(usize::MAX);
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

/// Where in the segments the audio of a task is that has not ended.
fn range_of(connection: &Connection, id: &TaskId) -> Result<Option<Range>, StoreError> {
    let found = connection
        .prepare_cached("SELECT range FROM tasks WHERE id = ?1 AND ended_ms IS NULL")?
        .query_row([id.as_str()], |row| row.get::<_, Option<Range>>(0))
        .optional()?;
    Ok(found.flatten())
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
