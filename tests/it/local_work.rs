//! The embedded channel measures on threads of its own, at most one per slot, and stops when the task ends.

use serde_json::json;

use crate::support::hearken::Hearken;
use crate::support::{base64, fixture, flac, until};

/// Starts a server with the embedded channel, which has these lines.
fn start(channel: &str) -> Hearken {
    Hearken::builder().local().channel(channel).set("[metrics]\nlisten = \"127.0.0.1:0\"").start()
}

/// Returns days of sound in a few hundred kilobytes.
fn bomb(stated: u64) -> String {
    format!("data:audio/flac;base64,{}", base64(&flac::bomb(30_000, stated)))
}

fn small() -> String {
    format!("data:audio/wav;base64,{}", base64(&fixture("audio/speech-rf64.wav")))
}

/// Returns the states of the threads that measure.
fn threads(hearken: &Hearken) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", hearken.pid())).unwrap();
    let stats = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok());
    stats
        .filter_map(|stat| {
            let (name, fields) = stat.rsplit_once(") ")?;
            name.ends_with("(local-inspect").then(|| fields[..1].to_owned())
        })
        .collect()
}

/// Returns how many threads measure now; a thread without work sleeps.
fn working_threads(hearken: &Hearken) -> usize {
    threads(hearken).iter().filter(|state| *state == "R").count()
}

fn wait_until_working(hearken: &Hearken) {
    until("a thread measures", || (working_threads(hearken) > 0).then_some(()));
}

fn wait_until_idle(hearken: &Hearken) {
    until("no thread measures any more", || (working_threads(hearken) == 0).then_some(()));
    hearken.metrics_say("hearken_tasks_running{channel=\"local\"}", 0.0);
}

#[test]
fn a_cancel_ends_the_measuring_of_a_task() {
    let hearken = start("");
    let id = hearken.submit(json!({"model": "local-inspect", "audio_url": bomb(0)}));
    wait_until_working(&hearken);
    hearken.cancel(&id);
    wait_until_idle(&hearken);
    assert_eq!(hearken.wait(&id)["error"]["code"], "task_cancelled");
}

#[test]
fn a_blocking_caller_that_disconnects_ends_the_measuring() {
    let hearken = start("");
    let request = hearken.submit_bytes(json!({"model": "local-inspect", "audio_url": bomb(0), "sync": true}));
    let socket = hearken.send_raw(request.as_bytes());
    wait_until_working(&hearken);
    drop(socket);
    wait_until_idle(&hearken);
}

#[test]
fn a_timeout_ends_the_measuring_whatever_length_the_header_states() {
    // With the stated 18 days as the duration, the timeout would be 156 s.
    for stated in [0, (1 << 36) - 1] {
        let hearken = start("total_timeout_ms = 500\ntotal_timeout_audio_factor = 0.0001\nmax_retries = 0");
        let id = hearken.submit(json!({"model": "local-inspect", "audio_url": bomb(stated)}));
        let task = hearken.wait(&id);
        assert_eq!(task["error"]["code"], "upstream_timeout", "{task}");
        wait_until_idle(&hearken);
    }
}

#[test]
fn cancelled_tasks_never_take_more_threads_than_slots() {
    const SLOTS: usize = 2;
    let hearken = start(&format!("max_running_tasks = {SLOTS}"));
    let audio = bomb(0);
    let bounded = || assert!(threads(&hearken).len() <= SLOTS, "{:?}", threads(&hearken));
    for round in 0..20 {
        let id = hearken.submit(json!({"model": "local-inspect", "audio_url": audio}));
        bounded();
        // Some are cancelled before a thread takes them, some while a thread works on them.
        if round % 3 == 0 {
            wait_until_working(&hearken);
        }
        hearken.cancel(&id);
        bounded();
    }
    let id = hearken.submit(json!({"model": "local-inspect", "audio_url": small()}));
    assert_eq!(hearken.wait(&id)["status"], "completed");
    wait_until_idle(&hearken);
    bounded();
}

#[test]
fn decoder_warnings_are_in_the_report_and_not_in_the_log() {
    let hearken = start("");
    for name in ["speech.mp3", "speech.flac", "speech.aac", "speech.opus"] {
        let mut audio = fixture(&format!("audio/{name}"));
        let middle = audio.len() / 2;
        for byte in audio[middle..middle + 900].iter_mut().step_by(3) {
            *byte ^= 0x5a;
        }
        let audio = format!("data:audio/unknown;base64,{}", base64(&audio));
        let id = hearken.submit(json!({"model": "local-inspect", "audio_url": audio}));
        let task = hearken.wait(&id);
        let report = task["results"][0]["choices"][0]["message"]["content"].as_str().unwrap();
        assert!(report.contains("- Damage") || report.contains("- Incomplete"), "{name}: {report}");
    }
    assert!(!hearken.log().contains("symphonia"), "{}", hearken.log());
}
