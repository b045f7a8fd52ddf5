//! The statements that a transaction is made of: what a write changes in the rows.

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

pub(super) fn accept(
    connection: &Connection,
    record: &NewRecord,
    blobs: &[NewBlob],
    keys_before: Timestamp,
) -> Result<Acceptance, StoreError> {
    all_or_none(connection, || {
        if let Some(idempotency) = &record.idempotency
            && !take_key(connection, &record.task, idempotency, keys_before)?
        {
            return Ok(Acceptance::KeyTaken);
        }
        insert(connection, record)?;
        for blob in blobs {
            connection
                .prepare_cached("INSERT INTO blobs (id, refs, bytes, sum, data) VALUES (?1, 1, ?2, ?3, ?4)")?
                .execute(params![blob.id, blob.bytes, blob.sum, blob.data.as_deref()])?;
        }
        Ok(Acceptance::Durable)
    })
}

/// Runs statements of which either all stand or none. rusqlite's own savepoints are parsed anew each time.
fn all_or_none<T>(
    connection: &Connection,
    statements: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let run = |sql| connection.prepare_cached(sql)?.execute([]);
    run("SAVEPOINT all_or_none")?;
    let result = statements();
    if result.is_err() {
        // It fails only where the whole transaction was undone, which the writer finds.
        let _ = run("ROLLBACK TO all_or_none");
    }
    let released = run("RELEASE all_or_none");
    let result = result?;
    released?;
    Ok(result)
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

/// False where the key is in use.
fn take_key(
    connection: &Connection,
    task: &Task,
    idempotency: &Idempotency,
    free_before: Timestamp,
) -> Result<bool, StoreError> {
    let taken = connection
        .prepare_cached(
            "INSERT INTO idempotency (owner, key, fingerprint, task, created_ms)
             VALUES (:owner, :key, :fingerprint, :task, :created)
             ON CONFLICT (owner, key) DO UPDATE SET
             fingerprint = excluded.fingerprint, task = excluded.task, created_ms = excluded.created_ms
             WHERE created_ms < :free_before",
        )?
        .execute(named_params! {
            ":owner": task.owner.as_bytes(),
            ":key": idempotency.key.as_str(),
            ":fingerprint": idempotency.fingerprint.as_bytes(),
            ":task": task.id.as_str(),
            ":created": task.created,
            ":free_before": free_before,
        })?;
    Ok(taken > 0)
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

/// Deletes a task that no client knows of, and its blobs, and frees its idempotency key.
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

/// Takes away a reference to a blob. Returns what goes with the last one.
fn release(connection: &Connection, id: BlobId) -> Result<Option<RecordedBlob>, StoreError> {
    let freed = connection
        .prepare_cached("DELETE FROM blobs WHERE id = ?1 AND refs <= 1 RETURNING bytes, data IS NULL")?
        .query_row([id], |row| Ok(RecordedBlob { id, bytes: row.get(0)?, has_file: row.get(1)? }))
        .optional()?;
    if freed.is_none() {
        connection.prepare_cached("UPDATE blobs SET refs = refs - 1 WHERE id = ?1")?.execute([id])?;
    }
    Ok(freed)
}

/// What there was to end.
pub(super) enum Ended {
    /// The task, with which these blobs go.
    Now(Vec<RecordedBlob>),
    /// Nothing: this is the end that the task had before, if there is such a task.
    Before(Option<Box<Snapshot>>),
}

pub(super) fn end(
    connection: &Connection,
    id: &TaskId,
    ending: &Ending,
    at: Timestamp,
) -> Result<Ended, StoreError> {
    all_or_none(connection, || end_now(connection, id, ending, at))
}

fn end_now(
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
        // The end stands all the same.
        tracing::error!(task_id = %id, %err, "the audio of a task is not found and stays");
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
