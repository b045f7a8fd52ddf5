//! The tasks that earlier processes did not end.

use rusqlite::{Connection, Row, params};

use super::rows::parse;
use crate::secret::KeyHash;
use crate::store::{StoreError, Unfinished};
use crate::task::{Format, RecoveryFacts, Task, TaskId, Timestamp};

/// Most unfinished tasks that are read at once.
const MOST_UNFINISHED: i64 = 256;

pub(in crate::store) fn unfinished(
    connection: &Connection,
    after: Option<(Timestamp, TaskId)>,
) -> Result<Vec<Unfinished>, StoreError> {
    let mut last = after.map_or((Timestamp(0), String::new()), |(at, id)| (at, id.to_string()));
    let mut statement = connection.prepare_cached(
        "SELECT id, owner, created_ms, stream, question, audio, runs, published, irreplaceable_caller, progress, timeline,
         trace FROM tasks WHERE ended_ms IS NULL AND (created_ms, id) > (?1, ?2)
         ORDER BY created_ms, id LIMIT ?3",
    )?;
    loop {
        let mut rows = statement.query(params![last.0, last.1, MOST_UNFINISHED])?;
        let (mut tasks, mut are_there_more) = (Vec::new(), false);
        while let Some(row) = rows.next()? {
            are_there_more = true;
            last = (row.get(2)?, row.get(0)?);
            // A damaged task must not keep the others from running.
            match unfinished_task(row) {
                Ok(task) => tasks.push(task),
                Err(err) => {
                    tracing::error!(
                        %err,
                        "an unfinished task cannot be read and does not run; its row stays in the database"
                    )
                }
            }
        }
        // If all tasks of this part are damaged, an empty list would mean that there are no more. So the search goes
        // on.
        if !tasks.is_empty() || !are_there_more {
            return Ok(tasks);
        }
    }
}

fn unfinished_task(row: &Row<'_>) -> Result<Unfinished, StoreError> {
    let text: String = row.get(0)?;
    let wrong = |what: &str| StoreError::Damaged(format!("{text}: {what}"));
    let id: TaskId = text.parse().map_err(|_| wrong("the task id is not valid"))?;
    let owner: Vec<u8> = row.get(1)?;
    let question: String = row.get(4)?;
    let audio: String = row.get(5)?;
    let timeline: String = row.get(10)?;
    let trace: Option<String> = row.get(11)?;
    let stream: Option<String> = row.get(3)?;
    let format =
        |name: String| Format::named(&name).ok_or_else(|| wrong("the format of its stream is not known"));
    Ok(Unfinished {
        audio: parse(&text, &audio)?,
        facts: RecoveryFacts { runs: row.get(6)?, published: row.get(7)?, irreplaceable_caller: row.get(8)? },
        progress: row.get(9)?,
        timeline: parse(&text, &timeline)?,
        task: Task {
            owner: KeyHash::from_bytes(&owner).ok_or_else(|| wrong("its owner is not valid"))?,
            created: row.get(2)?,
            stream: stream.map(format).transpose()?,
            question: parse(&text, &question)?,
            trace: trace.map(|trace| parse(&text, &trace)).transpose()?,
            id,
        },
    })
}
