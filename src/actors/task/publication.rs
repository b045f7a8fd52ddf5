//! How what has come of an answer is shown: once the journal has it, since what was seen must outlive this process.

use actix::prelude::*;

use super::TaskActor;
use super::durable::patiently;
use crate::store::{Appended, ChunkJournal};
use crate::task::{Kept, Outcome};

/// What a task does about showing its answer.
#[derive(Debug)]
pub(super) enum Publication {
    /// The task has no stream: there is nothing to show.
    Off,
    /// What comes is shown as soon as the journal has it.
    On(Box<dyn ChunkJournal>),
    /// The journal has yet to say that it has a batch. What comes meanwhile is the next batch, and an end waits.
    Waiting { journal: Box<dyn ChunkJournal>, end: Option<Outcome> },
    /// The journal has ended in mid-stream. That keeps no reader from going on: it says that something was seen.
    Unjournalled,
    /// The journal has not even begun: the next process would answer the task anew, and a reader would get parts of two
    /// answers. The answer is shown with its end, which is durable.
    Withheld,
}

impl Publication {
    /// Returns true while the journal has yet to say that it has a batch.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self, Self::Waiting { .. })
    }

    /// Gets ready for the first chunk, which need not wait for that.
    pub(super) fn make_ready(&mut self) {
        if let Self::On(journal) = self {
            journal.make_ready();
        }
    }

    /// Returns what was journalled, if that is all.
    pub(super) fn into_kept(self) -> Option<Kept> {
        if let Self::On(journal) = self { journal.into_kept() } else { None }
    }
}

impl TaskActor {
    /// Shows readers what has come, once the journal has it.
    pub(super) fn publish(&mut self, ctx: &mut Context<Self>) {
        let entries = self.answer.log().len();
        if entries == self.answer.log().published() {
            return;
        }
        let mut journal = match std::mem::replace(&mut self.publication, Publication::Off) {
            Publication::On(journal) => journal,
            publication => {
                if let Publication::Unjournalled = publication {
                    self.show(entries);
                }
                self.publication = publication;
                return;
            }
        };
        let appended = journal.append(&mut self.answer.unpublished());
        match appended {
            Appended::Now(is_kept) => self.journalled(journal, entries, is_kept),
            Appended::Later(kept) => {
                self.publication = Publication::Waiting { journal, end: None };
                let kept = patiently(self.answer.log().handle(), kept).into_actor(self);
                ctx.spawn(kept.map(move |is_kept, task, ctx| task.acknowledged(entries, is_kept, ctx)));
            }
        }
    }

    /// The journal has said at last whether it has so many entries.
    fn acknowledged(&mut self, entries: usize, is_kept: bool, ctx: &mut Context<Self>) {
        match std::mem::replace(&mut self.publication, Publication::Off) {
            Publication::Waiting { journal, end } => {
                self.journalled(journal, entries, is_kept);
                match end {
                    Some(outcome) => self.record(outcome, ctx),
                    None => self.publish(ctx),
                }
            }
            // No append is under way: the state stays.
            other => self.publication = other,
        }
    }

    fn journalled(&mut self, journal: Box<dyn ChunkJournal>, entries: usize, is_kept: bool) {
        let is_first = self.answer.is_unseen();
        if is_first && !is_kept {
            self.publication = Publication::Withheld;
            return self.answer.log().handle().stall(true);
        }
        self.publication = if is_kept { Publication::On(journal) } else { Publication::Unjournalled };
        self.show(entries);
        if is_first {
            // Afterwards: a reader of the first chunk need not wait until the writer is awake.
            self.settings.store.mark_published(self.task.id.clone(), self.timeline.clone());
        }
    }

    fn show(&mut self, entries: usize) {
        self.answer.publish(entries);
        self.measure_published();
    }
}
