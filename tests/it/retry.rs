//! Retries on one channel whose upstream fails: which failures are retried, when, and how often.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;

use serde_json::{Value, json};

use crate::kit::gemini::{finish_event, text_event};
use crate::support::hearken::{Builder, Hearken};
use crate::support::subscriber::content;
use crate::support::upstream::{FakeUpstream, Script};
use crate::support::{base64, closed_port, fixture, until};

fn google_error(code: u16, status: &str) -> Value {
    json!({"error": {"code": code, "message": "its own words", "status": status}})
}

fn quota_error(quota: &str, delay: &str) -> Value {
    let mut error = google_error(429, "RESOURCE_EXHAUSTED");
    error["error"]["details"] = json!([
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": quota}]},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}]);
    error
}

/// Returns a script that answers with an error first. The steps after it answer the next request.
fn error_then(status: u16, body: &Value) -> Script {
    FakeUpstream::error(status, body).then()
}

/// Builds a server with one channel with default settings.
fn over(upstream: &FakeUpstream) -> Builder {
    Hearken::builder().gemini_named("fake", &upstream.base_url())
}

/// Returns the outcomes of the calls of a task, and the pauses between them in milliseconds.
fn attempts(hearken: &Hearken, id: &str) -> (Vec<String>, Vec<u64>) {
    let task = hearken.get(&format!("/v1/tasks/{id}?include=timeline")).expect(200).json();
    let attempts = task["timeline"]["attempts"].as_array().unwrap().clone();
    let at = |attempt: &Value, key: &str| attempt[key].as_u64().unwrap();
    let pauses = attempts.windows(2).map(|pair| at(&pair[1], "started_at_ms") - at(&pair[0], "ended_at_ms"));
    let outcomes = attempts.iter().map(|attempt| attempt["outcome"].as_str().unwrap().to_owned());
    (outcomes.collect(), pauses.collect())
}

#[test]
fn a_failure_before_the_first_chunk_is_retried_unnoticed() {
    for (script, code) in [
        (error_then(500, &google_error(500, "INTERNAL")), "upstream_error"),
        (error_then(503, &google_error(503, "UNAVAILABLE")), "upstream_error"),
        (error_then(429, &google_error(429, "RESOURCE_EXHAUSTED")), "upstream_rate_limited"),
        (FakeUpstream::gemini().slam().then(), "upstream_disconnected"),
        (FakeUpstream::gemini().cut().then(), "upstream_disconnected"),
        (FakeUpstream::gemini().raw("data: {\"cand").cut().then(), "upstream_disconnected"),
        (FakeUpstream::gemini().ends().then(), "upstream_invalid_response"),
        (FakeUpstream::gemini().raw("<html>busy</html>").ends().then(), "upstream_invalid_response"),
        (FakeUpstream::gemini().event(&google_error(503, "UNAVAILABLE")).ends().then(), "upstream_error"),
        (FakeUpstream::gemini().never().then(), "upstream_timeout"),
    ] {
        let upstream = script.say("well").start();
        let hearken = over(&upstream).channel("first_chunk_timeout_ms = 300").start();
        let id = hearken.submit(json!({"stream": true}));
        let frames = hearken.stream(&id).rest();
        assert_eq!(content(&frames), "well", "{code}");
        assert_eq!(frames.last().unwrap().event, "done", "{code}");
        assert_eq!(hearken.wait(&id)["status"], "completed");
        assert_eq!(attempts(&hearken, &id).0, [code, "completed"]);
        assert_eq!(upstream.requests(), 2, "{code}");
        hearken.log_line("upstream call failed");
    }
}

#[test]
fn each_call_sends_the_whole_request_again() {
    let upstream = error_then(503, &google_error(503, "UNAVAILABLE")).say("x").start();
    let hearken = over(&upstream).start();
    hearken.wait(&hearken.submit(json!({"prompt": "the same"})));
    assert_eq!(upstream.request(0).json(), upstream.request(1).json());
}

#[test]
fn retries_end_with_the_cause_of_the_failure() {
    let upstream = FakeUpstream::error(503, &google_error(503, "UNAVAILABLE")).start();
    let hearken = over(&upstream).channel("max_retry_wait_ms = 10").start();
    let reply = hearken.try_submit(json!({"sync": true}));
    assert_eq!(reply.error(502, "upstream_error")["upstream_status"], 503);
    assert_eq!(upstream.requests(), 3);
    let id = reply.header("x-task-id").unwrap();
    assert_eq!(attempts(&hearken, id).0, ["upstream_error"; 3]);
}

#[test]
fn a_refused_connection_is_retried() {
    let (_port, address) = closed_port();
    let hearken = Hearken::builder()
        .gemini_named("fake", &format!("http://{address}/v1beta"))
        .channel("max_retries = 1\nmax_retry_wait_ms = 10")
        .start();
    let id = hearken.submit(json!({}));
    assert_eq!(hearken.wait(&id)["error"]["code"], "upstream_error");
    assert_eq!(attempts(&hearken, &id).0, ["upstream_error"; 2]);
}

#[test]
fn without_retries_there_is_one_call() {
    let upstream = FakeUpstream::error(503, &google_error(503, "UNAVAILABLE")).start();
    let hearken = over(&upstream).channel("max_retries = 0").start();
    hearken.try_submit(json!({"sync": true})).error(502, "upstream_error");
    assert_eq!(upstream.requests(), 1);
}

#[test]
fn nothing_is_retried_after_the_first_chunk_and_chunks_are_kept() {
    for (script, code) in [
        (FakeUpstream::gemini().say("half").cut(), "upstream_disconnected"),
        (FakeUpstream::gemini().say("half").ends(), "upstream_disconnected"),
        (
            FakeUpstream::gemini().say("half").event(&google_error(503, "UNAVAILABLE")).ends(),
            "upstream_error",
        ),
        (
            FakeUpstream::gemini().say("half").raw("data: {nonsense}\r\n\r\n").ends(),
            "upstream_invalid_response",
        ),
        (FakeUpstream::gemini().say("half").hold(), "upstream_timeout"),
    ] {
        let upstream = script.start();
        let hearken = over(&upstream).channel("idle_timeout_ms = 300").start();
        let id = hearken.submit(json!({"stream": true}));
        let frames = hearken.stream(&id).rest();
        assert_eq!((content(&frames).as_str(), frames.last().unwrap().event.as_str()), ("half", "error"));
        let task = hearken.wait(&id);
        assert_eq!((&task["error"]["code"], &task["results"]), (&json!(code), &Value::Null), "{task}");
        assert_eq!(content(&hearken.stream(&id).rest()), "half");
        assert_eq!(upstream.requests(), 1, "{code}");
        // The same holds without a subscriber.
        assert_eq!(hearken.wait(&hearken.submit(json!({})))["error"]["code"], code);
        assert_eq!(upstream.requests(), 2, "{code}");
    }
}

#[test]
fn an_invalid_request_is_not_retried() {
    let blocked = json!({"promptFeedback": {"blockReason": "SAFETY"}});
    for (script, status, code) in [
        (FakeUpstream::error(400, &google_error(400, "INVALID_ARGUMENT")), 422, "upstream_rejected"),
        (FakeUpstream::error(413, &google_error(413, "INVALID_ARGUMENT")), 422, "upstream_rejected"),
        (FakeUpstream::error(401, &google_error(401, "UNAUTHENTICATED")), 502, "upstream_auth_error"),
        (FakeUpstream::error(403, &google_error(403, "PERMISSION_DENIED")), 502, "upstream_auth_error"),
        (FakeUpstream::error(404, &google_error(404, "NOT_FOUND")), 502, "upstream_error"),
        (FakeUpstream::gemini().event(&blocked).ends(), 422, "content_policy_violation"),
    ] {
        let upstream = script.start();
        let hearken = over(&upstream).start();
        hearken.try_submit(json!({"sync": true})).error(status, code);
        assert_eq!(upstream.requests(), 1, "{code}");
    }
}

#[test]
fn a_refusal_that_comes_before_the_whole_request_is_sent_is_read() {
    // A proxy refuses a request that is too large like this: it reads the head and answers. Then it closes, or it
    // waits.
    for waits in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base_url = format!("http://{}/v1beta", listener.local_addr().unwrap());
        let (done, is_done) = mpsc::channel();
        let proxy = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut head = [0; 1000];
            assert!(socket.read(&mut head).unwrap() > 0);
            let body = google_error(413, "INVALID_ARGUMENT").to_string();
            let head = format!("HTTP/1.1 413 Too Large\r\ncontent-length: {}\r\n\r\n", body.len());
            socket.write_all((head + &body).as_bytes()).unwrap();
            if waits {
                is_done.recv().unwrap();
            }
        });
        let hearken = Hearken::builder().gemini_named("fake", &base_url).start();
        let mut audio = fixture("audio/speech.wav");
        audio.extend(vec![7; 9_000_000]);
        let audio_url = format!("data:audio/wav;base64,{}", base64(&audio));
        let reply = hearken.try_submit(json!({"sync": true, "audio_url": audio_url}));
        assert_eq!(reply.error(422, "upstream_rejected")["upstream_status"], 413, "{waits}");
        let _ = done.send(());
        proxy.join().unwrap();
    }
}

#[test]
fn interim_responses_are_no_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base_url = format!("http://{}/v1beta", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut request = [0; 64 * 1024];
        assert!(socket.read(&mut request).unwrap() > 0);
        let body = format!("data: {}\r\n\r\ndata: {}\r\n\r\n", text_event("x"), finish_event("STOP"));
        let announced = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n";
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        socket.write_all((announced.to_owned() + &head + &body).as_bytes()).unwrap();
    });
    let hearken = Hearken::builder().gemini_named("fake", &base_url).start();
    let task = hearken.wait(&hearken.submit(json!({})));
    assert_eq!(task["status"], "completed", "{task}");
    server.join().unwrap();
}

#[test]
fn a_retry_hint_is_followed() {
    let body = quota_error("GenerateRequestsPerMinutePerProjectPerModel", "0.7s");
    let by_header =
        FakeUpstream::error(429, &google_error(429, "RESOURCE_EXHAUSTED")).header("retry-after-ms", "700");
    for script in [error_then(429, &body), by_header.then()] {
        let upstream = script.say("x").start();
        let hearken = over(&upstream).start();
        let id = hearken.submit(json!({}));
        assert_eq!(hearken.wait(&id)["status"], "completed");
        let (_, pauses) = attempts(&hearken, &id);
        assert!(pauses[0] >= 699, "{pauses:?}");
    }
}

#[test]
fn a_retry_hint_beyond_the_limit_is_passed_on_at_once() {
    for script in [
        FakeUpstream::error(429, &quota_error("GenerateRequestsPerMinutePerProjectPerModel", "34.4s")),
        FakeUpstream::error(429, &google_error(429, "RESOURCE_EXHAUSTED")).header("retry-after", "35"),
    ] {
        let upstream = script.start();
        let hearken = over(&upstream).channel("max_retry_wait_ms = 34000").start();
        let reply = hearken.try_submit(json!({"sync": true}));
        assert_eq!(reply.error(503, "upstream_rate_limited")["retryable"], true);
        assert_eq!(reply.header("retry-after"), Some("35"));
        assert_eq!(upstream.requests(), 1);
    }
}

#[test]
fn a_daily_quota_is_not_waited_for() {
    let upstream =
        FakeUpstream::error(429, &quota_error("GenerateRequestsPerDayPerProjectPerModel", "0.1s")).start();
    let hearken = over(&upstream).start();
    let error = hearken.try_submit(json!({"sync": true})).error(503, "upstream_rate_limited");
    assert_eq!((&error["retryable"], &error["upstream_status"]), (&json!(false), &json!(429)));
    assert_eq!(upstream.requests(), 1);
}

#[test]
fn a_tasks_calls_are_bounded_whatever_its_channel_allows() {
    let upstream = FakeUpstream::error(503, &google_error(503, "UNAVAILABLE")).start();
    let hearken = over(&upstream)
        .channel("max_retries = 100\nmax_retry_wait_ms = 1")
        .set("[limits]\nmax_task_calls = 4")
        .start();
    hearken.try_submit(json!({"sync": true})).error(502, "upstream_error");
    assert_eq!(upstream.requests(), 4);
}

#[test]
fn a_cancel_during_a_pause_takes_effect_at_once() {
    let upstream = FakeUpstream::error(429, &quota_error("PerMinute", "25s")).start();
    let hearken = over(&upstream).start();
    let id = hearken.submit(json!({}));
    hearken.log_line("upstream call failed");
    assert_eq!(hearken.task(&id)["status"], "processing");
    assert_eq!(hearken.cancel(&id)["error"]["code"], "task_cancelled");
    assert_eq!(upstream.requests(), 1);
}

#[test]
fn a_kill_during_a_pause_loses_nothing() {
    let upstream = error_then(429, &quota_error("PerMinute", "25s")).say("x").start();
    let mut hearken = over(&upstream).start();
    let id = hearken.submit(json!({"stream": true}));
    hearken.log_line("upstream call failed");
    hearken.crash();
    assert_eq!(content(&hearken.stream(&id).rest()), "x");
    assert_eq!(hearken.wait(&id)["status"], "completed");
}

#[test]
fn a_drain_leaves_a_pause_to_the_next_start() {
    let upstream = error_then(429, &quota_error("PerMinute", "25s")).say("x").start();
    let mut hearken = over(&upstream).env("HEARKEN_DRAIN_SECONDS", "0").start();
    let id = hearken.submit(json!({}));
    hearken.log_line("upstream call failed");
    hearken.restart();
    assert_eq!(hearken.wait(&id)["status"], "completed");
    assert_eq!(upstream.requests(), 2);
}

#[test]
fn the_total_timeout_applies_to_each_call() {
    let upstream = FakeUpstream::gemini().never().start();
    let hearken = over(&upstream)
        .channel("max_retries = 1\nfirst_chunk_timeout_ms = 300\ntotal_timeout_ms = 400")
        .start();
    let error = hearken.try_submit(json!({"sync": true})).error(504, "upstream_timeout");
    assert!(error["message"].as_str().unwrap().contains("first chunk timeout of 300 ms"), "{error}");
    assert_eq!(upstream.requests(), 2);
    for call in 0..2 {
        upstream.closed(call);
    }
}

#[test]
fn large_audio_is_sent_again_from_the_disk() {
    let upstream = error_then(503, &google_error(503, "UNAVAILABLE")).say("x").start();
    let hearken = over(&upstream).start();
    let mut audio = fixture("audio/speech.wav");
    audio.extend(vec![7; 400_000]);
    let audio = base64(&audio);
    let id = hearken.submit(json!({"audio_url": format!("data:audio/wav;base64,{audio}")}));
    assert_eq!(hearken.wait(&id)["status"], "completed");
    assert!(upstream.request(1).json()["contents"][0]["parts"][1]["inlineData"]["data"] == audio);
    // Audio that is kept for another call is deleted when there will be none.
    until("the audio is gone", || (hearken.audios() == (0, 0)).then_some(()));
}
