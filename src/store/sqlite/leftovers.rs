//! What a start asks the database, to tell what is in use from what a crash left behind.

use rusqlite::Connection;

use crate::audio::BlobId;
use crate::store::StoreError;
use crate::store::spool::Recorded;
use crate::task::TaskId;

/// Most blobs that a start deletes because no task refers to them: the next start deletes others.
const MOST_UNNAMED: u32 = 1000;

/// Deletes the rows of blobs to which no task refers. An end whose record of its audio was damaged leaves them, for example.
/// Where an unfinished task has such a record, nothing is deleted: it may refer to any of them.
pub(in crate::store) fn delete_unnamed_blobs(connection: &Connection) {
    let deleted = connection.execute(
        "DELETE FROM blobs WHERE id IN (
             SELECT id FROM blobs EXCEPT
             SELECT json_extract(piece.value, '$.blob.id')
             FROM tasks INDEXED BY tasks_unfinished, json_each(tasks.audio) AS piece WHERE tasks.ended_ms IS NULL
             LIMIT ?1)",
        [MOST_UNNAMED],
    );
    match deleted {
        Ok(0) => {}
        Ok(count) => tracing::warn!(count, "audio was removed to which no task refers"),
        Err(err) => tracing::warn!(%err, "audio to which no task refers stays: it cannot be looked for"),
    }
}

/// Returns what the rows of all blobs say.
pub(in crate::store) fn recorded_blobs(connection: &Connection) -> Result<Recorded, StoreError> {
    Ok(connection.query_row(
        "SELECT coalesce(sum(bytes), 0), coalesce(max(id), 0) FROM blobs",
        [],
        |row| Ok(Recorded { bytes: row.get(0)?, last: row.get(1)? }),
    )?)
}

/// Returns true if this blob has a row, and its bytes are in a file.
pub(in crate::store) fn has_file(connection: &Connection, id: BlobId) -> Result<bool, StoreError> {
    Ok(connection.prepare_cached("SELECT 1 FROM blobs WHERE id = ?1 AND data IS NULL")?.exists([id])?)
}

/// Returns true if the stream of this task may be asked for.
pub(in crate::store) fn has_stream(connection: &Connection, id: &TaskId) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM tasks WHERE id = ?1 AND (ended_ms IS NULL OR chunks IS NOT NULL)";
    Ok(connection.prepare_cached(sql)?.exists([id.as_str()])?)
}
