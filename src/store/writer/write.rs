//! The writes that the writer takes, and how it runs and answers them.

use rusqlite::Transaction;

use super::commit_status::CommitStatus;
use super::deferred::{DeferredWork, Withdrawn};
use super::forget;
use super::rows::{self, Ended};
use crate::secret::KeyHash;
use crate::store::health::{Health, Trouble};
use crate::store::records::{Forgotten, TaskMark};
use crate::store::spool::NewBlob;
use crate::store::{Acceptance, Ending, NewRecord, Reply, Retained, StoreError};
use crate::task::{IdempotencyKey, Snapshot, TaskId, Timeline, Timestamp};

/// A write to the database. A write that has a caller is answered after the commit.
pub(in crate::store) enum Write {
    Accept {
        record: Box<NewRecord>,
        /// The audio of the task.
        blobs: Vec<NewBlob>,
        /// The moment before which keys are free again.
        keys_before: Timestamp,
        /// Receives the task to withdraw if its caller stops waiting before it has the answer; `None` if the key is
        /// taken.
        reply: Reply<Option<Withdrawn>>,
    },
    /// Deletes a task whose caller stopped waiting before it had the answer.
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
    /// Only makes a commit, which shows whether the disk can be written to.
    Probe,
    Forget {
        kept: Retained,
        reply: Reply<Forgotten>,
    },
}

/// A function that finishes a write when the status of its transaction is known, and answers its caller.
pub(super) type Answer = Box<dyn FnOnce(&CommitStatus, &mut DeferredWork)>;

/// Makes an answer that only sends the result.
fn send_result<T: 'static>(reply: Reply<T>, result: Result<T, StoreError>) -> Answer {
    Box::new(move |status, _| {
        // The caller may have stopped waiting; the write is committed anyway.
        let _ = reply.send(status.result_for_caller(result));
    })
}

/// Makes the answer to a submit. Audio without a row is removed before the caller gets its answer. If the caller does
/// not learn that the task is recorded, the task is withdrawn.
fn send_accepted(
    reply: Reply<Option<Withdrawn>>,
    result: Result<Acceptance, StoreError>,
    task: RecordedTask,
) -> Answer {
    Box::new(move |status, deferred| {
        let task = match (status, &result) {
            (CommitStatus::Committed | CommitStatus::Unknown(_), Ok(Acceptance::Durable)) => {
                Some(task.recorded())
            }
            (CommitStatus::Undone(_), _) | (_, Ok(Acceptance::KeyTaken) | Err(_)) => {
                drop(task);
                None
            }
        };
        let unanswered = match status.trouble() {
            None => reply.send(result.map(|_| task)).err().and_then(|unread| unread.ok().flatten()),
            Some(trouble) => {
                let _ = reply.send(Err(trouble.clone().into()));
                task
            }
        };
        unanswered.into_iter().for_each(|task| deferred.withdraw(task));
    })
}

/// A task that the transaction records, with its audio.
struct RecordedTask {
    id: TaskId,
    key: Option<(KeyHash, IdempotencyKey)>,
    blobs: Vec<NewBlob>,
}

impl RecordedTask {
    /// Hands the audio over to its rows.
    fn recorded(self) -> Withdrawn {
        let blobs = self.blobs.into_iter().map(NewBlob::recorded).collect();
        Withdrawn { id: self.id, key: self.key, blobs }
    }
}

/// Makes the answer to an end. The audio of the task stays until the end is known to be committed.
fn send_ended(reply: Reply<Option<Snapshot>>, result: Result<Ended, StoreError>) -> Answer {
    Box::new(move |status, deferred| {
        let result = result.map(|ended| match ended {
            Ended::Now(freed) => {
                match status {
                    CommitStatus::Committed => deferred.free(&freed),
                    CommitStatus::Unknown(_) => deferred.free_later(freed),
                    CommitStatus::Undone(_) => {}
                }
                None
            }
            Ended::Before(snapshot) => snapshot.map(|snapshot| *snapshot),
        });
        let _ = reply.send(status.result_for_caller(result));
    })
}

/// Leaves a task to the next transaction, which withdraws it.
fn withdraw(task: Withdrawn) -> Answer {
    Box::new(move |_, deferred| deferred.withdraw(task))
}

/// Makes the answer to a write that has no caller.
fn send_nothing() -> Answer {
    Box::new(|_, _| ())
}

/// The reason why a write failed, and whether it had made changes.
pub(super) enum Failed {
    /// The write has changed nothing, or its changes may be committed.
    Alone(Trouble),
    /// The write has made only a part of its changes.
    Halfway(Trouble),
}

impl Failed {
    fn of<T>(result: &Result<T, StoreError>, health: &Health) -> Option<Self> {
        result.as_ref().err().map(|err| Self::Alone(health.trouble_of(err)))
    }
}

/// Runs statements that must be committed all together or not at all. A savepoint would protect the other writes of the
/// transaction from a write that fails halfway, which happens only on a broken disk. But a savepoint copies each page
/// that is changed, which costs a submit 6 % of its instructions.
fn all_or_none<T>(
    transaction: &Transaction<'_>,
    health: &Health,
    statements: impl FnOnce() -> Result<T, StoreError>,
) -> (Result<T, StoreError>, Option<Failed>) {
    let changes = transaction.total_changes();
    let result = statements();
    let failed = match &result {
        Err(err) if transaction.total_changes() != changes => Some(Failed::Halfway(health.trouble_of(err))),
        result => Failed::of(result, health),
    };
    (result, failed)
}

impl Write {
    /// Runs the statements. Returns the answer, and the failure if there was one.
    pub(super) fn run(self, transaction: &Transaction<'_>, health: &Health) -> (Answer, Option<Failed>) {
        match self {
            // The caller has stopped waiting, so no client would know of the task.
            Self::Accept { reply, .. } if reply.is_closed() => (send_nothing(), None),
            Self::Accept { record, mut blobs, keys_before, reply } => {
                // Small audio goes to the disk with this commit.
                if let Err(err) = blobs.iter_mut().try_for_each(NewBlob::take_room) {
                    return (send_result(reply, Err(err)), None);
                }
                let accept = || rows::accept(transaction, &record, &blobs, keys_before);
                let (result, failed) = all_or_none(transaction, health, accept);
                let NewRecord { task, idempotency, .. } = *record;
                let key = idempotency.map(|idempotency| (task.owner, idempotency.key));
                (send_accepted(reply, result, RecordedTask { id: task.id.clone(), key, blobs }), failed)
            }
            Self::Withdraw(task) => (withdraw(task), None),
            Self::Run { id, timeline, reply } => {
                let result = rows::run(transaction, &id, &timeline);
                let failed = Failed::of(&result, health);
                (send_result(reply, result), failed)
            }
            Self::Progress { id, percent, reply } => {
                let result = rows::progress(transaction, &id, percent);
                let failed = Failed::of(&result, health);
                (send_result(reply, result), failed)
            }
            Self::Mark { id, mark } => {
                let result = rows::mark(transaction, &id, &mark);
                if let Err(err) = &result {
                    tracing::warn!(task_id = %id, %err, "a task's mark was not written");
                }
                (send_nothing(), Failed::of(&result, health))
            }
            Self::End { id, ending, at, reply } => {
                let end = || rows::end(transaction, &id, &ending, at);
                let (result, failed) = all_or_none(transaction, health, end);
                (send_ended(reply, result), failed)
            }
            Self::Probe => (send_nothing(), None),
            Self::Forget { kept, reply } => {
                let result = forget::forget(transaction, kept);
                let failed = Failed::of(&result, health);
                (send_result(reply, result), failed)
            }
        }
    }

    /// Returns the answer without running anything, since the transaction is undone.
    pub(super) fn skip(self) -> Answer {
        match self {
            Self::Accept { reply, .. } => send_result(reply, Err(StoreError::Stopped)),
            Self::Withdraw(task) => withdraw(task),
            Self::Run { reply, .. } | Self::Progress { reply, .. } => {
                send_result(reply, Err(StoreError::Stopped))
            }
            Self::Mark { .. } | Self::Probe => send_nothing(),
            Self::End { reply, .. } => send_result(reply, Err(StoreError::Stopped)),
            Self::Forget { reply, .. } => send_result(reply, Err(StoreError::Stopped)),
        }
    }
}
