//! The thread that writes: whatever waits for it becomes one transaction.

mod rows;
#[cfg(test)]
mod tests;
mod undone;
mod write;

use std::path::Path;
use std::time::Instant;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::mpsc;

use super::StoreError;
use super::health::{Health, Trouble};
use super::place::Place;
use super::spool::{NewBlob, Spool};
use super::sqlite::{file_error, leave_as_is};
use super::tally::{self, Tally};
use crate::metrics::StoreMetrics;
use crate::secret::KeyHash;
use crate::task::{IdempotencyKey, TaskId};

use undone::Undone;
use write::Answer;
pub(super) use write::Write;

/// Most writes that share one commit: bounds how long the first of them waits for the last.
const MOST_IN_A_COMMIT: usize = 512;

/// The files beside the database.
pub(super) struct Files {
    pub(super) spool: Spool,
    /// Tasks that stand although their caller has given up, and was told that they do not.
    pub(super) withdrawn: Vec<Withdrawn>,
}

/// A task that is to be deleted as if it had never been.
#[derive(Debug)]
pub(super) struct Withdrawn {
    id: TaskId,
    key: Option<(KeyHash, IdempotencyKey)>,
    /// What it has in the spool until it is deleted.
    blobs: Vec<NewBlob>,
}

/// What the writer keeps an eye on beside its transactions.
pub(super) struct Keeping {
    pub(super) place: Place,
    pub(super) health: Health,
    pub(super) tally: Tally,
    pub(super) metrics: StoreMetrics,
}
impl Keeping {
    /// Returns why a transaction is not to be begun.
    fn judge(&mut self) -> Result<(), Undone> {
        if let Some(damage) = self.health.damage() {
            return Err(damage.into());
        }
        Ok(self.place.judge()?)
    }

    /// Returns why a commit is not to be told, although SQLite has made it.
    fn holds_commit(&mut self) -> Result<(), Undone> {
        self.place.holds_commit()?;
        // A reader may have met damage meanwhile.
        self.health.damage().map_or(Ok(()), |damage| Err(damage.into()))
    }
}

/// Starts the writer; it stops when its queue closes, and lets go of the data directory then.
pub(super) fn start(
    data_dir: &Path,
    mut connection: Connection,
    mut files: Files,
    mut keeping: Keeping,
    mut queue: mpsc::Receiver<Write>,
) -> Result<(), StoreError> {
    let run = move || {
        let mut writes = Vec::new();
        // What the last probe has found.
        let mut is_disk_low = false;
        while queue.blocking_recv_many(&mut writes, MOST_IN_A_COMMIT) > 0 {
            let (began, count) = (Instant::now(), writes.len());
            keeping.health.begin();
            if writes.iter().any(|write| matches!(write, Write::Probe)) {
                is_disk_low = files.spool.is_disk_low();
            }
            let withdrawn = std::mem::take(&mut files.withdrawn);
            let (answers, fate) = match keeping.judge() {
                Ok(()) => {
                    take_room(&mut writes);
                    let last = keeping.tally.last();
                    let (answers, fate) =
                        commit_together(&mut connection, writes.drain(..), &withdrawn, &keeping.health, last);
                    (answers, fate.and_then(|commits| keeping.holds_commit().map(|()| commits)))
                }
                Err(trouble) => (writes.drain(..).map(Write::skip).collect(), Err(trouble)),
            };
            // Before a caller hears of it: one that was told of a commit finds it counted.
            keeping.metrics.committed(count, began.elapsed(), fate.is_ok());
            let fate = match fate {
                Ok(commits) => {
                    keeping.tally.write(commits);
                    keeping.health.end(is_disk_low.then(|| Trouble::Full("the disk is full".to_owned())));
                    Ok(())
                }
                Err(undone) => {
                    files.withdrawn = withdrawn;
                    Err(undone.told(&keeping.health))
                }
            };
            for answer in answers {
                answer(fate.clone(), &mut files);
            }
        }
        if keeping.health.damage().is_some() {
            leave_as_is(&connection);
        }
        // First: what locks the directory is closed after what uses it.
        drop(connection);
    };
    std::thread::Builder::new()
        .name("store-writer".to_owned())
        .spawn(run)
        .map(|_| ())
        .map_err(file_error(data_dir))
}

/// Takes room for the small audio of all submits among these writes, which goes to the disk with their commit.
fn take_room(writes: &mut [Write]) {
    for write in writes {
        if let Write::Accept { blobs, .. } = write
            && let Ok(made) = blobs
            && let Err(err) = made.iter_mut().try_for_each(NewBlob::take_room)
        {
            *blobs = Err(err);
        }
    }
}

/// Runs writes in one transaction. One that fails by itself fails alone; when the transaction is undone, all
/// are. Returns the answers, and with what they are to be given: the number of the commit, or why there is none. The
/// commit before had the number `last`.
fn commit_together(
    connection: &mut Connection,
    writes: impl Iterator<Item = Write>,
    withdrawn: &[Withdrawn],
    health: &Health,
    last: i64,
) -> (Vec<Answer>, Result<i64, Undone>) {
    let mut answers: Vec<Answer> = Vec::new();
    let fate = match connection.transaction_with_behavior(TransactionBehavior::Immediate) {
        Ok(mut transaction) => {
            let mut undone = withdraw_all(&transaction, withdrawn).err();
            for write in writes {
                if undone.is_some() {
                    answers.push(write.skip());
                    continue;
                }
                let (answer, error) = write.run(&mut transaction);
                answers.push(answer);
                if let Some(Undone::Corrupt(what)) = &error {
                    health.damaged(what);
                }
                // A full disk makes SQLite undo the whole transaction by itself; what was run then would be
                // a transaction of its own, and stand although its caller is told that it does not.
                if transaction.is_autocommit() {
                    undone = Some(error.unwrap_or_else(|| Undone::Failed("it was undone".to_owned())));
                }
            }
            match undone {
                Some(undone) => Err(undone),
                None => commit(transaction, last),
            }
        }
        Err(err) => {
            answers.extend(writes.map(Write::skip));
            Err(Undone::from(err))
        }
    };
    (answers, fate)
}

fn commit(transaction: Transaction<'_>, last: i64) -> Result<i64, Undone> {
    let number = tally::count(&transaction)?;
    if number != last + 1 {
        return Err(Undone::Corrupt(format!("it has {} commits of {last}", number - 1)));
    }
    transaction.commit()?;
    Ok(number)
}

fn withdraw_all(transaction: &Transaction<'_>, withdrawn: &[Withdrawn]) -> Result<(), Undone> {
    for Withdrawn { id, key, blobs } in withdrawn {
        tracing::warn!(task_id = %id, "a task is withdrawn that was recorded after its caller had given up");
        rows::withdraw(transaction, id, key.as_ref(), blobs).map_err(|err| Undone::from(&err))?;
    }
    Ok(())
}
