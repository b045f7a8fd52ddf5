//! Journals in memory. They acknowledge with a delay, as a journal on another machine does.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;

use super::resolved;
use crate::store::promises::{Appended, ChunkJournal, ChunkJournals, Promise};
use crate::store::records::Journalled;
use crate::task::{Chunks, Entry, KeptEntries, TaskId};

/// A batch that was given to a journal: the number of entries, and the sender by which a test accepts or refuses them.
pub(crate) type Batch = (usize, oneshot::Sender<bool>);

/// The journals of all tasks; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryJournals {
    journals: Arc<Mutex<Journals>>,
    /// The sender of each batch to the test, which accepts or refuses it.
    batches: Option<mpsc::Sender<Batch>>,
}

#[derive(Debug, Default)]
struct Journals {
    entries: HashMap<TaskId, Vec<Entry>>,
    /// Tasks whose journals refuse all entries.
    blocked: HashSet<TaskId>,
    /// Tasks whose journals have a damaged last entry.
    damaged: HashSet<TaskId>,
}

impl MemoryJournals {
    /// Makes journals that acknowledge or refuse each batch as a test decides.
    pub(crate) fn with_decisions(batches: mpsc::Sender<Batch>) -> Self {
        Self { batches: Some(batches), ..Self::default() }
    }

    fn journals(&self) -> MutexGuard<'_, Journals> {
        self.journals.lock().unwrap()
    }

    /// Makes a journal refuse its entries, or accept them again.
    pub(in crate::store) fn block(&self, id: &TaskId, is_blocked: bool) {
        let blocked = &mut self.journals().blocked;
        if is_blocked {
            blocked.insert(id.clone())
        } else {
            blocked.remove(id)
        };
    }

    /// Damages the last entry of a journal.
    pub(crate) fn damage(&self, id: &TaskId) {
        self.journals().damaged.insert(id.clone());
    }

    /// Returns the readable part of a journal.
    fn read(&self, id: &TaskId) -> Journalled {
        let journals = self.journals();
        let mut entries = journals.entries.get(id).cloned().unwrap_or_default();
        let is_whole = !journals.damaged.contains(id);
        if !is_whole {
            entries.pop();
        }
        Journalled { entries, is_whole }
    }
}

impl ChunkJournals for MemoryJournals {
    fn journal(&self, id: &TaskId) -> Box<dyn ChunkJournal> {
        Box::new(MemoryJournal {
            journals: self.clone(),
            id: id.clone(),
            written: Arc::default(),
            has_refused: Arc::default(),
        })
    }

    fn begun(&self, ids: Vec<TaskId>) -> Promise<'_, HashSet<TaskId>> {
        let journals = self.journals();
        resolved(ids.into_iter().filter(|id| journals.entries.contains_key(id)).collect())
    }

    fn read(&self, id: TaskId) -> Promise<'_, Journalled> {
        resolved(self.read(&id))
    }

    fn read_whole(&self, id: TaskId, chunks: Chunks) -> Promise<'_, Option<KeptEntries>> {
        let Journalled { entries, .. } = self.read(&id);
        let is_whole = Chunks::of(entries.iter()) == chunks;
        resolved(is_whole.then(|| KeptEntries::in_memory(entries.iter())))
    }

    fn remove(&self, ids: Vec<TaskId>) -> Promise<'_, ()> {
        self.journals().entries.retain(|id, _| !ids.contains(id));
        resolved(())
    }
}

#[derive(Debug)]
struct MemoryJournal {
    journals: MemoryJournals,
    id: TaskId,
    /// The number of entries that this writer has written.
    written: Arc<AtomicUsize>,
    has_refused: Arc<AtomicBool>,
}

impl ChunkJournal for MemoryJournal {
    fn append(&mut self, entries: &mut dyn Iterator<Item = &Entry>) -> Appended {
        let entries: Vec<_> = entries.cloned().collect();
        let (journals, id) = (self.journals.clone(), self.id.clone());
        let (written, has_refused) = (Arc::clone(&self.written), Arc::clone(&self.has_refused));
        let said = journals.batches.as_ref().map(|batches| {
            let (says, said) = oneshot::channel();
            batches.try_send((entries.len(), says)).unwrap();
            said
        });
        let appended = async move {
            let is_told = match said {
                Some(said) => said.await.unwrap(),
                None => {
                    yield_now().await;
                    true
                }
            };
            let mut journals = journals.journals();
            let found = journals.entries.get(&id).map_or(0, Vec::len);
            if !is_told || journals.blocked.contains(&id) || found != written.load(Ordering::Relaxed) {
                has_refused.store(true, Ordering::Relaxed);
            }
            let is_kept = !has_refused.load(Ordering::Relaxed);
            if is_kept {
                written.fetch_add(entries.len(), Ordering::Relaxed);
                journals.entries.entry(id).or_default().extend(entries);
            }
            is_kept
        };
        Appended::Later(appended.boxed())
    }

    fn make_ready(&mut self) {}

    fn into_kept(self: Box<Self>) -> Option<KeptEntries> {
        let is_all = !self.has_refused.load(Ordering::Relaxed);
        is_all.then(|| KeptEntries::in_memory(self.journals.read(&self.id).entries.iter()))
    }
}
