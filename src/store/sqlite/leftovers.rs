//! The queries of a start, which separate data in use from data that a crash left behind.

use std::collections::HashSet;

use rusqlite::Connection;

use crate::audio::{BlobId, KeptAudio};
use crate::store::StoreError;
use crate::store::spool::Recorded;
use crate::task::TaskId;

/// Most blobs without a task that a start deletes. The next start deletes others.
const MOST_UNNAMED: usize = 1000;

/// Deletes the rows of blobs to which no task refers. An example is a task that ended with a damaged record of its
/// audio. If an unfinished task has such a record, nothing is deleted: the task may refer to any blob.
pub(in crate::store) fn delete_unnamed_blobs(connection: &Connection) {
    match unnamed_blobs(connection).and_then(|unnamed| delete_blobs(connection, &unnamed)) {
        Ok(0) => {}
        Ok(count) => tracing::warn!(count, "removed audio that belongs to no task"),
        Err(err) => tracing::warn!(%err, "audio that belongs to no task stays: the search for it failed"),
    }
}

fn unnamed_blobs(connection: &Connection) -> Result<Vec<BlobId>, StoreError> {
    let mut named = HashSet::new();
    let unfinished = "SELECT id, audio FROM tasks INDEXED BY tasks_unfinished WHERE ended_ms IS NULL";
    let mut unfinished = connection.prepare(unfinished)?;
    let mut rows = unfinished.query([])?;
    while let Some(row) = rows.next()? {
        let (task, audio): (String, String) = (row.get(0)?, row.get(1)?);
        let audio: Vec<KeptAudio> =
            serde_json::from_str(&audio).map_err(|err| StoreError::Damaged(format!("{task}: {err}")))?;
        named.extend(audio.iter().filter_map(|audio| match audio {
            KeptAudio::Blob { id, .. } => Some(*id),
            KeptAudio::Url(_) => None,
        }));
    }
    let mut blobs = connection.prepare("SELECT id FROM blobs")?;
    let is_unnamed = |id: &rusqlite::Result<BlobId>| !id.as_ref().is_ok_and(|id| named.contains(id));
    let unnamed = blobs.query_map([], |row| row.get(0).map(BlobId))?.filter(is_unnamed).take(MOST_UNNAMED);
    Ok(unnamed.collect::<Result<_, _>>()?)
}

fn delete_blobs(connection: &Connection, ids: &[BlobId]) -> Result<usize, StoreError> {
    let transaction = connection.unchecked_transaction()?;
    for id in ids {
        transaction.prepare_cached("DELETE FROM blobs WHERE id = ?1")?.execute([id])?;
    }
    transaction.commit()?;
    Ok(ids.len())
}

/// Returns the sums over the rows of all blobs.
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

/// Returns true if a client may still request the stream of this task.
pub(in crate::store) fn has_stream(connection: &Connection, id: &TaskId) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM tasks WHERE id = ?1 AND (ended_ms IS NULL OR chunks IS NOT NULL)";
    Ok(connection.prepare_cached(sql)?.exists([id.as_str()])?)
}
