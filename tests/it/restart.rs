//! Restarts: what a killed program leaves behind, and what the next start does with it.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::support::hearken::{Hearken, command};
use crate::support::host::Host;
use crate::support::subscriber::{Frame, content};
use crate::support::upstream::FakeUpstream;
use crate::support::{WAV, fixture, until};

fn bytes(frames: &[Frame]) -> String {
    frames.iter().map(Frame::bytes).collect()
}

/// Returns the prompt of a request to the upstream.
fn prompt(upstream: &FakeUpstream, number: usize) -> Value {
    let body: Value = serde_json::from_slice(&upstream.request(number).body).unwrap();
    let parts = body["contents"][0]["parts"].as_array().unwrap().clone();
    parts.iter().find_map(|part| part.get("text")).unwrap().clone()
}

#[test]
fn a_start_that_cannot_listen_runs_no_task_of_an_earlier_run() {
    let upstream = FakeUpstream::gemini().never().then().say("x").start();
    let mut hearken = Hearken::start(&upstream);
    let id = hearken.submit(json!({}));
    upstream.request(0);
    hearken.signal("KILL");
    hearken.exit_status();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let config = hearken.config_file();
    let mut serve = command(&["serve", "--config", config.to_str().unwrap(), "--listen", &listen]);
    let output = serve.current_dir(hearken.directory()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot listen on ") && said.lines().count() == 1, "{said}");
    assert_eq!(upstream.requests(), 1);
    hearken.start_again();
    assert_eq!(hearken.wait(&id)["status"], "completed");
}

#[test]
fn chunks_seen_before_a_crash_are_kept_and_end_as_interrupted() {
    let upstream = FakeUpstream::gemini().say("a").say("b").say("c").hold().start();
    let mut hearken = Hearken::start(&upstream);
    let id = hearken.submit(json!({"stream": true}));
    let mut readers = [hearken.stream(&id), hearken.stream_from(&id, "?offset=1", &[]), hearken.stream(&id)];
    let seen: Vec<Frame> = (0..4).map(|_| readers[0].frame()).collect();
    assert_eq!(readers[1].frame(), seen[1]);
    let progress = hearken.task(&id)["progress"].as_u64().unwrap();
    hearken.crash();

    let after = hearken.stream(&id).rest();
    assert_eq!(bytes(&after[..4]), bytes(&seen), "byte for byte");
    assert_eq!((after.len(), after[4].event.as_str(), after[4].id), (5, "error", 4));
    let error = &after[4].json()["error"];
    assert_eq!((&error["code"], &error["retryable"]), (&json!("task_interrupted"), &json!(true)));
    let resumed = hearken.stream_from(&id, "", &[("last-event-id", "2")]).rest();
    assert_eq!(bytes(&resumed), bytes(&after[3..]));
    let path = format!("/v1/llm/generations/{id}/stream");
    hearken.call("GET", &path, &[("last-event-id", "4")], None).expect(204);

    let task = hearken.wait(&id);
    assert_eq!((&task["status"], &task["error"]), (&json!("failed"), error));
    assert!(task["progress"].as_u64().unwrap() >= progress);
    assert_eq!(upstream.requests(), 1, "an answer that has begun is not requested again");
    assert_eq!(hearken.audios(), (0, 0));
    hearken.crash();
    assert_eq!(bytes(&hearken.stream(&id).rest()), bytes(&after));
    assert_eq!(hearken.task(&id), task);
}

/// Returns the task's timeline.
fn timeline(hearken: &Hearken, id: &str) -> Value {
    hearken.get(&format!("/v1/tasks/{id}?include=timeline")).expect(200).json()["timeline"].clone()
}

#[test]
fn the_timeline_of_an_interrupted_answer_survives_a_crash() {
    let upstream = FakeUpstream::gemini().status(503).ends().then().say("half").hold().start();
    let mut hearken = Hearken::builder()
        .gemini_named("fake", &upstream.base_url())
        .channel("max_retry_wait_ms = 10")
        .start();
    let id = hearken.submit(json!({"stream": true}));
    let mut reader = hearken.stream(&id);
    assert_eq!([reader.frame().id, reader.frame().id], [0, 1]);
    let before = timeline(&hearken, &id);
    assert!(before["first_answered_at_ms"].is_u64(), "{before}");
    // This submit is committed after the time of the first chunk, so that time is durable, too.
    hearken.submit(json!({}));
    hearken.crash();
    assert_eq!(hearken.wait(&id)["error"]["code"], "task_interrupted");
    let after = timeline(&hearken, &id);
    assert_eq!(after["first_answered_at_ms"], before["first_answered_at_ms"], "{after}");
    let outcomes: Vec<&Value> =
        after["attempts"].as_array().unwrap().iter().map(|attempt| &attempt["outcome"]).collect();
    assert_eq!(outcomes, ["upstream_error", "task_interrupted"], "{after}");
}

#[test]
fn a_download_interrupted_by_a_crash_keeps_its_first_start_time() {
    let upstream = FakeUpstream::gemini().say("x").start();
    let host = Host::serve(|asked| match asked.number {
        0 => asked.until_they_leave(),
        _ => asked.file("audio/wav", &fixture("audio/speech.wav")),
    });
    let mut hearken = Hearken::before(&upstream).set("[fetch]\nallow_hosts = [\"127.0.0.1\"]").start();
    let id = hearken.submit(json!({"audio_url": host.url("/a.wav")}));
    until("the download begins", || (!host.requests().is_empty()).then_some(()));
    let before = timeline(&hearken, &id);
    hearken.crash();
    assert_eq!(hearken.wait(&id)["status"], "completed");
    let after = timeline(&hearken, &id);
    let began = |timeline: &Value| timeline["fetch_started_at_ms"].as_u64().unwrap();
    assert_eq!(began(&after), began(&before), "{after}");
    assert!(after["fetched_at_ms"].as_u64().unwrap() > began(&after), "{after}");
}

#[test]
fn a_task_without_chunks_runs_again_with_the_same_prompt_and_audio() {
    for stream in [true, false] {
        let upstream = FakeUpstream::gemini().say("half").hold().then().say("whole").start();
        let upstream =
            if stream { FakeUpstream::gemini().hold().then().say("whole").start() } else { upstream };
        let mut hearken = Hearken::start(&upstream);
        let id = hearken.submit(json!({"stream": stream, "prompt": "What?", "temperature": 0.5}));
        upstream.held(1);
        let before = hearken.task(&id);
        assert_eq!(before["status"], "processing");
        hearken.crash();
        let task = hearken.wait(&id);
        assert_eq!(task["status"], "completed", "{task}");
        assert_eq!(task["results"][0]["choices"][0]["message"]["content"], "whole");
        assert_eq!(task["created"], before["created"]);
        assert_eq!(upstream.request(0).body, upstream.request(1).body);
        assert!(String::from_utf8_lossy(&upstream.request(1).body).contains(WAV));
        assert_eq!(hearken.audios(), (0, 0));
        if stream {
            assert_eq!(content(&hearken.stream(&id).rest()), "whole");
        }
        let attempts = timeline(&hearken, &id)["attempts"].as_array().unwrap().clone();
        let outcomes: Vec<_> = attempts.iter().map(|attempt| attempt["outcome"].clone()).collect();
        assert_eq!(outcomes, ["task_interrupted", "completed"]);
    }
}

#[test]
fn a_task_that_crashes_the_program_fails_after_three_runs() {
    let upstream = FakeUpstream::gemini().never().start();
    let mut hearken = Hearken::start(&upstream);
    let id = hearken.submit(json!({"stream": true}));
    for run in 0..3 {
        upstream.request(run);
        until("the task is shown as running", || (hearken.task(&id)["status"] == "processing").then_some(()));
        hearken.crash();
    }
    let task = hearken.wait(&id);
    assert_eq!((&task["status"], &task["error"]["code"]), (&json!("failed"), &json!("task_interrupted")));
    let frames = hearken.stream(&id).rest();
    assert_eq!((frames.len(), frames[0].event.as_str(), frames[0].id), (1, "error", 0));
    assert_eq!(upstream.requests(), 3);
    assert_eq!(hearken.audios(), (0, 0));
}

#[test]
fn waiting_tasks_run_in_their_order_after_a_crash() {
    let upstream = FakeUpstream::gemini().never().then().say("x").start();
    let mut hearken = Hearken::before(&upstream).channel("max_running_tasks = 1").start();
    let submit = |prompt: &str| hearken.submit(json!({"prompt": prompt}));
    let ids: Vec<String> = ["one", "two", "three"].map(submit).into();
    upstream.request(0);
    assert_eq!(hearken.task(&ids[2])["status"], "pending");
    hearken.crash();
    for id in &ids {
        assert_eq!(hearken.wait(id)["status"], "completed");
    }
    assert_eq!([0, 1, 2, 3].map(|number| prompt(&upstream, number)), ["one", "one", "two", "three"]);
}

#[test]
fn a_blocking_call_is_not_run_again_after_a_crash() {
    let upstream = FakeUpstream::gemini().never().then().say("x").start();
    let mut hearken = Hearken::start(&upstream);
    let call = hearken.send_raw(hearken.submit_bytes(json!({"sync": true})).as_bytes());
    upstream.request(0);
    let id = hearken.running();
    hearken.crash();
    drop(call);
    assert_eq!(hearken.wait(&id)["error"]["code"], "task_interrupted");
    assert_eq!(upstream.requests(), 1);
}

#[test]
fn a_synchronous_stream_cut_by_a_crash_can_be_resumed() {
    let upstream = FakeUpstream::gemini().never().then().say("x").start();
    let mut hearken = Hearken::start(&upstream);
    let call = hearken.send_raw(hearken.submit_bytes(json!({"sync": true, "stream": true})).as_bytes());
    upstream.request(0);
    let id = hearken.running();
    hearken.crash();
    drop(call);
    assert_eq!(content(&hearken.stream(&id).rest()), "x");
}

#[test]
fn ended_streams_are_replayed_byte_for_byte_after_a_crash() {
    let upstream = FakeUpstream::gemini()
        .think("hm")
        .say("Grüße\n")
        .finish("MAX_TOKENS")
        .then()
        .say("half")
        .cut()
        .then()
        .status(503)
        .ends()
        .start();
    let mut hearken = Hearken::start(&upstream);
    let tasks: Vec<_> = (0..3)
        .map(|_| {
            let id = hearken.submit(json!({"stream": true, "reasoning": true}));
            let frames = hearken.stream(&id).rest();
            let task = hearken.get(&format!("/v1/tasks/{id}")).text();
            (id, bytes(&frames), task)
        })
        .collect();
    hearken.crash();
    for (id, frames, task) in &tasks {
        let readers = [hearken.stream(id), hearken.stream(id)];
        for reader in readers {
            assert_eq!(&bytes(&reader.rest()), frames);
        }
        assert_eq!(&hearken.get(&format!("/v1/tasks/{id}")).text(), task);
        let others = hearken.with_key(crate::support::hearken::OTHER_KEY);
        others.get(&format!("/v1/llm/generations/{id}/stream")).error(404, "task_not_found");
    }
    assert_eq!(upstream.requests(), 3);
}

#[test]
fn a_cancelled_task_stays_cancelled() {
    let upstream = FakeUpstream::gemini().never().start();
    let mut hearken = Hearken::before(&upstream).channel("max_running_tasks = 1").start();
    let ids = [hearken.submit(json!({"stream": true})), hearken.submit(json!({}))];
    upstream.request(0);
    let cancelled = [&ids[1], &ids[0]].map(|id| hearken.cancel(id));
    upstream.closed(0);
    hearken.crash();
    assert_eq!([&ids[1], &ids[0]].map(|id| hearken.task(id)), cancelled);
    assert_eq!(upstream.requests(), 1);
}

#[test]
fn chunks_and_tasks_of_an_earlier_run_expire_on_time() {
    let upstream = FakeUpstream::gemini().say("x").start();
    let mut hearken =
        Hearken::before(&upstream).set("[retention]\nchunks_seconds = 1\ntasks_seconds = 3").start();
    let id = hearken.submit(json!({"stream": true}));
    hearken.stream(&id).rest();
    assert_eq!(hearken.files("frames").len(), 1);
    hearken.crash();
    let path = format!("/v1/llm/generations/{id}/stream");
    until("the chunks expire", || (hearken.get(&path).status == 410).then_some(()));
    hearken.get(&path).error(410, "stream_expired");
    until("their journal is removed", || hearken.files("frames").is_empty().then_some(()));
    assert_eq!(hearken.task(&id)["status"], "completed");
    until("the task expires", || (hearken.get(&format!("/v1/tasks/{id}")).status == 404).then_some(()));
    hearken.get(&path).error(404, "task_not_found");
    assert_eq!(hearken.get("/v1/tasks").json()["data"], json!([]));
}

#[test]
fn unfinished_tasks_of_a_removed_model_fail_with_that_reason() {
    let upstream = FakeUpstream::gemini().never().start();
    let mut hearken = Hearken::start(&upstream);
    let id = hearken.submit(json!({}));
    upstream.request(0);
    let config = std::fs::read_to_string(hearken.config_file()).unwrap();
    std::fs::write(
        hearken.config_file(),
        config.replace("gemini-test", "another").replace("gemini-*", "none"),
    )
    .unwrap();
    hearken.crash();
    let error = hearken.wait(&id)["error"].clone();
    assert_eq!(error["code"], "no_available_model");
}
