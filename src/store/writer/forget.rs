//! The deletion of data whose retention has ended, and the return of its space to the disk.

use rusqlite::{Connection, params};

use crate::store::records::Forgotten;
use crate::store::{Retained, StoreError};
use crate::task::Timestamp;

/// Most rows that one write deletes or changes, and most bytes in them. Both bound how long other writes wait for it,
/// and its part of the write-ahead log: a few pages for each row, and all bytes of a row that is changed.
const MOST_ROWS: usize = 200;
const MOST_BYTES: usize = 4 << 20;

/// Free pages that stay in the database's file for later writes: at least this many, and a quarter of all pages.
const PAGES_KEPT: i64 = 256;
const PART_KEPT: i64 = 4;
/// Most pages that are returned at once. Each return writes another page to a new place, and the page that refers to
/// it.
const PAGES_GIVEN_BACK: i64 = 512;

/// The rows and bytes that a write may still delete.
struct Budget {
    rows: usize,
    bytes: usize,
}

impl Budget {
    fn is_spent(&self) -> bool {
        self.rows == 0 || self.bytes == 0
    }

    fn spend(&mut self, rows: usize, bytes: usize) {
        self.rows = self.rows.saturating_sub(rows);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// Deletes some of the data whose retention has ended. Once all of it is deleted, returns free pages of the database to
/// the file system.
///
/// A call that fails may be committed in part, and one whose status is unknown may be committed. The next call deletes
/// the rest. The journals of streams that no caller has received are removed by the next start.
pub(super) fn forget(connection: &Connection, kept: Retained) -> Result<Forgotten, StoreError> {
    let mut budget = Budget { rows: MOST_ROWS, bytes: MOST_BYTES };
    let mut forgotten = Forgotten::default();
    for task in expired(connection, "TRUE", kept.tasks, &mut budget)? {
        connection.prepare_cached("DELETE FROM tasks WHERE id = ?1")?.execute([&task.id])?;
        forgotten.tasks += 1;
        if task.has_chunks {
            forgotten.streams.extend(task.id.parse());
        }
    }
    for task in expired(connection, "chunks IS NOT NULL", kept.chunks, &mut budget)? {
        connection.prepare_cached("UPDATE tasks SET chunks = NULL WHERE id = ?1")?.execute([&task.id])?;
        forgotten.streams.extend(task.id.parse());
    }
    let keys = connection
        .prepare_cached(
            "DELETE FROM idempotency WHERE (owner, key) IN
             (SELECT owner, key FROM idempotency WHERE created_ms < ?1 LIMIT ?2)",
        )?
        .execute(params![kept.keys, budget.rows])?;
    budget.spend(keys, 0);
    forgotten.more = budget.is_spent();
    if !forgotten.more {
        return_space(connection)?;
    }
    Ok(forgotten)
}

/// A task whose retention has ended.
struct Expired {
    id: String,
    has_chunks: bool,
}

/// Finds tasks with this condition that ended before this moment, as many as may be deleted.
fn expired(
    connection: &Connection,
    condition: &str,
    before: Timestamp,
    budget: &mut Budget,
) -> Result<Vec<Expired>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT id, chunks IS NOT NULL, octet_length(question) + coalesce(octet_length(completion), 0)
         + coalesce(octet_length(segments), 0) FROM tasks WHERE {condition} AND ended_ms < ?1"
    ))?;
    let mut rows = statement.query([before])?;
    let mut expired = Vec::new();
    while !budget.is_spent()
        && let Some(row) = rows.next()?
    {
        budget.spend(1, row.get(2)?);
        expired.push(Expired { id: row.get(0)?, has_chunks: row.get(1)? });
    }
    Ok(expired)
}

/// Returns some free pages of the database to the file system. The others stay, because about as much as was deleted
/// now is written until the next call. A file that shrinks and grows again would move its pages without a gain.
fn return_space(connection: &Connection) -> rusqlite::Result<()> {
    let pages = |what| connection.pragma_query_value(None, what, |row| row.get::<_, i64>(0));
    let kept = (pages("page_count")? / PART_KEPT).max(PAGES_KEPT);
    let surplus = pages("freelist_count")? - kept;
    if surplus <= 0 {
        return Ok(());
    }
    let given_back = surplus.min(PAGES_GIVEN_BACK);
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({given_back})"))?;
    let mut rows = statement.query([])?;
    // Each step frees one page.
    while rows.next()?.is_some() {}
    Ok(())
}
