//! What is asked of the writer, and how each of these writes is run and answered.

use rusqlite::Transaction;

use super::fate::Fate;
use super::forget;
use super::rows::{self, Ended};
use super::unsettled::{Unsettled, Withdrawn};
use crate::secret::KeyHash;
use crate::store::health::{Health, Trouble};
use crate::store::records::{Forgotten, TaskMark};
use crate::store::spool::NewBlob;
use crate::store::{Acceptance, Ending, NewRecord, Reply, Retained, StoreError};
use crate::task::{IdempotencyKey, Snapshot, TaskId, Timeline, Timestamp};

/// What is written. Each that has a caller is answered after the commit.
pub(in crate::store) enum Write {
    Accept {
        record: Box<NewRecord>,
        /// Its audio.
        blobs: Vec<NewBlob>,
        /// Keys from before this moment are free again.
        keys_before: Timestamp,
        /// With what is to be withdrawn should the caller leave before it hears that the task is recorded; `None` where its
        /// key is taken.
        reply: Reply<Option<Withdrawn>>,
    },
    /// Deletes a task whose caller left before it heard that the task is recorded.
    Withdraw(Withdrawn),
    Run {
        id: TaskId,
        timeline: Timeline,
        reply: Reply<()>,
    },
    Progress {
        id: TaskId,
        percent: u8,
        reply: Reply<()>,
    },
    Mark {
        id: TaskId,
        mark: TaskMark,
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

/// Does what is left to do for a write once the fate of its transaction is known, and answers its caller.
pub(super) type Answer = Box<dyn FnOnce(&Fate, &mut Unsettled)>;

/// Makes an answer that only tells the result.
fn tell<T: 'static>(reply: Reply<T>, result: Result<T, StoreError>) -> Answer {
    Box::new(move |fate, _| {
        // The caller may have gone; the write stands.
        let _ = reply.send(fate.tell(result));
    })
}

/// Makes the answer to a submit. Audio without a row goes before the caller is told. A task whose caller is not told that it
/// is recorded is withdrawn.
fn tell_accepted(
    reply: Reply<Option<Withdrawn>>,
    result: Result<Acceptance, StoreError>,
    task: NewTask,
) -> Answer {
    Box::new(move |fate, unsettled| {
        let task = match (fate, &result) {
            (Fate::Stands | Fate::Unknown(_), Ok(Acceptance::Durable)) => Some(task.recorded()),
            (Fate::Undone(_), _) | (_, Ok(Acceptance::KeyTaken) | Err(_)) => {
                drop(task);
                None
            }
        };
        let untold = match fate.trouble() {
            None => reply.send(result.map(|_| task)).err().and_then(|unheard| unheard.ok().flatten()),
            Some(trouble) => {
                let _ = reply.send(Err(trouble.clone().into()));
                task
            }
        };
        untold.into_iter().for_each(|task| unsettled.withdraw(task));
    })
}

/// A task that the transaction records, with its audio.
struct NewTask {
    id: TaskId,
    key: Option<(KeyHash, IdempotencyKey)>,
    blobs: Vec<NewBlob>,
}

impl NewTask {
    /// Leaves the audio to its rows.
    fn recorded(self) -> Withdrawn {
        let blobs = self.blobs.into_iter().map(NewBlob::recorded).collect();
        Withdrawn { id: self.id, key: self.key, blobs }
    }
}

/// Makes the answer to an end. The audio that goes with it stays until the end is known to stand.
fn tell_ended(reply: Reply<Option<Snapshot>>, result: Result<Ended, StoreError>) -> Answer {
    Box::new(move |fate, unsettled| {
        let result = result.map(|ended| match ended {
            Ended::Now(freed) => {
                match fate {
                    Fate::Stands => unsettled.free(&freed),
                    Fate::Unknown(_) => unsettled.free_later(freed),
                    Fate::Undone(_) => {}
                }
                None
            }
            Ended::Before(snapshot) => snapshot.map(|snapshot| *snapshot),
        });
        let _ = reply.send(fate.tell(result));
    })
}

/// Leaves a task to the next transaction, which withdraws it.
fn withdraw(task: Withdrawn) -> Answer {
    Box::new(move |_, unsettled| unsettled.withdraw(task))
}

/// Makes the answer to a write that has no caller.
fn tell_nothing() -> Answer {
    Box::new(|_, _| ())
}

fn trouble_of<T>(result: &Result<T, StoreError>, health: &Health) -> Option<Trouble> {
    result.as_ref().err().map(|err| health.trouble_of(err))
}

impl Write {
    /// Runs the statements. Returns the answer, and what an error of them means for the store.
    pub(super) fn run(self, transaction: &mut Transaction<'_>, health: &Health) -> (Answer, Option<Trouble>) {
        match self {
            // No client would ever know of the task.
            Self::Accept { reply, .. } if reply.is_closed() => (tell_nothing(), None),
            Self::Accept { record, mut blobs, keys_before, reply } => {
                // Small audio goes to the disk with this commit.
                if let Err(err) = blobs.iter_mut().try_for_each(NewBlob::take_room) {
                    return (tell(reply, Err(err)), None);
                }
                let result = rows::accept(transaction, &record, &blobs, keys_before);
                let trouble = trouble_of(&result, health);
                let NewRecord { task, idempotency, .. } = *record;
                let key = idempotency.map(|idempotency| (task.owner, idempotency.key));
                (tell_accepted(reply, result, NewTask { id: task.id.clone(), key, blobs }), trouble)
            }
            Self::Withdraw(task) => (withdraw(task), None),
            Self::Run { id, timeline, reply } => {
                let result = rows::run(transaction, &id, &timeline);
                let trouble = trouble_of(&result, health);
                (tell(reply, result), trouble)
            }
            Self::Progress { id, percent, reply } => {
                let result = rows::progress(transaction, &id, percent);
                let trouble = trouble_of(&result, health);
                (tell(reply, result), trouble)
            }
            Self::Mark { id, mark } => {
                let result = rows::mark(transaction, &id, &mark);
                if let Err(err) = &result {
                    tracing::warn!(task_id = %id, %err, "a task's mark was not written");
                }
                (tell_nothing(), trouble_of(&result, health))
            }
            Self::End { id, ending, at, reply } => {
                let result = rows::end(transaction, &id, &ending, at);
                let trouble = trouble_of(&result, health);
                (tell_ended(reply, result), trouble)
            }
            Self::Probe => (tell_nothing(), None),
            Self::Forget { kept, reply } => {
                let result = forget::forget(transaction, kept);
                let trouble = trouble_of(&result, health);
                (tell(reply, result), trouble)
            }
        }
    }

    /// Returns the answer without running anything: its transaction is undone.
    pub(super) fn skip(self) -> Answer {
        match self {
            Self::Accept { reply, .. } => tell(reply, Err(StoreError::Stopped)),
            Self::Withdraw(task) => withdraw(task),
            Self::Run { reply, .. } | Self::Progress { reply, .. } => tell(reply, Err(StoreError::Stopped)),
            Self::Mark { .. } | Self::Probe => tell_nothing(),
            Self::End { reply, .. } => tell(reply, Err(StoreError::Stopped)),
            Self::Forget { reply, .. } => tell(reply, Err(StoreError::Stopped)),
        }
    }
}
