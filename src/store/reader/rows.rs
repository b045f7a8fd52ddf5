//! The reads of one task: its state as clients see it, its request, its stream, its audio.

use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use serde::de::DeserializeOwned;

use crate::audio::BlobId;
use crate::secret::KeyHash;
use crate::store::records::StoredStream;
use crate::store::spool::StoredBlob;
use crate::store::sqlite::StoredState;
use crate::store::{StoreError, Weighed};
use crate::task::{
    Chunks, Completion, Fingerprint, Idempotency, IdempotencyKey, Question, Request, Snapshot, State, TaskId,
    Timestamp,
};

fn damaged(id: &str) -> impl Fn(serde_json::Error) -> StoreError {
    move |err| StoreError::Damaged(format!("{id}: {err}"))
}

pub(in crate::store) fn parse<T: DeserializeOwned>(id: &str, json: &str) -> Result<T, StoreError> {
    serde_json::from_str(json).map_err(damaged(id))
}

/// The columns that [`snapshot`] reads, in its order.
pub(in crate::store) const SNAPSHOT_COLUMNS: &str =
    "id, created_ms, stream IS NOT NULL, question, progress, completion, failure, timeline, state, segments";

/// Reads a task as clients see it. The inner error means a damaged record.
pub(in crate::store) fn snapshot(row: &Row<'_>) -> rusqlite::Result<Result<Snapshot, StoreError>> {
    let id: String = row.get(0)?;
    let created: Timestamp = row.get(1)?;
    let stream = row.get(2)?;
    let question: String = row.get(3)?;
    let progress = row.get(4)?;
    let completion: Option<String> = row.get(5)?;
    let failure: Option<String> = row.get(6)?;
    let timeline: String = row.get(7)?;
    let stored: StoredState = row.get(8)?;
    let segments: Option<String> = row.get(9)?;
    let make = || {
        Ok(Snapshot {
            model: parse::<Question>(&id, &question)?.model,
            created: created.seconds(),
            stream,
            state: state(&id, stored, progress, completion, segments, failure)?,
            timeline: parse(&id, &timeline)?,
            id: id.parse().map_err(|_| StoreError::Damaged(format!("{id} is not a task id")))?,
        })
    };
    Ok(make())
}

fn state(
    id: &str,
    stored: StoredState,
    progress: u8,
    completion: Option<String>,
    segments: Option<String>,
    failure: Option<String>,
) -> Result<State, StoreError> {
    Ok(match (completion, failure) {
        (Some(completion), _) => {
            State::Completed(Completion::stored(completion, segments).map_err(damaged(id))?)
        }
        (None, Some(failure)) => State::Failed { failure: parse(id, &failure)?, progress },
        (None, None) if stored == StoredState::Pending => State::Pending,
        (None, None) => State::Processing { progress },
    })
}

/// Returns the columns that [`weighed`] reads: the columns of a snapshot, with the result only if it has at most
/// `:most_bytes`, and after them the number of its bytes, which SQLite returns without reading the result. Segments are
/// a part of the result if they are requested.
pub(super) fn weighed_columns(with_segments: bool) -> String {
    let (mut bytes, mut segments) = ("coalesce(octet_length(completion), 0)".to_owned(), "NULL");
    if with_segments {
        bytes += " + coalesce(octet_length(segments), 0)";
        segments = "segments";
    }
    format!(
        "id, created_ms, stream IS NOT NULL, question, progress, CASE WHEN {bytes} <= :most_bytes THEN completion END,
         failure, timeline, state, CASE WHEN {bytes} <= :most_bytes THEN {segments} END, {bytes}"
    )
}

/// Reads a task whose result has at most this many bytes, or else returns only the number of bytes.
pub(super) fn weighed(
    row: &Row<'_>,
    most_bytes: usize,
) -> rusqlite::Result<Result<Weighed<Snapshot>, StoreError>> {
    let bytes = usize::try_from(row.get::<_, i64>(10)?).unwrap_or(usize::MAX);
    if bytes > most_bytes {
        return Ok(Ok(Weighed::Heavy(bytes)));
    }
    Ok(snapshot(row)?.map(Weighed::Light))
}

pub(super) fn number(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

pub(in crate::store) fn find(
    connection: &Connection,
    id: &TaskId,
    owner: KeyHash,
    ended_after: Timestamp,
    most_bytes: usize,
    with_segments: bool,
) -> Result<Option<Weighed<Snapshot>>, StoreError> {
    let columns = weighed_columns(with_segments);
    connection
        .prepare_cached(&format!(
            "SELECT {columns} FROM tasks
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

pub(in crate::store) fn request(
    connection: &Connection,
    id: &TaskId,
    owner: KeyHash,
) -> Result<Option<Request>, StoreError> {
    let row = connection
        .prepare_cached(
            "SELECT question, stream IS NOT NULL, audio_facts FROM tasks WHERE id = ?1 AND owner = ?2",
        )?
        .query_row(params![id.as_str(), owner.as_bytes()], |row| {
            Ok((row.get::<_, String>(0)?, row.get(1)?, row.get::<_, String>(2)?))
        })
        .optional()?;
    let Some((question, stream, facts)) = row else { return Ok(None) };
    Ok(Some(Request { question: parse(id.as_str(), &question)?, stream, audio: parse(id.as_str(), &facts)? }))
}

pub(in crate::store) fn stream(
    connection: &Connection,
    id: &TaskId,
    owner: KeyHash,
) -> Result<Option<StoredStream>, StoreError> {
    let row = connection
        .prepare_cached(
            "SELECT chunks, ended_ms, progress, completion, failure, state, chunks_sum FROM tasks
             WHERE id = ?1 AND owner = ?2 AND chunks IS NOT NULL AND ended_ms IS NOT NULL",
        )?
        .query_row(params![id.as_str(), owner.as_bytes()], |row| {
            let count = usize::try_from(row.get::<_, i64>(0)?).unwrap_or(usize::MAX);
            let chunks = Chunks { count, sum: row.get(6)? };
            let state = state(id.as_str(), row.get(5)?, row.get(2)?, row.get(3)?, None, row.get(4)?);
            Ok((chunks, row.get(1)?, state))
        })
        .optional()?;
    row.map(|(chunks, ended, state)| Ok(StoredStream { chunks, state: state?, ended })).transpose()
}

pub(in crate::store) fn submitted(
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

/// Reads the row of a blob.
pub(in crate::store) fn blob(connection: &Connection, id: BlobId) -> Result<Option<StoredBlob>, StoreError> {
    Ok(connection
        .prepare_cached("SELECT bytes, sum, data FROM blobs WHERE id = ?1")?
        .query_row([id], |row| Ok(StoredBlob { bytes: row.get(0)?, sum: row.get(1)?, data: row.get(2)? }))
        .optional()?)
}
