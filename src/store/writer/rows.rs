//! The statements of a transaction: the changes that a write makes to the rows.

use rusqlite::{Connection, OptionalExtension, named_params, params};

use crate::audio::{BlobId, KeptAudio};
use crate::secret::KeyHash;
use crate::store::reader::{SNAPSHOT_COLUMNS, parse, snapshot};
use crate::store::records::TaskMark;
use crate::store::spool::{NewBlob, RecordedBlob};
use crate::store::sqlite::{StoredState, json};
use crate::store::{Acceptance, Ending, NewRecord, StoreError};
use crate::task::{
    Format, Idempotency, IdempotencyKey, Outcome, Snapshot, Task, TaskId, Timeline, Timestamp,
};

/// Records a task with its audio and its key. The row of the task is inserted first: if its id exists already, the
/// write fails before it has changed anything.
pub(super) fn accept(
    connection: &Connection,
    record: &NewRecord,
    blobs: &[NewBlob],
    keys_before: Timestamp,
) -> Result<Acceptance, StoreError> {
    let NewRecord { task, idempotency, .. } = record;
    if let Some(idempotency) = idempotency
        && is_key_taken(connection, task, idempotency, keys_before)?
    {
        return Ok(Acceptance::KeyTaken);
    }
    insert(connection, record)?;
    for blob in blobs {
        connection
            .prepare_cached("INSERT INTO blobs (id, refs, bytes, sum, data) VALUES (?1, 1, ?2, ?3, ?4)")?
            .execute(params![blob.id, blob.bytes, blob.sum, blob.data.as_deref()])?;
    }
    if let Some(idempotency) = idempotency {
        take_key(connection, task, idempotency)?;
    }
    Ok(Acceptance::Durable)
}

fn insert(connection: &Connection, record: &NewRecord) -> Result<(), StoreError> {
    let NewRecord { task, audio, audio_facts, runs, irreplaceable_caller, timeline, .. } = record;
    let state = if *runs { StoredState::Processing } else { StoredState::Pending };
    connection
        .prepare_cached(
            "INSERT INTO tasks (id, owner, created_ms, stream, question, audio, audio_facts, runs, irreplaceable_caller, timeline,
             state, trace)
             VALUES (:id, :owner, :created, :stream, :question, :audio, :audio_facts, :runs, :irreplaceable_caller, :timeline,
             :state, :trace)",
        )?
        .execute(named_params! {
            ":id": task.id.as_str(),
            ":owner": task.owner.as_bytes(),
            ":created": task.created,
            ":stream": task.stream.map(Format::name),
            ":question": json(&task.question)?,
            ":audio": json(audio)?,
            ":audio_facts": json(audio_facts)?,
            ":runs": runs,
            ":irreplaceable_caller": irreplaceable_caller,
            ":timeline": json(timeline)?,
            ":state": state,
            ":trace": task.trace.as_ref().map(json).transpose()?,
        })?;
    Ok(())
}

fn is_key_taken(
    connection: &Connection,
    task: &Task,
    idempotency: &Idempotency,
    free_before: Timestamp,
) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached("SELECT 1 FROM idempotency WHERE owner = ?1 AND key = ?2 AND created_ms >= ?3")?
        .exists(params![task.owner.as_bytes(), idempotency.key.as_str(), free_before])?)
}

fn take_key(connection: &Connection, task: &Task, idempotency: &Idempotency) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO idempotency (owner, key, fingerprint, task, created_ms)
             VALUES (:owner, :key, :fingerprint, :task, :created)",
        )?
        .execute(named_params! {
            ":owner": task.owner.as_bytes(),
            ":key": idempotency.key.as_str(),
            ":fingerprint": idempotency.fingerprint.as_bytes(),
            ":task": task.id.as_str(),
            ":created": task.created,
        })?;
    Ok(())
}

pub(super) fn run(connection: &Connection, id: &TaskId, timeline: &Timeline) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE tasks SET runs = runs + 1, state = ?1, timeline = ?2 WHERE id = ?3 AND ended_ms IS NULL",
        )?
        .execute(params![StoredState::Processing, json(timeline)?, id.as_str()])?;
    Ok(())
}

pub(super) fn progress(connection: &Connection, id: &TaskId, percent: u8) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE tasks SET progress = ?1 WHERE id = ?2 AND ended_ms IS NULL")?
        .execute(params![percent, id.as_str()])?;
    Ok(())
}

pub(super) fn mark(connection: &Connection, id: &TaskId, mark: &TaskMark) -> Result<(), StoreError> {
    match mark {
        TaskMark::Published(timeline) => connection
            .prepare_cached(
                "UPDATE tasks SET published = 1, timeline = ?1 WHERE id = ?2 AND ended_ms IS NULL",
            )?
            .execute(params![json(timeline)?, id.as_str()])?,
        TaskMark::Downloaded(place, facts) => connection
            .prepare_cached(
                "UPDATE tasks SET audio_facts = json_replace(audio_facts, ?1, json(?2))
                 WHERE id = ?3 AND ended_ms IS NULL AND json_valid(audio_facts)",
            )?
            .execute(params![format!("$[{place}]"), json(facts)?, id.as_str()])?,
    };
    Ok(())
}

/// Deletes a task whose id no client has, and its blobs, and frees its idempotency key.
pub(super) fn withdraw(
    connection: &Connection,
    id: &TaskId,
    key: Option<&(KeyHash, IdempotencyKey)>,
    blobs: &[RecordedBlob],
) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM tasks WHERE id = ?1")?.execute([id.as_str()])?;
    for blob in blobs {
        release(connection, blob.id)?;
    }
    if let Some((owner, key)) = key {
        connection
            .prepare_cached("DELETE FROM idempotency WHERE owner = ?1 AND key = ?2 AND task = ?3")?
            .execute(params![owner.as_bytes(), key.as_str(), id.as_str()])?;
    }
    Ok(())
}

/// Returns true if a blob has a row.
pub(super) fn has_blob(connection: &Connection, id: BlobId) -> Result<bool, StoreError> {
    Ok(connection.prepare_cached("SELECT 1 FROM blobs WHERE id = ?1")?.exists([id])?)
}

/// Removes a reference to a blob. Returns the blob to free if it was the last reference.
fn release(connection: &Connection, id: BlobId) -> Result<Option<RecordedBlob>, StoreError> {
    let found = connection
        .prepare_cached("SELECT refs <= 1, bytes, data IS NULL FROM blobs WHERE id = ?1")?
        .query_row([id], |row| {
            Ok((row.get(0)?, RecordedBlob { id, bytes: row.get(1)?, has_file: row.get(2)? }))
        })
        .optional()?;
    let Some((is_last, blob)) = found else { return Ok(None) };
    let less = if is_last {
        "DELETE FROM blobs WHERE id = ?1"
    } else {
        "UPDATE blobs SET refs = refs - 1 WHERE id = ?1"
    };
    connection.prepare_cached(less)?.execute([id])?;
    Ok(is_last.then_some(blob))
}

/// The result of ending a task.
pub(super) enum Ended {
    /// The task has ended now. These blobs are to be freed.
    Now(Vec<RecordedBlob>),
    /// Nothing was ended. This is the end that the task had before, if there is such a task.
    Before(Option<Box<Snapshot>>),
}

pub(super) fn end(
    connection: &Connection,
    id: &TaskId,
    ending: &Ending,
    at: Timestamp,
) -> Result<Ended, StoreError> {
    let audio = connection
        .prepare_cached("SELECT audio FROM tasks WHERE id = ?1 AND ended_ms IS NULL")?
        .query_row([id.as_str()], |row| row.get::<_, String>(0))
        .optional()?;
    let Some(audio) = audio else {
        let before = connection
            .prepare_cached(&format!("SELECT {SNAPSHOT_COLUMNS} FROM tasks WHERE id = ?1"))?
            .query_row([id.as_str()], snapshot)
            .optional()?
            .transpose()?;
        return Ok(Ended::Before(before.map(Box::new)));
    };
    let (completion, failure, progress, state) = match &ending.outcome {
        Outcome::Completed(completed) => (Some(&completed.completion), None, 100, StoredState::Completed),
        Outcome::Failed(failure) => (None, Some(json(failure)?), ending.progress, StoredState::Failed),
    };
    connection
        .prepare_cached(
            "UPDATE tasks SET completion = :completion, segments = :segments, failure = :failure, progress = :progress,
             timeline = :timeline, chunks = :chunks, chunks_sum = :chunks_sum, state = :state, audio = NULL, ended_ms = :at
             WHERE id = :id",
        )?
        .execute(named_params! {
            ":completion": completion.map(|completion| completion.chat().get()),
            ":segments": completion.and_then(|completion| completion.segments()).map(|segments| segments.get()),
            ":failure": failure,
            ":progress": progress,
            ":timeline": json(&ending.timeline)?,
            ":chunks": ending.chunks.map(|chunks| i64::try_from(chunks.count).unwrap_or(i64::MAX)),
            ":chunks_sum": ending.chunks.map(|chunks| chunks.sum),
            ":state": state,
            ":at": at,
            ":id": id.as_str(),
        })?;
    let audio: Vec<KeptAudio> = parse(id.as_str(), &audio).unwrap_or_else(|err| {
        // The end is committed anyway.
        tracing::error!(task_id = %id, %err, "the audio of a task cannot be found; it stays");
        Vec::new()
    });
    let mut freed = Vec::new();
    for audio in audio {
        if let KeptAudio::Blob { id, .. } = audio {
            freed.extend(release(connection, id)?);
        }
    }
    Ok(Ended::Now(freed))
}
