//! The pages of a list of tasks.

use rusqlite::{Connection, OptionalExtension, named_params, params};

use super::rows::{number, weighed, weighed_columns};
use crate::secret::KeyHash;
use crate::store::sqlite::StoredState;
use crate::store::{MOST_LISTED_BYTES, StoreError, Weighed};
use crate::task::{ListQuery, Page, Status, TaskId, Timestamp};

/// Reads the tasks of a page, whose results together have at most this many bytes. If there are more, a page that has a
/// task and may have [`MOST_LISTED_BYTES`] ends before them. Otherwise the page is [`Weighed::Heavy`], with the bytes
/// to request.
pub(in crate::store) fn list(
    connection: &Connection,
    owner: KeyHash,
    query: &ListQuery,
    ended_after: Timestamp,
    most_bytes: usize,
) -> Result<Option<Weighed<Page>>, StoreError> {
    // All statements see the same moment. Otherwise a task that changes its state between two of them would be found
    // twice.
    let _moment = connection.unchecked_transaction()?;
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
        connection.prepare_cached(&format!("SELECT {} FROM tasks WHERE id = :id", weighed_columns(false)))?;
    let mut page = Page { tasks: Vec::new(), has_more: false };
    let mut left = most_bytes;
    for (_, id) in found {
        if page.tasks.len() >= query.limit {
            page.has_more = true;
            break;
        }
        let values = named_params! { ":id": id, ":most_bytes": number(most_bytes) };
        match statement.query_row(values, |row| weighed(row, left))?? {
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

/// The query that finds the tasks of a page among those of one state. The index has all columns of this query, in this
/// order. So SQLite only visits the requested entries, and those of ended tasks that are hidden until a sweep deletes
/// them.
const LISTED: &str = "SELECT created_ms, id FROM tasks
     WHERE owner = :owner AND state = :state AND (created_ms, id) < (:before, :after)
     AND (ended_ms IS NULL OR ended_ms >= :ended_after)
     ORDER BY created_ms DESC, id DESC LIMIT :limit";

/// Finds the ids of the tasks that a page may have, and of one more, the newest first.
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::thread;

    use super::*;
    use crate::store::claim::make_database;
    use crate::store::sqlite;
    use crate::task::{Question, Timeline};

    #[test]
    fn a_list_is_found_only_in_the_index() {
        let data_dir = tempfile::tempdir().unwrap();
        drop(make_database(data_dir.path()).unwrap());
        let connection = sqlite::connect(data_dir.path(), true).unwrap();
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {LISTED}")).unwrap();
        let values = named_params! {
            ":owner": [0_u8; 32], ":state": 3, ":before": 1, ":after": "", ":ended_after": 0, ":limit": 1,
        };
        let steps = statement.query_map(values, |row| row.get(3)).unwrap();
        let steps: Vec<String> = steps.collect::<Result<_, _>>().unwrap();
        // There must be no other step, such as a sort, and no access to the table.
        let [step] = &steps[..] else { panic!("{steps:?}") };
        let index = "SEARCH tasks USING COVERING INDEX tasks_by_owner (owner=? AND state=? AND ";
        assert!(step.starts_with(index), "{step}");
    }

    #[test]
    fn a_task_that_changes_its_state_while_a_list_is_read_is_listed_once() {
        const TASKS: usize = 50;
        let data_dir = tempfile::tempdir().unwrap();
        drop(make_database(data_dir.path()).unwrap());
        let connection = sqlite::connect(data_dir.path(), false).unwrap();
        for number in 0..TASKS {
            connection
                .execute(
                    "INSERT INTO tasks (id, owner, created_ms, question, audio_facts, state, timeline, runs,
                     irreplaceable_caller) VALUES (?1, ?2, 1, ?3, '[]', 0, ?4, 0, 0)",
                    params![
                        TaskId::generate(number as u64).as_str(),
                        KeyHash::of("k").as_bytes(),
                        sqlite::json(&Question::short("m".into(), "p".into(), None)).unwrap(),
                        sqlite::json(&Timeline::begun(Timestamp(1))).unwrap(),
                    ],
                )
                .unwrap();
        }
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let other = sqlite::connect(data_dir.path(), false).unwrap();
                while !is_over.load(Relaxed) {
                    other.execute("UPDATE tasks SET state = 1 - state", []).unwrap();
                }
            });
            let query = ListQuery { after: None, limit: 2 * TASKS, status: None };
            let counts = (0..300).map(|_| {
                let page = list(&connection, KeyHash::of("k"), &query, Timestamp(0), usize::MAX).unwrap();
                let Some(Weighed::Light(page)) = page else { panic!("a heavy page") };
                page.tasks.len()
            });
            let counts: Vec<_> = counts.collect();
            is_over.store(true, Relaxed);
            assert!(counts.iter().all(|count| *count == TASKS), "{counts:?}");
        });
    }
}
