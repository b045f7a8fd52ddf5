//! Tests of what a transaction makes of the writes that share it.

use std::sync::Arc;

use tempfile::TempDir;
use tokio::sync::oneshot;

use super::*;
use crate::audio::{AudioFacts, KeptAudio};
use crate::store::place::make_database;
use crate::store::spool::Recorded;
use crate::store::{Acceptance, NewRecord, StoreError, sqlite};
use crate::task::{Question, Task, Timeline, Timestamp};

/// More than all audio of a test.
const MOST: u64 = 1 << 20;

/// Opens the files beside the database of a new data directory.
fn files(data_dir: &TempDir) -> Files {
    let data_dir = data_dir.path();
    let spool = Spool::open(data_dir, MOST, true, &Recorded::default(), |_| Ok(true)).unwrap();
    Files { spool, withdrawn: Vec::new() }
}

fn write(prompt: usize) -> (TaskId, Write, oneshot::Receiver<Result<Acceptance, StoreError>>) {
    let created = Timestamp::now();
    let question = Question::short("m".into(), "p".repeat(prompt), None);
    let id = TaskId::generate(created.seconds());
    let owner = crate::secret::KeyHash::of("sk-owner");
    let record = Box::new(NewRecord {
        task: Arc::new(Task { id: id.clone(), owner, created, stream: false, question, trace: None }),
        audio: vec![KeptAudio::Url("https://example.com/a.wav".parse().unwrap())],
        audio_facts: vec![AudioFacts::Url { url: "https://example.com/a.wav".into(), sound: None }],
        runs: false,
        irreplaceable_caller: false,
        timeline: Timeline::begun(created),
        idempotency: None,
    });
    let (reply, answer) = oneshot::channel();
    (id, Write::Accept { record, blobs: Ok(Vec::new()), keys_before: created, reply }, answer)
}

fn is_unfinished(connection: &Connection, id: &TaskId) -> bool {
    let mut statement = connection.prepare("SELECT 1 FROM tasks WHERE id = ?1 AND ended_ms IS NULL").unwrap();
    statement.exists([id.as_str()]).unwrap()
}

#[test]
fn a_task_whose_caller_has_given_up_is_withdrawn() {
    let data_dir = tempfile::tempdir().unwrap();
    drop(make_database(data_dir.path()).unwrap());
    let mut connection = sqlite::connect(data_dir.path(), true).unwrap();
    let mut files = files(&data_dir);
    let health = Health::new(data_dir.path());
    let (id, mut write, answer) = write(10);
    let spool = files.spool.clone();
    if let Write::Accept { blobs, .. } = &mut write {
        let blob = |bytes| NewBlob::new(&spool, spool.blob_id(), vec![b'A'; bytes].into());
        *blobs = [10, 100_000].into_iter().map(blob).collect();
    }
    let mut writes = vec![write];
    take_room(&mut writes);
    let (answers, fate) = commit_together(&mut connection, writes.into_iter(), &[], &health, 0);
    drop(answer);
    let fate = fate.map(drop);
    answers.into_iter().for_each(|answer| answer(fate.clone(), &mut files));
    let audio = |connection: &Connection| {
        let rows =
            connection.query_row("SELECT count(*) FROM blobs", [], |row| row.get::<_, u64>(0)).unwrap();
        (rows, data_dir.path().join("spool").read_dir().unwrap().count(), spool.used().0)
    };
    assert!(is_unfinished(&connection, &id));
    assert_eq!(audio(&connection), (2, 1, 100_010), "its audio is there as long as its row is");
    let withdrawn = std::mem::take(&mut files.withdrawn);
    let probe = std::iter::once(Write::Probe);
    commit_together(&mut connection, probe, &withdrawn, &health, 1).1.unwrap();
    drop(withdrawn);
    assert!(!is_unfinished(&connection, &id));
    assert_eq!(audio(&connection), (0, 0, 0));
}

#[test]
fn of_a_batch_that_fills_the_disk_what_is_said_to_stand_stands_and_nothing_else() {
    let data_dir = tempfile::tempdir().unwrap();
    drop(make_database(data_dir.path()).unwrap());
    let mut connection = sqlite::connect(data_dir.path(), true).unwrap();
    let mut files = files(&data_dir);
    let health = Health::new(data_dir.path());
    let mut last = 0;
    let mut commit_all = |connection: &mut Connection, writes: Vec<Write>| {
        let (answers, fate) = commit_together(connection, writes.into_iter(), &[], &health, last);
        let fate = fate.map(|commits| last = commits);
        answers.into_iter().for_each(|answer| answer(fate.clone(), &mut files));
    };
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    let limit = |connection: &Connection, more: i64| {
        connection.query_row(&format!("PRAGMA max_page_count = {}", pages + more), [], |_| Ok(())).unwrap();
    };
    limit(&connection, 10);
    let (tasks, mut refused): (Vec<_>, usize) = ([10, 1 << 20, 10, 10].map(write).into(), 0);
    let mut answers = Vec::new();
    let mut writes = Vec::new();
    for (id, write, answer) in tasks {
        writes.push(write);
        answers.push((id, answer));
    }
    commit_all(&mut connection, writes);
    for (id, mut answer) in answers {
        let stands = match answer.try_recv().unwrap() {
            Ok(_) => true,
            Err(err) => {
                assert!(matches!(err, StoreError::Full(_)), "{err}");
                refused += 1;
                false
            }
        };
        assert_eq!(is_unfinished(&connection, &id), stands, "{id}");
    }
    assert!(refused > 0);
    // With room again, all goes on.
    limit(&connection, 10_000);
    let (id, again, mut answer) = write(1 << 20);
    commit_all(&mut connection, vec![again]);
    assert!(answer.try_recv().unwrap().is_ok() && is_unfinished(&connection, &id));
}

#[test]
fn a_database_that_lacks_a_commit_takes_no_other() {
    let data_dir = tempfile::tempdir().unwrap();
    drop(make_database(data_dir.path()).unwrap());
    let mut connection = sqlite::connect(data_dir.path(), true).unwrap();
    let health = Health::new(data_dir.path());
    let mut commit =
        |last| commit_together(&mut connection, std::iter::once(Write::Probe), &[], &health, last).1;
    assert_eq!(commit(0).unwrap(), 1);
    assert!(matches!(commit(2), Err(Undone::Corrupt(_))));
    assert_eq!(commit(1).unwrap(), 2);
}
