//! Shows parts of an answer to readers as soon as the journal has them. Everything that readers saw must survive a
//! crash.

use std::time::Duration;

use actix::prelude::*;

use super::durable::stall_while_waiting;
use super::{Job, TaskActor};
use crate::store::{Appended, ChunkJournal, Store};
use crate::task::{Chunks, KeptEntries, Outcome, Task};

/// Longest time that an end waits for an acknowledgement. A working journal answers within milliseconds. The time is
/// shorter than callers wait ([`PATIENCE`](crate::store::PATIENCE)), so they get the end.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// The way in which a task shows its answer to readers.
#[derive(Debug)]
pub(super) enum Publication {
    /// The task has no stream, so nothing is shown.
    Off,
    /// Each part is shown as soon as the journal has it.
    On {
        journal: Box<dyn ChunkJournal>,
        /// The batch that the journal has not acknowledged yet. Parts that come before that form the next batch.
        pending: Option<Pending>,
    },
    /// The journal has failed in mid-stream. Readers still get the rest, because the journal already shows that a part
    /// of the answer was seen.
    Unjournalled,
    /// The rest is shown together with the end, when the end is durable. There are three cases:
    /// - The journal has not begun. After a crash the next process would run the task again, and a reader would get
    ///   parts of two answers.
    /// - The journal has refused the last batch, or has not acknowledged it in time, and the end follows at once.
    /// - This actor only ends the task. Entries that an earlier actor gave to the journal may not be written yet.
    WithEnd,
    /// The end is being recorded, and no more entries follow. Holds the journalled chunks, if the journal is complete.
    Over(Option<KeptEntries>),
}

/// A batch that was given to the journal.
#[derive(Debug)]
pub(super) struct Pending {
    acknowledging: SpawnHandle,
    /// The end of the task, which waits for the acknowledgement.
    end: Option<Outcome>,
}

impl Publication {
    /// Returns how the answer of a task with this job is shown.
    pub(super) fn of(task: &Task, job: &Job, store: &Store) -> Self {
        match job {
            _ if task.stream.is_none() => Self::Off,
            Job::Run(_) => Self::On { journal: store.journal(&task.id), pending: None },
            Job::End(_) => Self::WithEnd,
        }
    }

    /// Returns true while the journal has not acknowledged a batch.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self, Self::On { pending: Some(_), .. })
    }

    /// Prepares the journal, so that the first chunk does not wait for that.
    pub(super) fn make_ready(&mut self) {
        if let Self::On { journal, .. } = self {
            journal.make_ready();
        }
    }

    /// Closes the journal, to which nothing is added any more. Returns its chunks, if it is complete.
    pub(super) fn close(&mut self) -> Option<Chunks> {
        let kept = match std::mem::replace(self, Self::Over(None)) {
            Self::On { journal, .. } => journal.into_kept(),
            Self::Over(kept) => kept,
            Self::Off | Self::Unjournalled | Self::WithEnd => None,
        };
        let chunks = kept.as_ref().map(KeptEntries::chunks);
        *self = Self::Over(kept);
        chunks
    }

    /// Takes the journalled chunks out of a publication that is over, if the journal is complete.
    pub(super) fn take_kept(&mut self) -> Option<KeptEntries> {
        if let Self::Over(kept) = self { kept.take() } else { None }
    }
}

impl TaskActor {
    /// Gives the new entries to the journal, and shows them to readers when the journal has them. `ends` is true if the
    /// end of the task follows at once.
    pub(super) fn publish(&mut self, ends: bool, ctx: &mut Context<Self>) {
        let entries = self.answer.log().len();
        if entries == self.answer.log().published() {
            return;
        }
        let appended = match &mut self.publication {
            Publication::On { journal, pending: None } => journal.append(&mut self.answer.unpublished()),
            Publication::Unjournalled => return self.show(entries),
            Publication::Off | Publication::On { .. } | Publication::WithEnd | Publication::Over(_) => return,
        };
        match appended {
            Appended::Now(is_kept) => self.journalled(entries, is_kept, ends),
            Appended::Later(kept) => {
                let kept = stall_while_waiting(self.answer.log().handle(), kept).into_actor(self);
                let acknowledged = kept.map(move |kept, task, ctx| task.acknowledged(entries, kept, ctx));
                let acknowledging = ctx.spawn(acknowledged);
                if let Publication::On { pending, .. } = &mut self.publication {
                    *pending = Some(Pending { acknowledging, end: None });
                }
            }
        }
    }

    /// Delays the end of the task for a short time, if the journal has not acknowledged a batch yet. Returns the end if
    /// it need not wait.
    pub(super) fn delay_end(&mut self, end: Outcome, ctx: &mut Context<Self>) -> Option<Outcome> {
        let Publication::On { pending: Some(pending), .. } = &mut self.publication else { return Some(end) };
        pending.end = Some(end);
        ctx.run_later(LONGEST_WAIT, |task, ctx| {
            let Publication::On { pending: Some(pending), .. } = &task.publication else { return };
            ctx.cancel_future(pending.acknowledging);
            tracing::error!(
                task_id = %task.task.id,
                "the journal of chunks did not answer in time: the task ends without it"
            );
            task.acknowledged(task.answer.log().len(), false, ctx);
        });
        None
    }

    /// Handles the journal's reply about this many entries, or the end of the wait for it.
    fn acknowledged(&mut self, entries: usize, is_kept: bool, ctx: &mut Context<Self>) {
        // Any other state stays: the journal is not writing a batch.
        let Publication::On { pending, .. } = &mut self.publication else { return };
        let Some(Pending { end, .. }) = pending.take() else { return };
        self.journalled(entries, is_kept, end.is_some());
        match end {
            Some(outcome) => self.record(outcome, ctx),
            None => self.publish(false, ctx),
        }
    }

    /// Shows this many entries, which the journal has stored or refused, unless they are to be shown with the end.
    fn journalled(&mut self, entries: usize, is_kept: bool, ends: bool) {
        let is_first = self.answer.is_unseen();
        if !is_kept {
            self.settings.metrics.journal_failed();
            if is_first || ends {
                self.publication = Publication::WithEnd;
                // The log is marked as stalled, because readers must wait for the first chunk until the end.
                self.answer.log().handle().stall(!ends);
                return;
            }
            self.publication = Publication::Unjournalled;
        }
        self.show(entries);
        if is_first {
            // Afterwards, so that readers of the first chunk do not wait until the writer is awake.
            self.settings.store.mark_published(self.task.id.clone(), self.timeline.clone());
        }
    }

    fn show(&mut self, entries: usize) {
        self.answer.publish(entries);
        self.measure_published();
    }
}
