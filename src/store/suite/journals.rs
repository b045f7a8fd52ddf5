//! Promises about the chunks of streams.

use std::time::Duration;

use super::TestBackend;
use super::kit::{DAY, failed, owner, pass_a_millisecond, record, task};
use crate::secret::KeyHash;
use crate::store::{Appended, ChunkJournal, Ending, Journalled, Retained, Store};
use crate::task::testing::{delta, log_of};
use crate::task::{Answer, Chunks, Entry, Format, LogReader, Task, Timestamp};

fn chunks() -> [Entry; 4] {
    ["a", "b", "c\n", "d"].map(delta)
}

async fn is_kept(journal: &mut Box<dyn ChunkJournal>, entries: &[Entry]) -> bool {
    match journal.append(&mut entries.iter()) {
        Appended::Now(is_kept) => is_kept,
        Appended::Later(is_kept) => is_kept.await,
    }
}

async fn append(journal: &mut Box<dyn ChunkJournal>, entries: &[Entry]) {
    assert!(is_kept(journal, entries).await);
}

async fn read(store: &Store, task: &Task) -> Vec<Entry> {
    let Journalled { entries, is_whole } = store.chunks(task.id.clone()).await.unwrap();
    assert!(is_whole);
    entries
}

async fn ends(store: &Store, task: &Task, chunks: Option<Chunks>) {
    store.end(task.id.clone(), Ending { chunks, ..failed(task) }).await.unwrap();
}

pub(super) async fn chunks_are_read_as_they_were_written_to_the_journal<G: TestBackend>() {
    let ground = G::new();
    let task = task();
    {
        let store = ground.open(DAY);
        store.accept_task(record(&task)).await;
        let mut journal = store.journal(&task.id);
        assert!(read(&store, &task).await.is_empty());
        journal.make_ready();
        append(&mut journal, &chunks()[..1]).await;
        append(&mut journal, &chunks()[1..3]).await;
        assert_eq!(read(&store, &task).await, chunks()[..3]);
        assert_eq!(journal.into_kept().unwrap().chunks(), Chunks::of(chunks()[..3].iter()));
    }
    let store = ground.open(DAY);
    assert_eq!(read(&store, &task).await, chunks()[..3], "they outlive the process");
    ends(&store, &task, Some(Chunks::of(chunks()[..3].iter()))).await;
    assert!(store.replay(task.id.clone(), owner()).await.unwrap().is_some());
}

pub(super) async fn a_journal_that_has_refused_entries_takes_no_more<G: TestBackend>() {
    let ground = G::new();
    let store = ground.open(DAY);
    let task = task();
    store.accept_task(record(&task)).await;
    let mut journal = store.journal(&task.id);
    ground.block_journal(&task.id, true);
    assert!(!is_kept(&mut journal, &chunks()[..1]).await);
    ground.block_journal(&task.id, false);
    assert!(!is_kept(&mut journal, &chunks()[1..]).await, "it holds a beginning of the stream");
    assert!(journal.into_kept().is_none());
    assert!(read(&store, &task).await.is_empty());
}

pub(super) async fn a_damaged_journal_is_read_up_to_the_damage<G: TestBackend>() {
    let ground = G::new();
    let store = ground.open(DAY);
    let task = task();
    store.accept_task(record(&task)).await;
    let mut journal = store.journal(&task.id);
    for entry in &chunks() {
        append(&mut journal, std::slice::from_ref(entry)).await;
    }
    ground.damage_journal(&task.id);
    let read = store.chunks(task.id.clone()).await.unwrap();
    assert_eq!(read, Journalled { entries: chunks()[..3].to_vec(), is_whole: false });
    ends(&store, &task, Some(Chunks::of(chunks().iter()))).await;
    assert!(store.replay(task.id.clone(), owner()).await.unwrap().is_none());
}

pub(super) async fn a_journal_takes_nothing_from_a_second_writer<G: TestBackend>() {
    let ground = G::new();
    let store = ground.open(DAY);
    let task = task();
    store.accept_task(record(&task)).await;
    let mut first = store.journal(&task.id);
    append(&mut first, &chunks()[..2]).await;
    let mut second = store.journal(&task.id);
    second.make_ready();
    assert!(!is_kept(&mut second, &chunks()[1..3]).await);
    append(&mut first, &chunks()[2..]).await;
    assert!(!is_kept(&mut second, &chunks()[..]).await);
    assert_eq!(read(&store, &task).await, chunks());
}

pub(super) async fn a_task_with_a_chunk_counts_as_published<G: TestBackend>() {
    let ground = G::new();
    let (seen, ready, waiting) = (task(), task(), task());
    {
        let store = ground.open(DAY);
        for task in [&seen, &ready, &waiting] {
            store.accept_task(record(task)).await;
        }
        append(&mut store.journal(&seen.id), &chunks()).await;
        store.journal(&ready.id).make_ready();
    }
    let left = ground.open(DAY).unfinished(None).await.unwrap();
    let mut published: Vec<_> = left.iter().filter(|left| left.facts.published).collect();
    assert_eq!((left.len(), published.pop().unwrap().task.id.clone()), (3, seen.id.clone()));
    assert!(published.is_empty(), "{published:?}");
}

pub(super) async fn a_stream_is_replayed_if_its_chunks_match_the_record<G: TestBackend>() {
    let ground = G::new();
    let store = ground.open(DAY);
    let (whole, torn, silent, unstreamed) = (task(), task(), task(), task());
    let said = [delta("a"), delta("b")];
    for (task, journalled, chunks) in [
        (&whole, &said[..], Some(Chunks::of(said.iter()))),
        (&torn, &said[..1], Some(Chunks::of(said.iter()))),
        (&silent, &[], Some(Chunks::default())),
        (&unstreamed, &[], None),
    ] {
        store.accept_task(record(task)).await;
        if !journalled.is_empty() {
            append(&mut store.journal(&task.id), journalled).await;
        }
        ends(&store, task, chunks).await;
    }
    let replay = store.replay(whole.id.clone(), owner()).await.unwrap().unwrap();
    assert!(replay.left <= DAY && replay.left > DAY / 2);
    let stream = Answer::replay(replay.chunks, &replay.state).unwrap();
    let log = LogReader::from(stream.log().clone()).in_format(Format::Tasks);
    assert_eq!(log.mark().len, 3);
    assert!(log.all().starts_with(&log_of(["a", "b"]).frames().all()));
    // At most two replays are held at a time.
    let empty = store.replay(silent.id.clone(), owner()).await.unwrap().unwrap().chunks;
    assert_eq!(empty.entries(), 0);
    for task in [torn, unstreamed] {
        assert!(store.replay(task.id.clone(), owner()).await.unwrap().is_none());
    }
    assert!(store.replay(whole.id.clone(), KeyHash::of("sk-other")).await.unwrap().is_none());
}

pub(super) async fn chunks_are_deleted_when_their_retention_ends<G: TestBackend>() {
    let ground = G::new();
    let (ended, waiting) = (task(), task());
    {
        let store = ground.open(Duration::ZERO);
        for task in [&ended, &waiting] {
            store.accept_task(record(task)).await;
            append(&mut store.journal(&task.id), &chunks()).await;
        }
        ends(&store, &ended, Some(Chunks::of(chunks().iter()))).await;
        pass_a_millisecond();
        assert!(store.replay(ended.id.clone(), owner()).await.unwrap().is_none());
        let now = Timestamp::now();
        let kept = Retained { tasks: now.before(DAY), chunks: now, keys: now.before(DAY) };
        let gone = store.tasks.forget(kept).await.unwrap();
        assert_eq!((gone.tasks, gone.streams, gone.more), (0, vec![ended.id.clone()], false));
        store.journals.remove(vec![ended.id.clone(), task().id.clone()]).await.unwrap();
        assert!(store.found(&ended).await.is_none(), "hidden, but kept");
        assert!(store.request(ended.id.clone(), owner()).await.unwrap().is_some());
    }
    let store = ground.open(DAY);
    assert!(read(&store, &ended).await.is_empty());
    assert!(store.replay(ended.id.clone(), owner()).await.unwrap().is_none());
    assert!(store.found(&ended).await.is_some());
    assert_eq!(read(&store, &waiting).await, chunks());
}
