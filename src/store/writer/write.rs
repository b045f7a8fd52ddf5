//! What is asked of the writer, and how each of these writes is run and answered.

use bytes::Bytes;
use rusqlite::Transaction;

use super::undone::Undone;
use super::{Files, Withdrawn, rows};
use crate::audio::facts::AudioFacts;
use crate::store::spool::{AtRest, Range, Segments};
use crate::store::{Acceptance, Ending, NewRecord, Reply, StoreError};
use crate::task::Timestamp;
use crate::task::id::TaskId;
use crate::task::snapshot::Snapshot;
use crate::task::timeline::Timeline;

/// What is written. Each but a mark is answered after the commit.
pub(in crate::store) enum Write {
    Accept {
        record: Box<NewRecord>,
        audio: Shared,
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
        tasks_before: Timestamp,
        chunks_before: Timestamp,
        keys_before: Timestamp,
        reply: Reply<Forgotten>,
    },
}

/// The audio of a new task, as far as the spool has it.
pub(in crate::store) enum Shared {
    /// There is none here.
    Nothing,
    /// It is on the disk, in a file of its own, and has this checksum.
    Own(u32),
    /// It waits to be brought to the disk.
    Text(Bytes),
    /// It is on the disk, in a segment.
    Kept(Range, u32),
    /// It cannot be.
    Refused(StoreError),
}

impl Shared {
    pub(super) fn append(&mut self, segments: &mut Segments) {
        if let Self::Text(text) = self {
            let sum = crc32fast::hash(text);
            *self = segments.append(text).map_or_else(Self::Refused, |range| Self::Kept(range, sum));
        }
    }

    pub(super) fn take_back(&mut self, segments: &mut Segments, err: &StoreError) {
        if let Self::Kept(range, _) = *self {
            segments.give_back(range);
            *self = Self::Refused(Undone::from(err).into());
        }
    }
}

/// What is remembered about a task that runs.
pub(in crate::store) enum Mark {
    /// A chunk may have been seen; this has happened so far.
    Published(Timeline),
    /// So far it has come, in percent.
    Progress(u8),
    /// This is its audio at this place.
    Downloaded(usize, AudioFacts),
}

/// What was deleted.
#[derive(Debug, Default)]
pub(in crate::store) struct Forgotten {
    pub(in crate::store) tasks: usize,
    /// Is there more to delete?
    pub(in crate::store) more: bool,
    /// Tasks whose journals go with the commit.
    pub(super) journals: Vec<TaskId>,
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

/// The answer to a submit: where it does not stand, its range is free again. Where it stands and the caller has given up,
/// the task is withdrawn.
fn say_accepted(
    reply: Reply<Acceptance>,
    result: Result<Acceptance, StoreError>,
    range: Option<Range>,
    if_vain: Option<Withdrawn>,
) -> Answer {
    Box::new(move |fate, files| {
        let result = fate.map_err(StoreError::from).and(result);
        let stands = matches!(result, Ok(Acceptance::Durable));
        let free = |files: &mut Files| range.into_iter().for_each(|range| files.segments.give_back(range));
        if !stands {
            free(files);
        }
        if reply.send(result).is_err() && stands {
            free(files);
            files.withdrawn.extend(if_vain);
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
            Self::Accept { record, audio, keys_before, reply } => {
                let (range, sum) = match audio {
                    Shared::Nothing | Shared::Text(_) => (None, None),
                    Shared::Own(sum) => (None, Some(sum)),
                    Shared::Kept(range, sum) => (Some(range), Some(sum)),
                    Shared::Refused(err) => return (say(reply, Err(err)), None),
                };
                let result = rows::accept(transaction, &record, AtRest { range, sum }, keys_before);
                let error = undone(&result);
                let NewRecord { task, idempotency, .. } = *record;
                let key = idempotency.map(|idempotency| (task.owner, idempotency.key));
                let withdrawn = Withdrawn { id: task.id.clone(), key };
                (say_accepted(reply, result, range, Some(withdrawn)), error)
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
                        rows::Ended::Now(Some(range)) => {
                            files.segments.give_back(range);
                            None
                        }
                        rows::Ended::Now(None) => {
                            files.spool.remove(&id);
                            None
                        }
                        rows::Ended::Before(snapshot) => snapshot,
                    });
                    let _ = reply.send(result);
                };
                (Box::new(answer), error)
            }
            Self::Probe => (Box::new(|_, _| ()), None),
            Self::Forget { tasks_before, chunks_before, keys_before, reply } => {
                let result = rows::forget(transaction, tasks_before, chunks_before, keys_before);
                let error = undone(&result);
                let answer = move |fate: Result<(), Undone>, files: &mut Files| {
                    let result = fate.map_err(StoreError::from).and(result);
                    if let Ok(forgotten) = &result {
                        forgotten.journals.iter().for_each(|id| files.journals.remove(id));
                    }
                    let _ = reply.send(result);
                };
                (Box::new(answer), error)
            }
        }
    }

    /// Does nothing but wait for the fate of a transaction that is known to be undone.
    pub(super) fn skip(self) -> Answer {
        match self {
            Self::Accept { audio: Shared::Kept(range, _), reply, .. } => {
                say_accepted(reply, Err(StoreError::Stopped), Some(range), None)
            }
            Self::Accept { reply, .. } => say(reply, Err(StoreError::Stopped)),
            Self::Run { reply, .. } => say(reply, Err(StoreError::Stopped)),
            Self::Mark { .. } | Self::Probe => Box::new(|_, _| ()),
            Self::End { reply, .. } => say(reply, Err(StoreError::Stopped)),
            Self::Forget { reply, .. } => say(reply, Err(StoreError::Stopped)),
        }
    }
}
