//! `GET /v1/tasks/{id}` and its cancel: a task's states, which only its owner can see.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::MODEL;
use crate::support::hearken::{Hearken, OTHER_KEY};
use crate::support::upstream::FakeUpstream;

const FIELDS: [&str; 10] =
    ["id", "object", "type", "model", "status", "progress", "created", "stream", "results", "error"];

/// Returns the names of an object's fields, in the order of the text.
fn fields(text: &str) -> Vec<String> {
    let mut found: Vec<(usize, &str)> =
        FIELDS.iter().filter_map(|name| Some((text.find(&format!("\"{name}\":"))?, *name))).collect();
    found.sort_unstable();
    found.into_iter().map(|(_, name)| name.to_owned()).collect()
}

#[test]
fn a_task_goes_from_pending_over_processing_to_completed() {
    let upstream = FakeUpstream::gemini().say("Hel").hold().say("lo").hold().start();
    let hearken = Hearken::before(&upstream).channel("max_running_tasks = 1").start();
    let first = hearken.submit(json!({}));
    upstream.held(1);
    let second = hearken.submit(json!({}));
    let waiting = hearken.task(&second);
    assert_eq!((&waiting["status"], &waiting["progress"]), (&json!("pending"), &json!(0)));
    assert_eq!((&waiting["results"], &waiting["error"]), (&Value::Null, &Value::Null));

    let running = hearken.task(&first);
    assert_eq!(running["status"], "processing");
    assert_eq!((&running["results"], &running["error"]), (&Value::Null, &Value::Null));
    let progress = running["progress"].as_u64().unwrap();
    assert!((1..100).contains(&progress), "{progress}");
    upstream.release();
    upstream.held(2);
    let later = hearken.task(&first)["progress"].as_u64().unwrap();
    assert!((progress..100).contains(&later), "{progress} then {later}");
    upstream.release();

    let ended = hearken.wait(&first);
    assert_eq!((&ended["status"], &ended["progress"]), (&json!("completed"), &json!(100)));
    for _ in 0..2 {
        upstream.release();
    }
    assert_eq!(hearken.wait(&second)["status"], "completed");
}

#[test]
fn a_completed_task_holds_one_whole_chat_completion() {
    let upstream = FakeUpstream::gemini().say("Hello").say(" world").start();
    let hearken = Hearken::start(&upstream);
    let id = hearken.submit(json!({}));
    let task = hearken.wait(&id);
    let text = hearken.get(&format!("/v1/tasks/{id}")).text();
    assert_eq!(fields(&text), FIELDS);
    assert_eq!(task.as_object().unwrap().len(), 10);
    let completion = task["results"][0].clone();
    assert!(completion["id"].as_str().unwrap().starts_with("chatcmpl-"));
    let expected = json!([{
        "id": completion["id"], "object": "chat.completion", "created": task["created"], "model": MODEL,
        "choices": [{"index": 0,
            "message": {"role": "assistant", "content": "Hello world", "refusal": null},
            "finish_reason": "stop", "logprobs": null}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 8, "total_tokens": 19,
            "prompt_tokens_details": {"audio_tokens": 7, "cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 3}}}]);
    assert_eq!(task["results"], expected);
    assert_eq!(task["error"], Value::Null);
    assert_eq!(hearken.get(&format!("/v1/tasks/{id}")).text(), text, "the end does not change");
}

#[test]
fn a_failed_task_shows_the_reason() {
    let upstream = FakeUpstream::error(503, &json!({"error": {"code": 503, "message": "too busy"}})).start();
    let hearken = Hearken::start(&upstream);
    let task = hearken.wait(&hearken.submit(json!({})));
    assert_eq!(task["status"], "failed");
    assert_eq!(task["results"], Value::Null);
    assert!(task["progress"].as_u64().unwrap() < 100);
    assert_eq!(
        task["error"],
        json!({"code": "upstream_error", "message": task["error"]["message"], "type": "upstream_error",
            "upstream_status": 503, "retryable": true})
    );
    assert!(task["error"]["message"].as_str().unwrap().contains("too busy"));
}

#[test]
fn an_http_url_is_accepted_and_fetched_when_the_task_runs() {
    let upstream = FakeUpstream::gemini().say("x").start();
    let hearken = Hearken::start(&upstream);
    // A reserved name that never resolves.
    let task = hearken.wait(&hearken.submit(json!({"audio_url": "https://audio.invalid/a.wav"})));
    assert_eq!(task["error"]["code"], "audio_fetch_failed");
    assert_eq!(upstream.requests(), 0);
}

#[test]
fn another_callers_task_does_not_exist() {
    let upstream = FakeUpstream::gemini().say("x").start();
    let hearken = Hearken::start(&upstream);
    let id = hearken.submit(json!({"stream": true}));
    hearken.wait(&id);
    let other = hearken.with_key(OTHER_KEY);
    let strange = other.get(&format!("/v1/tasks/{id}"));
    let unknown = other.get("/v1/tasks/task-llm-1776874565-yq3szvcu");
    assert_eq!(strange.error(404, "task_not_found"), unknown.error(404, "task_not_found"));
    other.get(&format!("/v1/tasks/{id}?wait=1")).error(404, "task_not_found");
    other.call("POST", &format!("/v1/tasks/{id}/cancel"), &[], Some(b"")).error(404, "task_not_found");
    other.get(&format!("/v1/llm/generations/{id}/stream")).error(404, "task_not_found");
    for malformed in
        ["x", "task-llm-1-short", "task-llm--yq3szvcu", "task-llm-1776874565-YQ3SZVCU", "%00", "..%2fx"]
    {
        hearken.get(&format!("/v1/tasks/{malformed}")).error(404, "task_not_found");
    }
}

#[test]
fn wait_holds_the_reply_until_the_task_ends_or_time_is_up() {
    let upstream = FakeUpstream::gemini().hold().say("x").start();
    let hearken = Hearken::start(&upstream);
    let id = hearken.submit(json!({}));
    upstream.held(1);
    let get = |query: &str| hearken.get(&format!("/v1/tasks/{id}{query}"));

    assert_eq!(get("?wait=0").expect(200).json()["status"], "processing");
    let started = Instant::now();
    assert_eq!(get("?wait=1").expect(200).json()["status"], "processing");
    assert!(started.elapsed() >= Duration::from_secs(1));

    for wait in ["61", "x", "", "-1", "1.5", "99999999999999999999"] {
        let error = get(&format!("?wait={wait}")).error(422, "invalid_param");
        assert_eq!(error["param"], "wait", "{wait}");
    }

    let patient = {
        let (client, path) = (hearken.client(), format!("/v1/tasks/{id}?wait=60"));
        std::thread::spawn(move || client.get(&path))
    };
    upstream.release();
    assert_eq!(patient.join().unwrap().expect(200).json()["status"], "completed");
    let started = Instant::now();
    assert_eq!(get("?wait=60").expect(200).json()["status"], "completed");
    assert!(started.elapsed() < Duration::from_secs(10), "a task that has ended is not waited for");
}

#[test]
fn parameters_of_other_services_are_ignored() {
    let upstream = FakeUpstream::gemini().say("x").start();
    let hearken = Hearken::start(&upstream);
    let id = hearken.submit(json!({}));
    hearken.wait(&id);
    let plain = hearken.get(&format!("/v1/tasks/{id}")).text();
    let decorated = hearken.get(&format!("/v1/tasks/{id}?sync_upstream=true&x&=&offset=x"));
    assert_eq!(decorated.expect(200).text(), plain);
}

#[test]
fn a_result_outlives_the_program_byte_for_byte() {
    let upstream = FakeUpstream::gemini().think("hm").say("Grüße, \"Welt\"\n").start();
    let mut hearken = Hearken::start(&upstream);
    let ids = [hearken.submit(json!({"reasoning": true})), hearken.submit(json!({"stream": true}))];
    let get =
        |hearken: &Hearken, id: &str| hearken.get(&format!("/v1/tasks/{id}?wait=20")).expect(200).text();
    let before: Vec<String> = ids.iter().map(|id| get(&hearken, id)).collect();
    assert!(before.iter().all(|text| text.contains("\"completed\"")), "{before:?}");
    hearken.restart();
    let after: Vec<String> = ids.iter().map(|id| get(&hearken, id)).collect();
    assert_eq!(before, after);
    hearken.get(&format!("/v1/llm/generations/{}/stream", ids[0])).error(409, "stream_not_enabled");
}

#[test]
fn a_cancel_closes_the_upstream_call_and_ends_the_task() {
    let upstream = FakeUpstream::gemini().say("x").hold().start();
    let hearken = Hearken::start(&upstream);
    let id = hearken.submit(json!({"stream": true}));
    let mut stream = hearken.stream(&id);
    assert_eq!(stream.frame().id, 0);
    upstream.held(1);
    let task = hearken.cancel(&id);
    upstream.closed(0);
    assert_eq!(task["status"], "failed");
    assert_eq!(task["results"], Value::Null);
    assert_eq!(
        (&task["error"]["code"], &task["error"]["type"]),
        (&json!("task_cancelled"), &json!("cancelled_error"))
    );
    assert_eq!(task.as_object().unwrap().len(), 10);
    let frames = stream.rest();
    let last = frames.last().unwrap();
    assert_eq!(last.event, "error");
    assert_eq!(last.json()["error"], task["error"]);
    assert_eq!(hearken.cancel(&id), task, "a second cancel changes nothing");
    assert_eq!(hearken.task(&id), task);
}

#[test]
fn a_waiting_task_can_be_cancelled_and_never_runs() {
    let upstream = FakeUpstream::gemini().hold().say("x").start();
    let hearken = Hearken::before(&upstream).channel("max_running_tasks = 1").start();
    let running = hearken.submit(json!({}));
    upstream.held(1);
    let waiting = hearken.submit(json!({}));
    assert_eq!(hearken.cancel(&waiting)["error"]["code"], "task_cancelled");
    upstream.release();
    assert_eq!(hearken.wait(&running)["status"], "completed");
    let last = hearken.submit(json!({}));
    upstream.release();
    assert_eq!(hearken.wait(&last)["status"], "completed");
    assert_eq!(upstream.requests(), 2);
}

#[test]
fn cancelling_an_ended_task_changes_nothing() {
    let upstream = FakeUpstream::gemini().say("x").start();
    let hearken = Hearken::start(&upstream);
    let id = hearken.submit(json!({}));
    let task = hearken.wait(&id);
    assert_eq!(hearken.cancel(&id), task);
    assert_eq!(hearken.task(&id), task);
}

#[test]
fn a_timeline_is_added_on_request() {
    let upstream = FakeUpstream::gemini().say("x").then().status(503).ends().start();
    let mut hearken = Hearken::start(&upstream);
    let ids =
        [hearken.submit(json!({})), hearken.submit(json!({"audio_url": "https://audio.invalid/a.wav"}))];
    let failed = {
        hearken.wait(&ids[0]);
        hearken.submit(json!({"stream": true}))
    };
    let ids = [&ids[0], &ids[1], &failed];
    let get = |hearken: &Hearken, id: &str| {
        hearken.wait(id);
        hearken.get(&format!("/v1/tasks/{id}?include=timeline")).expect(200).text()
    };
    let before = ids.map(|id| get(&hearken, id));
    for (text, (outcome, attempts)) in
        before.iter().zip([("completed", 1), ("audio_fetch_failed", 0), ("upstream_error", 1)])
    {
        let task: Value = serde_json::from_str(text).unwrap();
        assert_eq!(task.as_object().unwrap().len(), 11, "{text}");
        let timeline = &task["timeline"];
        assert!(timeline["queued_at_ms"].as_u64().unwrap() / 1000 >= task["created"].as_u64().unwrap());
        assert!(timeline["ended_at_ms"].as_u64() >= timeline["queued_at_ms"].as_u64(), "{text}");
        assert_eq!(timeline["first_answered_at_ms"].is_u64(), outcome == "completed", "{text}");
        assert_eq!(timeline["attempts"].as_array().unwrap().len(), attempts, "{text}");
        if attempts > 0 {
            let attempt = &timeline["attempts"][0];
            assert_eq!(
                (&attempt["channel"], &attempt["outcome"]),
                (&json!("fake"), &json!(outcome)),
                "{text}"
            );
        }
    }
    hearken.restart();
    assert_eq!(ids.map(|id| get(&hearken, id)), before);
}

#[test]
fn the_request_is_added_on_request_and_stays_after_the_end() {
    let upstream = FakeUpstream::gemini().say("x").then().say("x").ends().start();
    let mut hearken = Hearken::start(&upstream);
    let full = json!({"prompt": "What is said?", "system_prompt": "Be short.", "max_tokens": 7, "temperature": 0.5,
        "reasoning": true, "stream": true});
    let ids = [hearken.submit(json!({})), hearken.submit(full)];
    for id in &ids {
        hearken.wait(id);
    }
    let get = |hearken: &Hearken, id: &str, include: &str| {
        hearken.get(&format!("/v1/tasks/{id}?include={include}")).expect(200).json()
    };
    let plain = get(&hearken, &ids[0], "request");
    assert_eq!(plain.as_object().unwrap().len(), 11, "{plain}");
    let request = &plain["request"];
    let audio = &request["audio"];
    assert_eq!(
        request,
        &json!({"model": MODEL, "prompt": "Please transcribe this audio file", "system_prompt": null,
            "max_tokens": null, "temperature": null, "reasoning": false, "stream": false, "audio": audio})
    );
    assert_eq!(audio["source"], "inline");
    assert!(audio["format"].is_string() && audio["bytes"].is_u64(), "{audio}");
    let full = get(&hearken, &ids[1], "timeline,request");
    assert_eq!(full.as_object().unwrap().len(), 12, "{full}");
    assert_eq!(
        full["request"],
        json!({"model": MODEL, "prompt": "What is said?", "system_prompt": "Be short.", "max_tokens": 7,
            "temperature": 0.5, "reasoning": true, "stream": true, "audio": audio})
    );
    hearken
        .with_key(OTHER_KEY)
        .get(&format!("/v1/tasks/{}?include=request", ids[0]))
        .error(404, "task_not_found");
    hearken.restart();
    assert_eq!(get(&hearken, &ids[0], "request"), plain);
    assert_eq!(get(&hearken, &ids[1], "timeline,request"), full);
}
