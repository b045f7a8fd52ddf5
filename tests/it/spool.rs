//! Audio on the disk: kept as long as its task may need it, within a limit, and deleted afterwards.

use serde_json::json;

use crate::support::hearken::Hearken;
use crate::support::upstream::FakeUpstream;
use crate::support::{WAV, base64, fixture};

#[test]
fn audio_is_on_the_disk_until_its_task_ends_however_it_ends() {
    let upstream =
        FakeUpstream::gemini().hold().say("x").then().hold().status(503).ends().then().never().start();
    let hearken = Hearken::before(&upstream).channel("first_chunk_timeout_ms = 500").start();
    let completed = hearken.submit(json!({}));
    upstream.held(1);
    assert_eq!(hearken.spooled(WAV), 1);
    upstream.release();
    hearken.wait(&completed);
    assert_eq!(hearken.audios(), (0, 0), "completed");
    let failed = hearken.submit(json!({"stream": true}));
    upstream.held(2);
    upstream.release();
    hearken.wait(&failed);
    assert_eq!(hearken.audios(), (0, 0), "failed");
    let late = hearken.submit(json!({}));
    assert_eq!(hearken.wait(&late)["error"]["code"], "upstream_timeout");
    assert_eq!(hearken.audios(), (0, 0), "timed out");
    let cancelled = hearken.submit(json!({}));
    upstream.request(3);
    assert_eq!(hearken.spooled(WAV), 1);
    hearken.cancel(&cancelled);
    assert_eq!(hearken.audios(), (0, 0), "cancelled");
}

#[test]
fn the_audio_of_a_task_that_waits_reaches_the_upstream_as_it_was_sent() {
    let upstream = FakeUpstream::gemini().hold().then().hold().say("x").start();
    let hearken = Hearken::before(&upstream).channel("max_running_tasks = 1").start();
    let first = hearken.submit(json!({}));
    upstream.held(1);
    let audio = base64(&fixture("audio/speech.ogg"));
    let waiting = hearken.submit(json!({"audio_url": format!("data:audio/wav;base64,{audio}")}));
    assert_eq!((hearken.spooled(WAV), hearken.spooled(&audio)), (1, 1));
    upstream.release();
    hearken.wait(&first);
    assert_eq!((hearken.spooled(WAV), hearken.spooled(&audio)), (0, 1), "each is deleted with its task");
    upstream.held(2);
    upstream.release();
    hearken.wait(&waiting);
    assert_eq!(hearken.audios(), (0, 0));
    let sent = String::from_utf8(upstream.request(1).body).unwrap();
    assert!(sent.contains(&audio) && sent.contains("audio/ogg"));
}

#[test]
fn submits_beyond_the_limit_are_refused_with_a_wait() {
    let upstream = FakeUpstream::gemini().hold().start();
    let hearken = Hearken::before(&upstream).set("[limits]\nmax_spool_bytes = 100").start();
    let running = hearken.submit(json!({}));
    upstream.held(1);
    let refused = hearken.try_submit(json!({}));
    refused.error(503, "storage_full");
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(hearken.spooled(WAV), 1);
    hearken.try_submit(json!({"sync": true})).error(503, "storage_full");
    upstream.release();
    hearken.wait(&running);
    hearken.submit(json!({}));
}

#[test]
fn audio_that_no_task_needs_is_deleted_after_a_crash() {
    let upstream = FakeUpstream::gemini().hold().then().hold().say("x").start();
    let mut hearken = Hearken::before(&upstream).channel("max_running_tasks = 1").start();
    let large = |byte| base64(&[fixture("audio/speech.wav"), vec![byte; 100_000]].concat());
    let submit = |hearken: &Hearken, audio: &str| {
        hearken.submit(json!({"audio_url": format!("data:audio/wav;base64,{audio}")}))
    };
    let (ended, waiting) = (large(1), large(2));
    let first = submit(&hearken, &ended);
    let second = submit(&hearken, &waiting);
    upstream.held(1);
    let before = hearken.files("spool");
    let kept: Vec<_> = before.iter().map(|path| (path, std::fs::read(path).unwrap())).collect();
    hearken.cancel(&first);
    upstream.held(2);
    hearken.signal("KILL");
    hearken.exit_status();
    // A kill between the commit of an end and the deletion leaves the audio like this. There is also a file of a task
    // that was never accepted.
    kept.into_iter().for_each(|(path, content)| std::fs::write(path, content).unwrap());
    std::fs::write(hearken.data_dir().join("spool/1863235808000000001"), "RIFF").unwrap();
    hearken.start_again();
    upstream.held(3);
    assert_eq!((hearken.spooled(&ended), hearken.spooled(&waiting), hearken.audios()), (0, 1, (1, 1)));
    hearken.cancel(&second);
    assert_eq!(hearken.audios(), (0, 0));
}
