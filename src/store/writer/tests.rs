//! Tests of how a transaction treats the writes that share it.

use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

use bytes::Bytes;
use futures_util::FutureExt;
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::*;
use crate::audio::{AudioFacts, BlobId, Container, KeptAudio, Sound};
use crate::store::claim::{Claim, OpenFiles};
use crate::store::records::TaskMark;
use crate::store::spool::{NewBlob, Recorded, RecordedBlob};
use crate::store::suite::kit::{failed, metrics, record};
use crate::store::{NewRecord, StoreError, sqlite};
use crate::task::{Question, Snapshot, Task, TaskId, Timestamp};

/// More bytes than all audio of a test.
const MOST: u64 = 1 << 20;

/// Makes the writer of a new data directory.
fn writer(data_dir: &TempDir) -> Writer {
    writer_after(data_dir, || ())
}

/// Makes the writer of a new data directory, and changes the files before the writer looks at them.
fn writer_after(data_dir: &TempDir, happens: impl FnOnce()) -> Writer {
    let data_dir = data_dir.path();
    std::fs::create_dir(data_dir.join("frames")).unwrap();
    let claim = Claim::take(data_dir).unwrap();
    let connection = sqlite::connect(data_dir, true).unwrap();
    let open = Arc::new(OpenFiles::of(data_dir, claim).unwrap());
    let spool = Spool::open(data_dir, MOST, true, &Recorded::default(), |_| Ok(true)).unwrap();
    happens();
    let known = KnownFiles::of(data_dir, open).unwrap();
    let (commit_counter, _) = CommitCounter::open(data_dir, &connection).unwrap();
    Writer::new(WriterParts {
        connection,
        spool,
        files: known,
        health: Health::new(data_dir),
        commit_counter,
        metrics: metrics(),
    })
}

type Answered<T> = oneshot::Receiver<Result<T, StoreError>>;

/// Makes the submit of a task with this prompt, and with audio of these sizes.
fn submit(
    writer: &Writer,
    prompt: usize,
    audio: &[usize],
) -> (Arc<Task>, Write, Answered<Option<Withdrawn>>) {
    let created = Timestamp::now();
    let question = Question::short("m".into(), "p".repeat(prompt), None);
    let (id, owner) = (TaskId::generate(created.seconds()), crate::secret::KeyHash::of("sk-owner"));
    let task = Arc::new(Task { id, owner, created, stream: None, question, trace: None });
    let spool = &writer.parts.spool;
    let blob = |bytes: &usize| NewBlob::new(spool, spool.blob_id(), Bytes::from(vec![b'A'; *bytes])).unwrap();
    let blobs: Vec<_> = audio.iter().map(blob).collect();
    let kept = |blob: &NewBlob| KeptAudio::Blob {
        id: blob.id,
        container: Container::Wav,
        bytes: blob.bytes,
        duration: None,
    };
    let record = NewRecord { audio: blobs.iter().map(kept).collect(), ..record(&task) };
    let (reply, answer) = oneshot::channel();
    let write = Write::Accept { record: Box::new(record), blobs, keys_before: created, reply };
    (task, write, answer)
}

/// Makes the end of a task.
fn end(task: &Task) -> (Write, Answered<Option<Snapshot>>) {
    let (reply, answer) = oneshot::channel();
    let (id, ending) = (task.id.clone(), Box::new(failed(task)));
    (Write::End { id, ending, at: Timestamp::now(), reply }, answer)
}

/// Commits one write.
fn commit(writer: &mut Writer, write: Write) {
    writer.commit(&mut vec![write]);
}

/// Runs a transaction of one write, and answers it as if the transaction had this status.
fn commit_as(writer: &mut Writer, write: Write, status: &CommitStatus) {
    commit_all_as(writer, vec![write], status);
}

/// Runs a transaction of several writes, and answers them as if the transaction had this status.
fn commit_all_as(writer: &mut Writer, mut writes: Vec<Write>, status: &CommitStatus) {
    let (answers, found) = writer.transact(&mut writes);
    assert!(matches!(found, CommitStatus::Committed), "{found:?}");
    answers.into_iter().for_each(|answer| answer(status, &mut writer.deferred));
}

/// Counts the rows of audio, its files, and its bytes.
fn audio(writer: &Writer) -> (u64, usize, u64) {
    let WriterParts { connection, spool, .. } = &writer.parts;
    let rows = connection.query_row("SELECT count(*) FROM blobs", [], |row| row.get(0)).unwrap();
    let data_dir = Path::new(connection.path().unwrap()).parent().unwrap();
    (rows, files(data_dir), spool.used().0)
}

fn files(data_dir: &Path) -> usize {
    data_dir.join("spool").read_dir().unwrap().count()
}

/// A waker that drops the receiver of the answer when it is woken.
struct DropsAnswer(Mutex<Option<Answered<Option<Withdrawn>>>>);

impl Wake for DropsAnswer {
    fn wake(self: Arc<Self>) {
        self.0.lock().unwrap().take();
    }
}

/// Commits the submit of a task with audio. Its caller stops waiting during the commit.
fn commit_without_caller(writer: &mut Writer) -> Arc<Task> {
    let (_, first, mut first_answer) = submit(writer, 10, &[]);
    let (task, second, answer) = submit(writer, 10, &[10, 100_000]);
    let drops_answer = Waker::from(Arc::new(DropsAnswer(Mutex::new(Some(answer)))));
    assert!(first_answer.poll_unpin(&mut Context::from_waker(&drops_answer)).is_pending());
    writer.commit(&mut vec![first, second]);
    assert!(first_answer.now_or_never().is_some());
    task
}

fn is_unfinished(writer: &Writer, id: &TaskId) -> bool {
    let connection = &writer.parts.connection;
    let mut statement = connection.prepare("SELECT 1 FROM tasks WHERE id = ?1 AND ended_ms IS NULL").unwrap();
    statement.exists([id.as_str()]).unwrap()
}

const UNKNOWN: CommitStatus = CommitStatus::Unknown(Trouble::Unusable(String::new()));

#[test]
fn a_task_whose_caller_has_stopped_waiting_is_not_recorded() {
    let data_dir = tempfile::tempdir().unwrap();
    let mut writer = writer(&data_dir);
    let (task, write, answer) = submit(&writer, 10, &[10, 100_000]);
    drop(answer);
    commit(&mut writer, write);
    assert_eq!(writer.parts.commit_counter.last(), 1, "there was nothing to withdraw");
    assert!(!is_unfinished(&writer, &task.id));
    assert_eq!(audio(&writer), (0, 0, 0));
}

#[test]
fn a_task_is_withdrawn_if_its_caller_stops_waiting_in_the_commit() {
    let data_dir = tempfile::tempdir().unwrap();
    let mut writer = writer(&data_dir);
    let task = commit_without_caller(&mut writer);
    assert_eq!(writer.parts.commit_counter.last(), 2, "it was recorded, and withdrawn");
    assert!(!is_unfinished(&writer, &task.id));
    assert_eq!(audio(&writer), (0, 0, 0));
}

#[test]
fn a_commit_withdraws_no_more_tasks_than_it_may_write() {
    let data_dir = tempfile::tempdir().unwrap();
    let mut writer = writer(&data_dir);
    let (mut tasks, mut writes, mut answers) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..3 {
        let (task, write, answer) = submit(&writer, 10, &[100_000]);
        tasks.push(task);
        writes.push(write);
        answers.push(answer);
    }
    commit_all_as(&mut writer, writes, &UNKNOWN);
    writer.most = 1;
    let left = |writer: &Writer| tasks.iter().filter(|task| is_unfinished(writer, &task.id)).count();
    assert!(matches!(writer.transact(&mut Vec::new()).1, CommitStatus::Committed));
    assert_eq!((left(&writer), audio(&writer)), (2, (2, 2, 200_000)));
    commit(&mut writer, Write::Probe);
    assert_eq!((left(&writer), audio(&writer)), (0, (0, 0, 0)));
}

#[test]
fn a_writer_that_stops_withdraws_the_remaining_tasks() {
    let data_dir = tempfile::tempdir().unwrap();
    let mut writer = writer(&data_dir);
    let (task, write, _answer) = submit(&writer, 10, &[10, 100_000]);
    commit_as(&mut writer, write, &UNKNOWN);
    writer.stop();
    assert_eq!(files(data_dir.path()), 0);
    let connection = sqlite::connect(data_dir.path(), true).unwrap();
    let rows = "SELECT count(*) FROM tasks WHERE id = ?1";
    assert_eq!(connection.query_row(rows, [task.id.as_str()], |row| row.get::<_, u64>(0)).unwrap(), 0);
}

#[test]
fn audio_stays_until_it_is_known_whether_its_rows_are_committed() {
    let data_dir = tempfile::tempdir().unwrap();
    let mut writer = writer(&data_dir);
    // A submit that is committed, but its caller gets an error.
    let (unanswered, write, mut answer) = submit(&writer, 10, &[10, 100_000]);
    commit_as(&mut writer, write, &UNKNOWN);
    assert!(matches!(answer.try_recv().unwrap(), Err(StoreError::Unavailable(_))));
    assert_eq!(audio(&writer), (2, 1, 100_010));
    commit(&mut writer, Write::Probe);
    assert!(!is_unfinished(&writer, &unanswered.id), "the caller got an error, so there is no task");
    assert_eq!(audio(&writer), (0, 0, 0));
    // An end that is committed, but its caller gets an error.
    let (task, write, mut answer) = submit(&writer, 10, &[10, 100_000]);
    commit(&mut writer, write);
    assert!(answer.try_recv().unwrap().is_ok());
    let (write, mut answer) = end(&task);
    commit_as(&mut writer, write, &UNKNOWN);
    assert!(matches!(answer.try_recv().unwrap(), Err(StoreError::Unavailable(_))));
    assert_eq!(audio(&writer), (0, 1, 100_010));
    let (again, mut answer) = end(&task);
    commit(&mut writer, again);
    assert!(answer.try_recv().unwrap().unwrap().is_some(), "its first end stays");
    assert_eq!(audio(&writer), (0, 0, 0));
}

#[test]
fn audio_stays_if_the_end_of_its_task_is_not_committed() {
    let data_dir = tempfile::tempdir().unwrap();
    let mut writer = writer(&data_dir);
    let (_, write, mut answer) = submit(&writer, 10, &[100_000]);
    commit(&mut writer, write);
    assert!(answer.try_recv().unwrap().is_ok());
    let id = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
    let id = writer.parts.connection.query_row("SELECT id FROM blobs", [], id).unwrap();
    let blob = RecordedBlob { id: BlobId(id as u64), bytes: 100_000, has_file: true };
    writer.deferred.free_later(vec![blob]);
    commit(&mut writer, Write::Probe);
    assert_eq!(audio(&writer), (1, 1, 100_000));
}

#[test]
fn a_commit_missing_in_the_files_is_an_error_and_removes_no_files() {
    let data_dir = tempfile::tempdir().unwrap();
    let path = |name: &str| data_dir.path().join(name);
    // SQLite goes on to write to the log that it has opened.
    let mut writer = writer_after(&data_dir, || {
        std::fs::copy(path("hearken.sqlite-wal"), path("copy")).unwrap();
        std::fs::rename(path("copy"), path("hearken.sqlite-wal")).unwrap();
    });
    let (_, write, mut answer) = submit(&writer, 10, &[100_000]);
    let last = writer.parts.commit_counter.last();
    commit(&mut writer, write);
    let answer = answer.try_recv().unwrap();
    assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    assert_eq!(writer.parts.commit_counter.last(), last + 1, "SQLite has committed");
    let known = std::fs::read_to_string(path("hearken.commits")).unwrap();
    assert!(known.starts_with(&format!("{last:020} ")), "{known}");
    assert_eq!(audio(&writer), (1, 1, 100_000));
    writer.stop();
    assert_eq!(files(data_dir.path()), 1);
}

#[test]
fn each_write_of_a_batch_that_fills_the_disk_reports_its_own_result() {
    let data_dir = tempfile::tempdir().unwrap();
    let mut writer = writer(&data_dir);
    let connection = &writer.parts.connection;
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    let limit = |writer: &Writer, more: i64| {
        let limit = format!("PRAGMA max_page_count = {}", pages + more);
        writer.parts.connection.query_row(&limit, [], |_| Ok(())).unwrap();
    };
    limit(&writer, 10);
    let (mut answers, mut writes, mut refused) = (Vec::new(), Vec::new(), 0);
    for prompt in [10, 1 << 20, 10, 10] {
        let (task, write, answer) = submit(&writer, prompt, &[]);
        writes.push(write);
        answers.push((task, answer));
    }
    writer.commit(&mut writes);
    for (task, mut answer) in answers {
        let stands = match answer.try_recv().unwrap() {
            Ok(_) => true,
            Err(err) => {
                assert!(matches!(err, StoreError::Full(_)), "{err}");
                refused += 1;
                false
            }
        };
        assert_eq!(is_unfinished(&writer, &task.id), stands, "{}", task.id);
    }
    assert!(refused > 0);
    // When there is room again, writes succeed.
    limit(&writer, 10_000);
    let (task, again, mut answer) = submit(&writer, 1 << 20, &[]);
    commit(&mut writer, again);
    assert!(answer.try_recv().unwrap().is_ok() && is_unfinished(&writer, &task.id));
}

#[test]
fn commits_are_small_after_a_failed_one_until_they_succeed() {
    let data_dir = tempfile::tempdir().unwrap();
    let mut writer = writer(&data_dir);
    assert_eq!(writer.most, MOST_IN_A_COMMIT);
    writer.parts.connection.query_row("PRAGMA max_page_count = 100", [], |_| Ok(())).unwrap();
    let (_, write, _answer) = submit(&writer, 1 << 20, &[]);
    commit(&mut writer, write);
    assert_eq!(writer.most, 1);
    for (writes, most) in [(1, 2), (1, 2), (2, 4), (3, 4)] {
        writer.commit(&mut std::iter::repeat_with(|| Write::Probe).take(writes).collect());
        assert_eq!(writer.most, most, "{writes}");
    }
    let (spool, away) = (data_dir.path().join("spool"), data_dir.path().join("away"));
    std::fs::rename(&spool, &away).unwrap();
    commit(&mut writer, Write::Probe);
    assert_eq!(writer.most, 1, "any failure has this effect");
    std::fs::rename(&away, &spool).unwrap();
    writer.most = MOST_IN_A_COMMIT;
    writer.commit(&mut std::iter::repeat_with(|| Write::Probe).take(MOST_IN_A_COMMIT).collect());
    assert_eq!(writer.most, MOST_IN_A_COMMIT);
}

#[test]
fn a_database_that_lacks_a_commit_takes_no_further_commits() {
    let data_dir = tempfile::tempdir().unwrap();
    let mut writer = writer(&data_dir);
    let probe = |writer: &mut Writer| writer.transact(&mut vec![Write::Probe]).1;
    assert!(matches!(probe(&mut writer), CommitStatus::Committed));
    writer.parts.commit_counter.advance(2);
    assert!(matches!(probe(&mut writer), CommitStatus::Undone(Trouble::Damaged(_))));
    writer.parts.commit_counter.advance(1);
    assert!(matches!(probe(&mut writer), CommitStatus::Committed));
}

#[test]
fn a_mark_on_damaged_facts_is_dropped_and_the_store_goes_on() {
    let data_dir = tempfile::tempdir().unwrap();
    let mut writer = writer(&data_dir);
    let (task, write, _answer) = submit(&writer, 10, &[]);
    commit(&mut writer, write);
    writer.parts.connection.execute("UPDATE tasks SET audio_facts = '['", []).unwrap();
    let facts = AudioFacts::Inline { sound: Sound::new(Container::Wav, 1, None) };
    commit(&mut writer, Write::Mark { id: task.id.clone(), mark: TaskMark::Downloaded(0, facts) });
    assert_eq!(writer.parts.health.trouble(), None);
}

#[test]
fn a_write_that_fails_halfway_undoes_all_writes_of_its_commit() {
    let data_dir = tempfile::tempdir().unwrap();
    let mut writer = writer(&data_dir);
    let (task, write, _answer) = submit(&writer, 10, &[10]);
    commit(&mut writer, write);
    let refuse = "CREATE TEMP TRIGGER refuse BEFORE DELETE ON blobs BEGIN SELECT RAISE(ABORT, 'no'); END";
    writer.parts.connection.execute_batch(refuse).unwrap();
    let (other, first, mut accepted) = submit(&writer, 10, &[10]);
    let (second, mut ended) = end(&task);
    writer.commit(&mut vec![first, second]);
    assert!(ended.try_recv().unwrap().is_err());
    assert!(accepted.try_recv().unwrap().is_err());
    assert!(is_unfinished(&writer, &task.id));
    assert!(!is_unfinished(&writer, &other.id));
    assert_eq!(audio(&writer), (1, 0, 10));
    writer.parts.connection.execute_batch("DROP TRIGGER refuse").unwrap();
    let (write, mut answer) = end(&task);
    commit(&mut writer, write);
    assert!(answer.try_recv().unwrap().unwrap().is_none());
    assert_eq!(audio(&writer), (0, 0, 0));
}
