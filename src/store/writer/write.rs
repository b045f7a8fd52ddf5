//! What is asked of the writer, and how each of these writes is run and answered.

use rusqlite::Transaction;

use super::undone::Undone;
use super::{Files, Withdrawn, rows};
use crate::store::records::{Forgotten, Mark};
use crate::store::spool::NewBlob;
use crate::store::{Acceptance, Ending, NewRecord, Reply, Retained, StoreError};
use crate::task::{Snapshot, TaskId, Timeline, Timestamp};

/// What is written. Each but a mark is answered after the commit.
pub(in crate::store) enum Write {
    Accept {
        record: Box<NewRecord>,
        /// Its audio; or why there is no room for that.
        blobs: Result<Vec<NewBlob>, StoreError>,
        /// Keys from before this moment are free again.
        keys_before: Timestamp,
        reply: Reply<Acceptance>,
    },
    Run {
        id: TaskId,
        timeline: Timeline,
        reply: Reply<()>,
    },
    Mark {
        id: TaskId,
        mark: Mark,
    },
    End {
        id: TaskId,
        ending: Box<Ending>,
        at: Timestamp,
        reply: Reply<Option<Snapshot>>,
    },
    /// Nothing but the commit, which shows whether the disk can be written to.
    Probe,
    Forget {
        kept: Retained,
        reply: Reply<Forgotten>,
    },
}

/// Says what there is to say once the fate of the transaction is known.
pub(super) type Answer = Box<dyn FnOnce(Result<(), Undone>, &mut Files)>;

/// An answer that has nothing to do but to say it.
fn say<T: 'static>(reply: Reply<T>, result: Result<T, StoreError>) -> Answer {
    Box::new(move |fate, _| {
        // The caller may have gone; the write stands.
        let _ = reply.send(fate.map_err(StoreError::from).and(result));
    })
}

/// The answer to a submit: where it does not stand, its audio goes. Where it stands and the caller has given up, the task is
/// withdrawn.
fn say_accepted(reply: Reply<Acceptance>, result: Result<Acceptance, StoreError>, task: Withdrawn) -> Answer {
    Box::new(move |fate, files| {
        let result = fate.map_err(StoreError::from).and(result);
        // Where it does not stand, its audio is gone before its caller hears of that.
        let task = Some(task).filter(|_| matches!(result, Ok(Acceptance::Durable)));
        let is_heard = reply.send(result).is_ok();
        match task {
            Some(task) if is_heard => task.blobs.into_iter().for_each(NewBlob::keep),
            task => files.withdrawn.extend(task),
        }
    })
}

fn undone<T>(result: &Result<T, StoreError>) -> Option<Undone> {
    result.as_ref().err().map(Undone::from)
}

impl Write {
    /// Runs the statements. The second value is what went wrong, if something did.
    pub(super) fn run(self, transaction: &mut Transaction<'_>) -> (Answer, Option<Undone>) {
        match self {
            Self::Accept { record, blobs, keys_before, reply } => {
                let blobs = match blobs {
                    Ok(blobs) => blobs,
                    Err(err) => return (say(reply, Err(err)), None),
                };
                let result = rows::accept(transaction, &record, &blobs, keys_before);
                let error = undone(&result);
                let NewRecord { task, idempotency, .. } = *record;
                let key = idempotency.map(|idempotency| (task.owner, idempotency.key));
                (say_accepted(reply, result, Withdrawn { id: task.id.clone(), key, blobs }), error)
            }
            Self::Run { id, timeline, reply } => {
                let result = rows::run(transaction, &id, &timeline);
                let error = undone(&result);
                (say(reply, result), error)
            }
            Self::Mark { id, mark: what } => {
                let result = rows::mark(transaction, &id, &what);
                if let Err(err) = &result {
                    tracing::warn!(task_id = %id, %err, "a task's mark was not written");
                }
                (Box::new(|_, _| ()), undone(&result))
            }
            Self::End { id, ending, at, reply } => {
                let result = rows::end(transaction, &id, &ending, at);
                let error = undone(&result);
                let answer = move |fate: Result<(), Undone>, files: &mut Files| {
                    let result = fate.map_err(StoreError::from).and(result).map(|ended| match ended {
                        rows::Ended::Now(freed) => {
                            freed.iter().for_each(|freed| files.spool.free(freed));
                            None
                        }
                        rows::Ended::Before(snapshot) => snapshot.map(|snapshot| *snapshot),
                    });
                    let _ = reply.send(result);
                };
                (Box::new(answer), error)
            }
            Self::Probe => (Box::new(|_, _| ()), None),
            Self::Forget { kept, reply } => {
                let result = rows::forget(transaction, kept);
                let error = undone(&result);
                (say(reply, result), error)
            }
        }
    }

    /// Does nothing but wait for the fate of a transaction that is known to be undone.
    pub(super) fn skip(self) -> Answer {
        match self {
            Self::Accept { reply, .. } => say(reply, Err(StoreError::Stopped)),
            Self::Run { reply, .. } => say(reply, Err(StoreError::Stopped)),
            Self::Mark { .. } | Self::Probe => Box::new(|_, _| ()),
            Self::End { reply, .. } => say(reply, Err(StoreError::Stopped)),
            Self::Forget { reply, .. } => say(reply, Err(StoreError::Stopped)),
        }
    }
}
