//! `Idempotency-Key`: two submits with the same key are one task, also after a restart and at the same moment.

use serde_json::json;

use crate::support::body;
use crate::support::hearken::{Hearken, OTHER_KEY};
use crate::support::http::Reply;
use crate::support::subscriber::{Subscriber, content};
use crate::support::upstream::FakeUpstream;

fn id(reply: &Reply) -> String {
    reply.json()["id"].as_str().unwrap().to_owned()
}

fn is_replay(reply: &Reply) -> bool {
    reply.header("idempotent-replayed") == Some("true")
}

#[test]
fn a_repeat_is_answered_with_the_first_task_as_it_is_now() {
    let upstream = FakeUpstream::gemini().hold().say("x").start();
    let mut hearken = Hearken::start(&upstream);
    let first = hearken.submit_under("k-1", json!({"stream": true})).expect(200);
    assert!(!is_replay(&first));
    upstream.held(1);
    let again = hearken.submit_under("\"k-1\"", json!({"stream": true})).expect(200);
    assert!(is_replay(&again));
    assert_eq!((id(&again), &again.json()["status"]), (id(&first), &json!("processing")));
    assert_eq!(again.header("location"), first.header("location"));
    upstream.release();
    let ended = hearken.wait(&id(&first));
    assert_eq!(hearken.submit_under("k-1", json!({"stream": true})).expect(200).json(), ended);
    hearken.crash();
    let after = hearken.submit_under("k-1", json!({"stream": true})).expect(200);
    assert!(is_replay(&after));
    assert_eq!(after.json(), ended);
    assert_eq!(upstream.requests(), 1);
}

#[test]
fn bodies_are_compared_as_json_values() {
    let upstream = FakeUpstream::gemini().say("x").start();
    let hearken = Hearken::start(&upstream);
    let plain = body(json!({"max_tokens": 256, "prompt": "é"})).to_string();
    let spelled = plain.replace("256", "256.0").replace('é', "\\u00e9").replace(',', " ,\n ");
    let send = |text: &str| {
        let headers = [("content-type", "application/json"), ("idempotency-key", "k")];
        hearken.call("POST", "/v1/llm/generations", &headers, Some(text.as_bytes()))
    };
    // The comma of the data URI is not part of the JSON syntax.
    let spelled = spelled.replace("base64 ,\n ", "base64,");
    let first = send(&plain).expect(200);
    let again = send(&spelled).expect(200);
    assert!(is_replay(&again), "{again}");
    assert_eq!(id(&first), id(&again));
    for other in
        [json!({"max_tokens": 255, "prompt": "é"}), json!({"max_tokens": 256, "prompt": "é", "extra": null})]
    {
        let reply = hearken.submit_under("k", other);
        reply.error(422, "idempotency_key_reused");
        assert!(!is_replay(&reply));
    }
}

#[test]
fn each_caller_has_its_own_keys() {
    let upstream = FakeUpstream::gemini().say("x").start();
    let hearken = Hearken::start(&upstream);
    let mine = hearken.submit_under("k", json!({})).expect(200);
    let theirs = hearken.with_key(OTHER_KEY).submit_under("k", json!({"prompt": "other"})).expect(200);
    assert!(!is_replay(&theirs));
    assert_ne!(id(&mine), id(&theirs));
}

#[test]
fn the_same_submit_many_times_at_once_calls_the_upstream_once() {
    let upstream = FakeUpstream::gemini().hold().say("x").start();
    let hearken = Hearken::start(&upstream);
    for (round, sync) in [false, true].into_iter().enumerate() {
        let key = format!("k-{round}");
        let replies: Vec<Reply> = std::thread::scope(|scope| {
            let send = || hearken.submit_under(&key, json!({"sync": sync, "prompt": key}));
            let calls: Vec<_> = (0..12).map(|_| scope.spawn(send)).collect();
            upstream.held(round + 1);
            upstream.release();
            calls.into_iter().map(|call| call.join().unwrap()).collect()
        });
        let accepted: Vec<&Reply> = replies.iter().filter(|reply| reply.status == 200).collect();
        for reply in replies.iter().filter(|reply| reply.status != 200) {
            reply.error(409, "idempotency_conflict");
        }
        assert_eq!(accepted.iter().filter(|reply| !is_replay(reply)).count(), 1);
        assert!(accepted.iter().all(|reply| id(reply) == id(accepted[0])));
        assert_eq!(upstream.requests(), round + 1);
    }
}

#[test]
fn a_synchronous_repeat_waits_for_the_first_task_and_answers_as_it_did() {
    let upstream = FakeUpstream::gemini().hold().say("x").then().status(503).ends().start();
    let mut hearken = Hearken::start(&upstream);
    let client = hearken.client();
    let call = |client: &crate::support::http::Client| client.submit_under("k", json!({"sync": true}));
    let (first, second) = std::thread::scope(|scope| {
        let first = scope.spawn(|| call(&client));
        upstream.held(1);
        let second = scope.spawn(|| call(&client));
        upstream.release();
        (first.join().unwrap().expect(200), second.join().unwrap().expect(200))
    });
    assert!(is_replay(&second) && !is_replay(&first));
    assert_eq!(first.body, second.body);
    assert_eq!(first.header("x-task-id"), second.header("x-task-id"));
    let failed = client.submit_under("k-2", json!({"sync": true}));
    failed.error(502, "upstream_error");
    hearken.crash();
    let again = hearken.submit_under("k-2", json!({"sync": true}));
    again.error(502, "upstream_error");
    assert!(is_replay(&again));
    assert_eq!(again.json(), failed.json());
    assert_eq!(again.header("x-should-retry"), Some("false"));
    assert_eq!(upstream.requests(), 2);
}

#[test]
fn a_repeated_synchronous_stream_is_the_same_stream_from_its_start() {
    let upstream = FakeUpstream::gemini().say("Hel").hold().say("lo").start();
    let hearken = Hearken::start(&upstream);
    let open = || {
        let text = body(json!({"sync": true, "stream": true})).to_string();
        let length = text.len().to_string();
        let headers =
            [("content-type", "application/json"), ("content-length", &length), ("idempotency-key", "k")];
        Subscriber::open(hearken.address, &(hearken.head("POST", "/v1/llm/generations", &headers) + &text))
    };
    let first = open();
    upstream.held(1);
    let second = open();
    upstream.release();
    assert_eq!(second.head.header("idempotent-replayed"), Some("true"));
    assert_eq!(second.head.header("x-task-id"), first.head.header("x-task-id"));
    let (first, second) = (first.rest(), second.rest());
    assert_eq!((content(&first).as_str(), &first), ("Hello", &second));
    assert_eq!(upstream.requests(), 1);
}

#[test]
fn a_repeated_call_that_disconnects_cancels_nothing() {
    let upstream = FakeUpstream::gemini().hold().say("x").start();
    let hearken = Hearken::start(&upstream);
    let id = id(&hearken.submit_under("k", json!({"sync": false})).expect(200));
    upstream.held(1);
    let text = body(json!({"sync": false})).to_string();
    let length = text.len().to_string();
    let headers =
        [("content-type", "application/json"), ("content-length", &length), ("idempotency-key", "k")];
    drop(hearken.send_raw((hearken.head("POST", "/v1/llm/generations", &headers) + &text).as_bytes()));
    upstream.release();
    assert_eq!(hearken.wait(&id)["status"], "completed");
}

#[test]
fn a_refused_submit_does_not_use_its_key_up() {
    let upstream = FakeUpstream::gemini().hold().say("x").start();
    let hearken = Hearken::before(&upstream)
        .channel("max_running_tasks = 1")
        .set("[limits]\nmax_pending_tasks = 0")
        .start();
    hearken.submit_under("k", json!({"temperature": 3})).error(422, "invalid_param");
    let running = hearken.submit(json!({}));
    upstream.held(1);
    hearken.submit_under("k", json!({})).error(429, "queue_full");
    upstream.release();
    hearken.wait(&running);
    let accepted = hearken.submit_under("k", json!({})).expect(200);
    assert!(!is_replay(&accepted));
}

#[test]
fn an_invalid_key_is_refused_by_name() {
    let hearken = Hearken::builder().local().start();
    let long = "x".repeat(256);
    for key in ["", "  ", "\"\"", "\"open", "k\u{e9}", long.as_str()] {
        let error = hearken.submit_under(key, json!({})).error(422, "invalid_param");
        assert_eq!(error["param"], "Idempotency-Key", "{key:?}");
    }
    let twice = [("content-type", "application/json"), ("idempotency-key", "a"), ("idempotency-key", "a")];
    let reply =
        hearken.call("POST", "/v1/llm/generations", &twice, Some(body(json!({})).to_string().as_bytes()));
    reply.error(422, "invalid_param");
    let longest = "x".repeat(255);
    hearken.submit_under(&longest, json!({"model": "local-inspect"})).expect(200);
}

#[test]
fn a_key_is_free_again_after_its_time() {
    let upstream = FakeUpstream::gemini().say("x").start();
    let hearken = Hearken::before(&upstream).set("[retention]\nidempotency_seconds = 1").start();
    let first = hearken.submit_under("k", json!({})).expect(200);
    let second = crate::support::until("the key is free", || {
        Some(hearken.submit_under("k", json!({})).expect(200)).filter(|reply| !is_replay(reply))
    });
    assert_ne!(id(&first), id(&second));
}

#[test]
fn the_same_bodies_are_accepted_with_and_without_a_key() {
    let upstream = FakeUpstream::gemini().say("x").start();
    let hearken = Hearken::start(&upstream);
    let with = |more: &str| {
        let plain = body(json!({})).to_string();
        format!("{}{more}}}", plain.strip_suffix('}').unwrap())
    };
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let bodies = [
        (with(""), 200),
        (format!("\u{feff}{}", with("")), 200),
        (with(r#","x":"\ud800""#), 200),
        (with(r#","x":{"\ud800":1,"\ud800":2}"#), 200),
        (with(&format!(r#","x":{deep}"#)), 200),
        (with(r#","x":1e99999999999999999999999"#), 200),
        (with(r#","x":1,"x":2"#), 200),
        (with(r#","model":"again""#), 400),
        (with(r#","\ud800":1"#), 400),
        (with(r#","prompt":"\ud800""#), 422),
        (with(r#","x":tru"#), 400),
        (format!("{} x", with("")), 400),
        ("[1]".to_owned(), 422),
        ("5 x".to_owned(), 422),
    ];
    for (number, (body, status)) in bodies.into_iter().enumerate() {
        let key = format!("k-{number}");
        let json = ("content-type", "application/json");
        let send = |headers: &[(&str, &str)]| {
            hearken.call("POST", "/v1/llm/generations", headers, Some(body.as_bytes()))
        };
        let replies = [send(&[json]), send(&[json, ("idempotency-key", &key)])];
        for reply in &replies {
            assert_eq!(reply.status, status, "{body:.200}: {reply}");
        }
        if status == 200 {
            let again = send(&[json, ("idempotency-key", &key)]).expect(200);
            assert!(is_replay(&again) && id(&again) == id(&replies[1]), "{body:.200}");
        } else {
            assert_eq!(replies[0].json(), replies[1].json(), "{body:.200}");
        }
    }
}
