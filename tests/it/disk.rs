//! Disk failures: a full or slow disk, a data directory that is moved away, overwritten files, flipped bits.

use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::json;

use crate::support::hearken::{Hearken, run};
use crate::support::http::Reply;
use crate::support::subscriber::content;
use crate::support::upstream::FakeUpstream;
use crate::support::{WAV, base64, fixture, until};

/// Every call is answered within this time, whatever the disk does.
const MOST: Duration = Duration::from_secs(10);

fn in_time<T>(what: &str, call: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let answer = call();
    assert!(began.elapsed() < MOST, "{what} took {:?}", began.elapsed());
    answer
}

fn ready(hearken: &Hearken) -> Reply {
    in_time("/readyz", || hearken.without_key().get("/readyz"))
}

fn until_ready(hearken: &Hearken) {
    until("the server is ready", || (ready(hearken).status == 200).then_some(()));
}

fn until_unready(hearken: &Hearken, code: &str) {
    let refused =
        until("the server is not ready", || Some(ready(hearken)).filter(|reply| reply.status != 200));
    refused.error(503, code);
    assert!(refused.header("retry-after").is_some(), "{refused}");
}

fn database(hearken: &Hearken) -> PathBuf {
    hearken.data_dir().join("hearken.sqlite")
}

/// Flips a bit of the byte at this place.
fn flip(path: &Path, at: u64) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

/// Returns the offset of this text in a file.
fn find(path: &Path, text: &str) -> u64 {
    let content = std::fs::read(path).unwrap();
    content.windows(text.len()).position(|window| window == text.as_bytes()).unwrap() as u64
}

/// Returns the error of a start that refuses this data.
fn refusal(hearken: &Hearken) -> String {
    let output = hearken.refused_start();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn every_call_is_answered_while_the_disk_is_full() {
    let upstream = FakeUpstream::gemini()
        .hold()
        .say("a")
        .then()
        .hold()
        .say("b")
        .then()
        .hold()
        .say("c")
        .then()
        .say("d")
        .hold()
        .say("e")
        .then()
        .never()
        .start();
    let hearken = Hearken::before(&upstream).small_disk(32).start();
    let client = hearken.client();
    std::thread::scope(|scope| {
        let blocking = scope.spawn(|| client.try_submit(json!({"sync": true})));
        upstream.held(1);
        let unseen = scope.spawn(|| client.try_submit(json!({"sync": true, "stream": true})));
        upstream.held(2);
        let plain = hearken.submit(json!({}));
        upstream.held(3);
        let streamed = hearken.submit(json!({"stream": true}));
        upstream.held(4);
        let mut reader = hearken.stream(&streamed);
        assert_eq!(content(&[reader.frame(), reader.frame()]), "d");
        let cancelled = hearken.submit(json!({}));
        upstream.request(4);

        hearken.disk().fill();
        until_unready(&hearken, "storage_full");
        for changes in [json!({}), json!({"sync": true}), json!({"audio_url": "https://example.com/a.wav"})] {
            let refused = in_time("a submit", || hearken.try_submit(changes));
            refused.error(503, "storage_full");
            assert!(refused.header("retry-after").is_some());
        }
        let refused = in_time("a cancel", || hearken.try_cancel(&cancelled));
        let error = refused.error(503, "storage_full");
        assert!(error["message"].as_str().unwrap().contains("repeat the cancel"), "{refused}");
        upstream.closed(4);
        (0..4).for_each(|_| upstream.release());
        for (what, call) in [("a blocking call", blocking), ("a stream without a chunk", unseen)] {
            let reply = in_time(what, || call.join().unwrap());
            let error = reply.error(503, "storage_full");
            let id = reply.header("x-task-id").unwrap();
            assert!(error["message"].as_str().unwrap().contains(id), "{reply}");
            assert_eq!((&error["retryable"], reply.header("x-should-retry")), (&json!(false), Some("false")));
            let task = in_time("a query", || hearken.task(id));
            assert_eq!(task["status"], "processing", "an end is not reported before it is durable");
        }
        for id in [&plain, &streamed] {
            assert_eq!(in_time("a query", || hearken.task(id))["status"], "processing");
        }
        assert_eq!(
            in_time("a list", || hearken.get("/v1/tasks")).expect(200).json()["data"][4]["error"],
            json!(null)
        );

        hearken.disk().free();
        until_ready(&hearken);
        assert_eq!(content(&reader.rest()), "e", "the stream stayed open, and gets its end now");
        assert_eq!(hearken.wait(&cancelled)["error"]["code"], "task_cancelled");
        let all = hearken.get("/v1/tasks").expect(200).json();
        let ids = all["data"].as_array().unwrap().iter().map(|task| task["id"].as_str().unwrap().to_owned());
        let ids: Vec<_> = ids.filter(|id| *id != cancelled).collect();
        assert_eq!(ids.len(), 4, "nothing was accepted in between");
        for id in ids {
            let task = hearken.wait(&id);
            assert_eq!(task["status"], "completed", "an answer that was paid for is kept: {task}");
        }
        assert_eq!(upstream.requests(), 5);
        hearken.submit(json!({}));
    });
}

#[test]
fn a_server_with_a_full_disk_stops_on_a_signal_and_starts_again() {
    let upstream = FakeUpstream::gemini().hold().say("a").then().say("b").start();
    let mut hearken = Hearken::before(&upstream).small_disk(32).env("HEARKEN_DRAIN_SECONDS", "1").start();
    let id = hearken.submit(json!({"stream": true}));
    upstream.held(1);
    let mut reader = hearken.stream(&id);
    reader.comment();
    hearken.disk().fill();
    until_unready(&hearken, "storage_full");
    upstream.release();
    hearken.signal("TERM");
    let status = in_time("the end", || hearken.exit_status());
    assert!(status.success(), "{status}");
    // The stream breaks off without an end that is not durable.
    reader.breaks_off();
    // The disk has no room for the index of the write-ahead log.
    let said = refusal(&hearken);
    assert!(said.contains("make room on the disk of") && said.contains("/data"), "{said}");
    hearken.disk().free();
    hearken.start_again();
    let task = hearken.wait(&id);
    assert_eq!(task["results"][0]["choices"][0]["message"]["content"], "b", "{task}");
}

#[test]
fn the_disk_reserve_is_enough_for_the_ends_of_many_tasks() {
    const TASKS: usize = 200;
    let upstream = FakeUpstream::gemini().hold().say(&"x".repeat(60_000)).start();
    let hearken = Hearken::before(&upstream).channel("max_running_tasks = 200").small_disk(64).start();
    let mut wav = fixture("audio/speech.wav");
    wav.resize(60_000, 0);
    let audio = format!("data:audio/wav;base64,{}", base64(&wav));
    let ids: Vec<_> = (0..TASKS).map(|_| hearken.submit(json!({"audio_url": audio}))).collect();
    upstream.held(TASKS);
    assert!(hearken.files("spool").is_empty(), "the audio is in rows");
    hearken.disk().fill();
    until_unready(&hearken, "storage_full");
    (0..TASKS).for_each(|_| upstream.release());
    hearken.log_line("the end of a task cannot be recorded yet");
    hearken.disk().leave(8 << 20);
    for id in &ids {
        assert_eq!(hearken.wait(id)["status"], "completed");
    }
    until_unready(&hearken, "storage_full");
    hearken.disk().free();
    until_ready(&hearken);
}

#[test]
fn a_disk_that_hangs_is_reported_at_once() {
    let upstream = FakeUpstream::gemini().hold().say("a").start();
    let hearken = Hearken::start(&upstream);
    let running = hearken.submit(json!({}));
    upstream.held(1);
    // While this transaction lasts, the program's transactions wait, as they do for a disk that hangs.
    let mut other = Connection::open(database(&hearken)).unwrap();
    let hangs = other.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let refused = in_time("a submit", || hearken.try_submit(json!({})));
    refused.error(503, "storage_unavailable");
    until_unready(&hearken, "storage_unavailable");
    in_time("a cancel", || hearken.try_cancel(&running)).error(503, "storage_unavailable");
    assert_eq!(in_time("a query", || hearken.task(&running))["status"], "processing");
    drop(hangs);
    until_ready(&hearken);
    assert_eq!(hearken.wait(&running)["error"]["code"], "task_cancelled");
    assert_eq!(hearken.get("/v1/tasks").expect(200).json()["data"].as_array().unwrap().len(), 1);
}

#[test]
fn no_upstream_is_called_for_a_task_that_is_not_durable() {
    let upstream = FakeUpstream::gemini().say("a").start();
    let hearken = Hearken::start(&upstream);
    let mut other = Connection::open(database(&hearken)).unwrap();
    let hangs = other.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    in_time("a submit", || hearken.try_submit(json!({}))).error(503, "storage_unavailable");
    assert_eq!(upstream.connections(), 0, "the task could not be recorded");
    drop(hangs);
    until_ready(&hearken);
    assert_eq!(hearken.wait(&hearken.submit(json!({})))["status"], "completed");
    assert_eq!((upstream.connections(), upstream.requests()), (1, 1));
}

#[test]
fn no_tasks_are_accepted_while_the_data_directory_is_moved_away() {
    let upstream = FakeUpstream::gemini().hold().say("a").start();
    let hearken = Hearken::start(&upstream);
    let id = hearken.submit(json!({}));
    upstream.held(1);
    let away = hearken.directory().join("away");
    std::fs::rename(hearken.data_dir(), &away).unwrap();
    until_unready(&hearken, "storage_unavailable");
    hearken.try_submit(json!({})).error(503, "storage_unavailable");
    hearken.log_line(&format!(
        "{} was removed or moved while the server runs; put",
        hearken.data_dir().display()
    ));
    upstream.release();
    std::fs::rename(&away, hearken.data_dir()).unwrap();
    until_ready(&hearken);
    hearken.log_line("the store works again");
    assert_eq!(hearken.wait(&id)["status"], "completed");
}

#[test]
fn no_tasks_are_accepted_after_the_database_is_removed_or_replaced() {
    let upstream = FakeUpstream::gemini().say("a").start();
    for file in ["hearken.sqlite", "hearken.sqlite-wal", "hearken.sqlite-shm"] {
        let hearken = Hearken::start(&upstream);
        hearken.submit(json!({}));
        let path = hearken.data_dir().join(file);
        std::fs::remove_file(&path).unwrap();
        // The refusal comes at once, before any probe: the transaction itself checks the files.
        hearken.try_submit(json!({})).error(503, "storage_unavailable");
        std::fs::write(&path, "").unwrap();
        hearken.log_line(&format!("{} was replaced while the server runs", path.display()));
        until_unready(&hearken, "storage_unavailable");
    }
}

/// A way to damage a file in place: it stays the same file.
type Damage = fn(&Path);

fn empty(path: &Path) {
    std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(0).unwrap();
}

fn zero(path: &Path) {
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&vec![0; file.metadata().unwrap().len() as usize], 0).unwrap();
}

/// Cuts off the second half.
fn halve(path: &Path) {
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
}

#[test]
fn no_acknowledged_submit_is_lost_after_damage_in_place() {
    let upstream = FakeUpstream::gemini().say("a").start();
    let damages: [(&str, Damage); 5] = [
        ("hearken.sqlite", empty),
        ("hearken.sqlite", zero),
        ("hearken.sqlite-wal", empty),
        ("hearken.sqlite-wal", zero),
        ("hearken.sqlite-wal", halve),
    ];
    for (file, damage) in damages {
        let hearken = Hearken::start(&upstream);
        let ended = hearken.submit(json!({}));
        hearken.wait(&ended);
        let path = hearken.data_dir().join(file);
        damage(&path);
        // The refusal comes at once, before any probe: the transaction itself checks the files.
        hearken.try_submit(json!({})).error(503, "storage_unavailable");
        // The writer of the store logs this or, if it happened to read first, the reader that follows the API keys.
        let told = hearken.log_line("the store takes no tasks until the server is started again");
        assert!(told.contains(database(&hearken).to_str().unwrap()), "{told}");
        until_unready(&hearken, "storage_unavailable");
        // A damaged database may return wrong data.
        for path in ["/v1/tasks", "/v1/tasks?status=completed", &format!("/v1/tasks/{ended}")] {
            let refused = in_time(path, || hearken.get(path));
            let error = refused.error(503, "storage_unavailable");
            assert!(error["message"].as_str().unwrap().contains("try again later"), "{refused}");
        }
    }
}

#[test]
fn no_end_is_reported_after_damage_in_place() {
    let damages: [(&str, Damage); 3] =
        [("hearken.sqlite", empty), ("hearken.sqlite-wal", empty), ("hearken.sqlite-wal", zero)];
    // Each case waits for ten seconds.
    std::thread::scope(|scope| {
        for (file, damage) in damages {
            scope.spawn(move || no_end_is_reported_after(file, damage));
        }
    });
}

fn no_end_is_reported_after(file: &str, damage: Damage) {
    let upstream =
        FakeUpstream::gemini().hold().say("a").then().say("b").hold().say("c").then().say("d").hold().start();
    let mut hearken = Hearken::before(&upstream).env("HEARKEN_DRAIN_SECONDS", "1").start();
    let client = hearken.client();
    let readers = std::thread::scope(|scope| {
        let blocking = scope.spawn(|| client.try_submit(json!({"sync": true})));
        upstream.held(1);
        let [streamed, cancelled] = ["b", "d"].map(|text| {
            let id = hearken.submit(json!({"stream": true}));
            let mut reader = hearken.stream(&id);
            assert_eq!(content(&[reader.frame(), reader.frame()]), text);
            (id, reader)
        });
        damage(&hearken.data_dir().join(file));
        until_unready(&hearken, "storage_unavailable");
        let (id, reader) = cancelled;
        let refused = in_time("a cancel", || hearken.try_cancel(&id));
        let error = refused.error(503, "storage_unavailable");
        assert!(error["message"].as_str().unwrap().contains("repeat the cancel"), "{refused}");
        upstream.closed(2);
        (0..3).for_each(|_| upstream.release());
        let reply = in_time("a blocking call", || blocking.join().unwrap());
        reply.error(503, "storage_unavailable");
        for id in [reply.header("x-task-id").unwrap(), &streamed.0, &id] {
            assert_eq!(in_time("a query", || hearken.task(id))["status"], "processing", "{file}");
        }
        let (_, mut other) = streamed;
        assert_eq!(other.frame().content(), "c", "chunks of the upstream are still published");
        [other, reader]
    });
    hearken.log_line("the API keys cannot be read");
    assert_eq!(hearken.log().matches("the API keys cannot be read").count(), 1, "{}", hearken.log());
    hearken.signal("TERM");
    assert!(in_time("the end", || hearken.exit_status()).success());
    for reader in readers {
        reader.breaks_off();
    }
}

#[test]
fn damage_to_the_index_of_the_log_loses_nothing() {
    let upstream = FakeUpstream::gemini().say("a").start();
    // An overwritten index is rebuilt at once, a truncated one at the next start.
    for damage in [zero as Damage, empty, halve] {
        let mut hearken = Hearken::start(&upstream);
        let mut ids = vec![hearken.submit(json!({}))];
        hearken.wait(&ids[0]);
        damage(&hearken.data_dir().join("hearken.sqlite-shm"));
        for _ in 0..3 {
            let reply = hearken.try_submit(json!({}));
            match reply.status {
                200 => ids.push(reply.json()["id"].as_str().unwrap().to_owned()),
                _ => drop(reply.error(503, "storage_unavailable")),
            }
        }
        hearken.crash();
        for id in ids {
            assert_eq!(hearken.wait(&id)["status"], "completed");
        }
    }
}

#[test]
fn a_second_server_refuses_to_start_also_without_the_lock_file() {
    let upstream = FakeUpstream::gemini().say("a").start();
    let hearken = Hearken::start(&upstream);
    std::fs::remove_file(hearken.data_dir().join("lock")).unwrap();
    let said = refusal(&hearken);
    assert!(said.contains("another hearken runs on the data directory"), "{said}");
    hearken.submit(json!({}));
}

#[test]
fn a_program_that_reads_the_database_does_not_remove_the_log() {
    let hearken = Hearken::builder().local().start();
    let wal = hearken.data_dir().join("hearken.sqlite-wal");
    let before = wal.metadata().unwrap().ino();
    // The last connection that closes a database removes its write-ahead log.
    let other = Connection::open(database(&hearken)).unwrap();
    let tasks: i64 = other.query_row("SELECT count(*) FROM tasks", [], |row| row.get(0)).unwrap();
    assert_eq!(tasks, 0);
    other.close().unwrap();
    assert_eq!(wal.metadata().unwrap().ino(), before);
    hearken.try_submit(json!({"model": "local-inspect"})).expect(200);
}

#[test]
fn a_start_on_a_damaged_database_names_the_file_and_the_remedy() {
    let upstream = FakeUpstream::gemini().say("a").start();
    let mut hearken = Hearken::start(&upstream);
    for _ in 0..20 {
        let id = hearken.submit(json!({"prompt": "p".repeat(2000)}));
        hearken.wait(&id);
    }
    hearken.signal("KILL");
    hearken.exit_status();
    let path = database(&hearken);
    // Moves the whole log into the database file.
    Connection::open(&path).unwrap().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let mut torn = whole.clone();
    torn[3 * 4096..].fill(0xA5);
    let mut headless = whole.clone();
    headless[..100].fill(0);
    for damaged in [torn, headless] {
        std::fs::write(&path, damaged).unwrap();
        let said = refusal(&hearken);
        assert!(said.contains(&format!("{} is damaged", path.display())), "{said}");
        assert!(said.contains("restore the file from a backup") && said.contains(".recover"), "{said}");
        assert!(!said.contains("***"), "the error shows a finding, not a heading: {said}");
    }
    std::fs::write(&path, whole).unwrap();
    hearken.start_again();
    assert!(!hearken.log().contains("lacks commits"), "{}", hearken.log());
}

#[test]
fn commits_lost_with_a_damaged_log_are_reported() {
    let upstream = FakeUpstream::gemini().say("a").start();
    let mut hearken = Hearken::start(&upstream);
    let ids: Vec<_> = (0..5).map(|_| hearken.submit(json!({}))).collect();
    ids.iter().for_each(|id| drop(hearken.wait(id)));
    hearken.signal("KILL");
    hearken.exit_status();
    let wal = hearken.data_dir().join("hearken.sqlite-wal");
    let bytes = wal.metadata().unwrap().len();
    flip(&wal, bytes * 2 / 3);
    let log = std::fs::read(&wal).unwrap();
    let config = hearken.config_file();
    let says = |arguments: &[&str]| run(&[arguments, &["--config", config.to_str().unwrap()]].concat());
    let checked = says(&["check"]);
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let checked = String::from_utf8(checked.stdout).unwrap();
    let lost = checked.lines().find_map(|line| line.strip_prefix("warning: ")).unwrap();
    for action in [&["keys", "create", "new"][..], &["keys", "list"], &["keys", "revoke", "new"]] {
        let refused = says(action);
        assert_eq!((refused.status.code(), refused.stdout.len()), (Some(1), 0), "{refused:?}");
        assert_eq!(String::from_utf8(refused.stderr).unwrap(), format!("hearken: {lost}\n"));
    }
    assert!(std::fs::read(&wal).unwrap() == log, "the log is as it was");
    hearken.start_again();
    let line = hearken.log_line("lacks commits");
    assert!(line.contains("ERROR") && line.contains(lost), "{line}");
    assert!(lost.starts_with(database(&hearken).to_str().unwrap()), "{line}");
    assert_eq!(says(&["keys", "list"]).status.code(), Some(0));
    hearken.crash();
    assert!(!hearken.log().contains("lacks commits"), "it is logged once");
}

#[test]
fn key_commands_are_refused_after_damage_to_a_running_servers_log() {
    let hearken = Hearken::builder().local().start();
    hearken.wait(&hearken.submit(json!({"model": "local-inspect"})));
    let wal = hearken.data_dir().join("hearken.sqlite-wal");
    zero(&wal);
    let config = hearken.config_file();
    for action in [&["create", "new"][..], &["list"], &["revoke", "new"]] {
        let refused = run(&[&["keys"], action, &["--config", config.to_str().unwrap()]].concat());
        assert_eq!((refused.status.code(), refused.stdout.len()), (Some(1), 0), "{refused:?}");
        let said = String::from_utf8(refused.stderr).unwrap();
        let words = "hearken.sqlite-wal was cut short or overwritten while the server runs";
        assert!(said.starts_with("hearken: ") && said.contains(words), "{said}");
    }
    assert!(std::fs::read(&wal).unwrap().iter().all(|byte| *byte == 0), "nothing is written");
}

#[test]
fn damaged_audio_is_never_sent_upstream() {
    let upstream = FakeUpstream::gemini().hold().say("a").start();
    let hearken = Hearken::before(&upstream).channel("max_running_tasks = 1").start();
    let first = hearken.submit(json!({}));
    upstream.held(1);
    let small = hearken.submit(json!({}));
    let large = hearken.submit(json!({"audio_url": format!("data:audio/wav;base64,{}", long_audio())}));
    let [path] = &hearken.files("spool")[..] else { panic!("one task has its audio in a file") };
    flip(path, path.metadata().unwrap().len() / 2);
    let damage = "UPDATE blobs SET data = zeroblob(bytes) WHERE data IS NOT NULL";
    assert_eq!(hearken.database().execute(damage, []).unwrap(), 2);
    upstream.release();
    assert_eq!(hearken.wait(&first)["status"], "completed");
    for id in [&small, &large] {
        let error = hearken.wait(id)["error"].clone();
        assert_eq!(error["code"], "internal_error", "{error}");
        assert!(error["message"].as_str().unwrap().contains("damaged on the service's disk"), "{error}");
        let told = hearken.get(&format!("/v1/tasks/{id}?include=timeline")).expect(200).json();
        assert_eq!(told["timeline"]["attempts"], json!([]), "no call was made");
    }
    hearken.log_line(&format!("{} is not as it was written", path.display()));
    hearken.log_line("in the database is not as it was written");
    assert_eq!(upstream.requests(), 1);
}

/// Returns audio that is large enough to have a file of its own.
fn long_audio() -> String {
    let mut wav = fixture("audio/speech.wav");
    wav.resize(wav.len().max(100_000), 0);
    let audio = base64(&wav);
    assert!(audio.len() > 64 * 1024 && WAV.len() < 64 * 1024);
    audio
}

#[test]
fn a_stream_is_not_replayed_from_a_damaged_journal() {
    let upstream = FakeUpstream::gemini().say("hello").start();
    let mut hearken = Hearken::start(&upstream);
    let ids = [hearken.submit(json!({"stream": true})), hearken.submit(json!({"stream": true}))];
    ids.iter().for_each(|id| drop(hearken.wait(id)));
    hearken.crash();
    let path = hearken.data_dir().join("frames").join(&ids[0]);
    flip(&path, find(&path, "hello"));
    hearken.get(&format!("/v1/llm/generations/{}/stream", ids[0])).error(410, "stream_expired");
    hearken.log_line(path.to_str().unwrap());
    assert_eq!(content(&hearken.stream(&ids[1]).rest()), "hello");
    assert_eq!(hearken.task(&ids[0])["results"][0]["choices"][0]["message"]["content"], "hello");
}

#[test]
fn an_interrupted_stream_ends_with_an_error_before_journal_damage() {
    let upstream = FakeUpstream::gemini().say("first ").say("second ").say("third").hold().start();
    let mut hearken = Hearken::start(&upstream);
    let ids = [hearken.submit(json!({"stream": true})), hearken.submit(json!({"stream": true}))];
    for id in &ids {
        let mut reader = hearken.stream(id);
        let mut seen = String::new();
        while !seen.ends_with("third") {
            seen.push_str(&reader.frame().content());
        }
    }
    hearken.signal("KILL");
    hearken.exit_status();
    let path = hearken.data_dir().join("frames").join(&ids[0]);
    flip(&path, find(&path, "second"));
    hearken.start_again();
    for (id, seen, said) in [(&ids[0], "first ", true), (&ids[1], "first second third", false)] {
        let frames = hearken.stream(id).rest();
        let (end, chunks) = frames.split_last().unwrap();
        assert_eq!((content(chunks).as_str(), end.event.as_str()), (seen, "error"));
        let error = hearken.wait(id)["error"].clone();
        assert_eq!((&error["code"], &end.json()["error"]), (&json!("task_interrupted"), &error), "{end:?}");
        assert_eq!(
            error["message"].as_str().unwrap().contains("damaged on the service's disk"),
            said,
            "{error}"
        );
    }
    hearken.log_line("the journal of an interrupted task is damaged");
    // From now on, the stream always has this beginning.
    hearken.crash();
    assert_eq!(content(&hearken.stream(&ids[0]).rest()), "first ");
}

#[test]
fn a_damaged_piece_of_an_ended_stream_is_not_sent() {
    let upstream = FakeUpstream::gemini().say_often(400, &"x".repeat(200)).start();
    // The frames do not fit into memory.
    let hearken = Hearken::before(&upstream)
        .set("[limits]\nmax_stream_memory_bytes = 20000\n[metrics]\nlisten = \"127.0.0.1:0\"\n")
        .start();
    let id = hearken.submit(json!({"stream": true}));
    hearken.wait(&id);
    hearken.metrics_say("hearken_streams_kept", 1.0);
    assert_eq!(content(&hearken.stream(&id).rest()), "x".repeat(200 * 400));
    let path = hearken.data_dir().join("frames").join(&id);
    flip(&path, 100);
    let mut reader = hearken.stream(&id);
    reader.comment();
    reader.breaks_off();
    hearken.log_line(path.to_str().unwrap());
    // A subscriber that reconnects gets the reason.
    let expired = hearken.get(&format!("/v1/llm/generations/{id}/stream"));
    let error = expired.error(410, "stream_expired");
    assert!(error["message"].as_str().unwrap().contains("damaged"), "{expired}");
    assert_eq!(hearken.task(&id)["status"], "completed");
}
