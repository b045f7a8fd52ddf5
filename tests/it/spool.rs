//! Audio at rest: on the disk as long as its task may need it, within a bound, and gone afterwards.

use serde_json::json;

use crate::support::hearken::Hearken;
use crate::support::upstream::FakeUpstream;
use crate::support::{WAV, base64, fixture, until};

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
    assert!(hearken.files("spool").is_empty(), "completed");
    let failed = hearken.submit(json!({"stream": true}));
    upstream.held(2);
    upstream.release();
    hearken.wait(&failed);
    assert!(hearken.files("spool").is_empty(), "failed");
    let late = hearken.submit(json!({}));
    assert_eq!(hearken.wait(&late)["error"]["code"], "upstream_timeout");
    assert!(hearken.files("spool").is_empty(), "timed out");
    let cancelled = hearken.submit(json!({}));
    upstream.request(3);
    assert_eq!(hearken.spooled(WAV), 1);
    hearken.cancel(&cancelled);
    assert!(hearken.files("spool").is_empty(), "cancelled");
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
    assert_eq!((hearken.spooled(WAV), hearken.spooled(&audio)), (0, 1), "each goes with its task");
    upstream.held(2);
    upstream.release();
    hearken.wait(&waiting);
    assert!(hearken.files("spool").is_empty());
    let sent = String::from_utf8(upstream.request(1).body).unwrap();
    assert!(sent.contains(&audio) && sent.contains("audio/ogg"));
}

#[test]
fn beyond_its_bound_submits_are_told_when_to_come_back() {
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
fn a_start_frees_what_ended_tasks_have_left_among_the_audio_of_others() {
    let upstream = FakeUpstream::gemini().hold().then().hold().say("x").start();
    let mut hearken = Hearken::before(&upstream).channel("max_running_tasks = 1").start();
    let audio = base64(&fixture("audio/speech.ogg"));
    let first = hearken.submit(json!({"audio_url": format!("data:audio/ogg;base64,{audio}")}));
    let second = hearken.submit(json!({}));
    let segments = hearken.files("spool");
    assert_eq!(segments.len(), 1);
    let both = std::fs::read(&segments[0]).unwrap();
    upstream.held(1);
    hearken.cancel(&first);
    upstream.held(2);
    hearken.signal("KILL");
    hearken.exit_status();
    // As a kill leaves it between the end's commit and what follows.
    std::fs::write(&segments[0], both).unwrap();
    hearken.start_again();
    upstream.held(3);
    assert_eq!((hearken.spooled(WAV), hearken.spooled(&audio)), (1, 0));
    hearken.cancel(&second);
    assert!(hearken.files("spool").is_empty());
}

#[test]
fn a_crash_leaves_no_audio_behind_that_no_task_needs() {
    let upstream = FakeUpstream::gemini().say("x").start();
    let mut hearken = Hearken::start(&upstream);
    let ended = hearken.submit(json!({}));
    hearken.wait(&ended);
    hearken.signal("KILL");
    hearken.exit_status();
    // As a kill between the two leaves it: a file whose task was never accepted, one whose task has ended, and those
    // that such tasks share.
    for name in ["task-llm-1776874565-yq3szvcu", ended.as_str(), "segment-0", "segment-7"] {
        std::fs::write(hearken.data_dir().join("spool").join(name), "UklGRg==").unwrap();
    }
    hearken.start_again();
    assert!(hearken.files("spool").is_empty());
    until("the server is ready", || (hearken.without_key().get("/readyz").status == 200).then_some(()));
}
