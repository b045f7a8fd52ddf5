//! Journals in memory. They acknowledge later, as a journal on another machine does.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::FutureExt;
use futures_util::future::ready;

use super::told;
use crate::store::promises::{Appended, ChunkJournal, ChunkJournals, Promise};
use crate::store::records::Journalled;
use crate::task::{Chunks, Entry, Kept, TaskId};

/// The journals of all tasks; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct MemoryJournals(Arc<Mutex<HashMap<TaskId, Vec<Entry>>>>);

impl MemoryJournals {
    fn kept(&self) -> MutexGuard<'_, HashMap<TaskId, Vec<Entry>>> {
        self.0.lock().unwrap()
    }

    fn entries(&self, id: &TaskId) -> Vec<Entry> {
        self.kept().get(id).cloned().unwrap_or_default()
    }
}

impl ChunkJournals for MemoryJournals {
    fn journal(&self, id: &TaskId) -> Box<dyn ChunkJournal> {
        Box::new(Writer { journals: self.clone(), id: id.clone() })
    }

    fn begun(&self, ids: Vec<TaskId>) -> Promise<'_, HashSet<TaskId>> {
        let kept = self.kept();
        told(ids.into_iter().filter(|id| kept.contains_key(id)).collect())
    }

    fn read(&self, id: TaskId) -> Promise<'_, Journalled> {
        told(Journalled { entries: self.entries(&id), is_whole: true })
    }

    fn read_whole(&self, id: TaskId, chunks: Chunks) -> Promise<'_, Option<Kept>> {
        let entries = self.entries(&id);
        let is_whole = Chunks::of(entries.iter()) == chunks;
        told(is_whole.then(|| Kept::in_memory(entries.iter())))
    }

    fn remove(&self, ids: Vec<TaskId>) -> Promise<'_, ()> {
        self.kept().retain(|id, _| !ids.contains(id));
        told(())
    }
}

#[derive(Debug)]
struct Writer {
    journals: MemoryJournals,
    id: TaskId,
}

impl ChunkJournal for Writer {
    fn append(&mut self, entries: &mut dyn Iterator<Item = &Entry>) -> Appended {
        self.journals.kept().entry(self.id.clone()).or_default().extend(entries.cloned());
        Appended::Later(ready(true).boxed())
    }

    fn make_ready(&mut self) {}

    fn into_kept(self: Box<Self>) -> Option<Kept> {
        Some(Kept::in_memory(self.journals.entries(&self.id).iter()))
    }
}
