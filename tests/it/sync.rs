//! Synchronous calls: blocking and streaming, their failures, and callers that disconnect.

use std::thread::JoinHandle;

use serde_json::{Value, json};

use crate::support::hearken::Hearken;
use crate::support::http::Reply;
use crate::support::subscriber::Subscriber;
use crate::support::upstream::FakeUpstream;

/// Makes a blocking call on a thread of its own.
fn blocking(hearken: &Hearken, changes: Value) -> JoinHandle<Reply> {
    let client = hearken.client();
    std::thread::spawn(move || client.try_submit(changes))
}

fn task_id(reply: &Reply) -> String {
    reply.header("x-task-id").unwrap_or_else(|| panic!("no X-Task-Id: {reply}")).to_owned()
}

/// Returns the id of the only task in the log.
fn logged_task_id(hearken: &Hearken) -> String {
    crate::support::until("the log names the task", || {
        let log = hearken.log();
        let start = log.find("task-llm-")?;
        Some(log[start..start + "task-llm-1776874565-yq3szvcu".len()].to_owned())
    })
}

fn refused_with(status: u16) -> FakeUpstream {
    FakeUpstream::error(status, &json!({"error": {"code": status, "message": "the upstream's words"}}))
        .start()
}

#[test]
fn a_blocking_call_answers_with_the_bytes_of_the_result() {
    let upstream = FakeUpstream::gemini().think("hm").say("Grüße, \"Welt\"").start();
    let hearken = Hearken::start(&upstream);
    let reply = hearken.try_submit(json!({"sync": true, "reasoning": true})).expect(200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let task = hearken.get(&format!("/v1/tasks/{}", task_id(&reply))).expect(200);
    assert_eq!(task.json()["status"], "completed");
    assert_eq!(task.json()["stream"], Value::Null);
    let whole = format!("\"results\":[{}],\"error\":null}}", reply.text());
    assert!(task.text().ends_with(&whole), "{reply}\n{task}");
    assert_eq!(reply.json()["choices"][0]["message"]["content"], "Grüße, \"Welt\"");
}

#[test]
fn a_blocking_call_fails_with_the_status_of_its_error() {
    for (upstream, status, code, retry) in [
        (refused_with(503), 502, "upstream_error", false),
        (refused_with(404), 502, "upstream_error", false),
        (refused_with(403), 502, "upstream_auth_error", true),
        (refused_with(429), 503, "upstream_rate_limited", true),
        (refused_with(400), 422, "upstream_rejected", true),
        (FakeUpstream::gemini().say("x").cut().start(), 502, "upstream_disconnected", false),
    ] {
        let hearken = Hearken::start(&upstream);
        let reply = hearken.try_submit(json!({"sync": true}));
        let error = reply.error(status, code);
        // OpenAI's SDKs are told not to retry on their own where a retry would pay again. Where the upstream did
        // nothing, they may.
        if retry {
            assert_ne!(reply.header("x-should-retry"), Some("true"), "{reply}");
        } else {
            assert_eq!(reply.header("x-should-retry"), Some("false"), "{reply}");
        }
        let task = hearken.task(&task_id(&reply));
        assert_eq!(task["status"], "failed");
        for (name, value) in task["error"].as_object().unwrap() {
            assert_eq!(&error[name], value, "{name}");
        }
    }
}

#[test]
fn a_blocking_caller_that_disconnects_cancels_the_task_and_its_call() {
    let upstream = FakeUpstream::gemini().say("x").hold().start();
    let hearken = Hearken::start(&upstream);
    let socket = hearken.send_raw(hearken.submit_bytes(json!({"sync": true})).as_bytes());
    upstream.held(1);
    drop(socket);
    upstream.closed(0);
    let id = logged_task_id(&hearken);
    let task = hearken.wait(&id);
    assert_eq!(task["error"]["code"], "task_cancelled");
}

#[test]
fn a_blocking_caller_that_disconnects_before_an_answer_cancels_too() {
    let upstream = FakeUpstream::gemini().never().start();
    let hearken = Hearken::start(&upstream);
    let socket = hearken.send_raw(hearken.submit_bytes(json!({"sync": true})).as_bytes());
    upstream.request(0);
    drop(socket);
    upstream.closed(0);
    assert_eq!(hearken.wait(&logged_task_id(&hearken))["error"]["code"], "task_cancelled");
}

#[test]
fn a_blocking_call_reports_that_another_client_cancelled_it() {
    let upstream = FakeUpstream::gemini().say("x").hold().start();
    let hearken = Hearken::start(&upstream);
    let call = blocking(&hearken, json!({"sync": true}));
    upstream.held(1);
    let id = hearken.running();
    assert_eq!(hearken.cancel(&id)["error"]["code"], "task_cancelled");
    upstream.closed(0);
    let reply = call.join().unwrap();
    let error = reply.error(409, "task_cancelled");
    assert_eq!(error["type"], "cancelled_error");
    assert_eq!(reply.header("x-should-retry"), Some("false"));
    assert_eq!(hearken.task(&task_id(&reply))["error"]["code"], "task_cancelled");
}

#[test]
fn a_synchronous_stream_has_the_frames_of_the_stream_endpoint() {
    let upstream = FakeUpstream::gemini().say("Hel").hold().say("lo").start();
    let hearken = Hearken::start(&upstream);
    let socket = hearken.send_raw(hearken.submit_bytes(json!({"sync": true, "stream": true})).as_bytes());
    let mut stream = Subscriber::of(socket);
    assert_eq!(stream.head.status, 200);
    assert_eq!(stream.head.header("content-type"), Some("text/event-stream"));
    assert_eq!(stream.head.header("cache-control"), Some("no-cache, no-transform"));
    assert_eq!(stream.head.header("x-accel-buffering"), Some("no"));
    let id = task_id(&stream.head);
    let mut frames = vec![stream.frame(), stream.frame()];
    let link = hearken.task(&id)["stream"]["url"].clone();
    assert_eq!(link, format!("/v1/llm/generations/{id}/stream"));
    upstream.release();
    frames.extend(stream.rest());
    assert_eq!(frames, hearken.stream(&id).rest());
    assert_eq!(frames.last().unwrap().event, "done");
}

#[test]
fn a_synchronous_stream_that_fails_before_its_first_chunk_is_an_http_error() {
    for (upstream, status, code) in [
        (refused_with(503), 502, "upstream_error"),
        (refused_with(429), 503, "upstream_rate_limited"),
        (FakeUpstream::gemini().ends().start(), 502, "upstream_invalid_response"),
    ] {
        let hearken = Hearken::start(&upstream);
        let reply = hearken.try_submit(json!({"sync": true, "stream": true}));
        reply.error(status, code);
        assert_eq!(hearken.task(&task_id(&reply))["error"]["code"], code);
    }
}

#[test]
fn a_synchronous_stream_that_fails_later_ends_in_an_error_frame() {
    let upstream = FakeUpstream::gemini().say("x").hold().cut().start();
    let hearken = Hearken::start(&upstream);
    let socket = hearken.send_raw(hearken.submit_bytes(json!({"sync": true, "stream": true})).as_bytes());
    let stream = Subscriber::of(socket);
    assert_eq!(stream.head.status, 200);
    upstream.release();
    let frames = stream.rest();
    assert_eq!(frames.last().unwrap().event, "error");
    assert_eq!(frames.last().unwrap().json()["error"]["code"], "upstream_disconnected");
}

#[test]
fn a_streaming_caller_that_disconnects_can_resume() {
    let upstream = FakeUpstream::gemini().say("a").hold().say("b").start();
    let hearken = Hearken::start(&upstream);
    let socket = hearken.send_raw(hearken.submit_bytes(json!({"sync": true, "stream": true})).as_bytes());
    let mut stream = Subscriber::of(socket);
    let id = task_id(&stream.head);
    let mut frames = vec![stream.frame(), stream.frame()];
    drop(stream);
    upstream.held(1);
    let resumed = hearken.stream_from(&id, "", &[("last-event-id", "1")]);
    upstream.release();
    frames.extend(resumed.rest());
    assert_eq!(frames, hearken.stream(&id).rest());
    assert_eq!(hearken.wait(&id)["status"], "completed");
}

#[test]
fn a_refused_submit_is_refused_alike_in_all_forms() {
    let hearken = Hearken::builder().local().start();
    let reply = |changes| hearken.try_submit(changes).error(422, "no_available_model");
    let expected = reply(json!({"model": "none"}));
    assert_eq!(reply(json!({"model": "none", "sync": true})), expected);
    assert_eq!(reply(json!({"model": "none", "sync": true, "stream": true})), expected);
}
