//! SIGTERM and SIGINT: the server accepts no new tasks and lets running ones end; a second signal stops it at once.

use serde_json::json;

use crate::support::hearken::Hearken;
use crate::support::subscriber::{Subscriber, content};
use crate::support::until;
use crate::support::upstream::FakeUpstream;

/// Waits until the drain has started.
fn draining(hearken: &Hearken) {
    until("the server drains", || (hearken.without_key().get("/readyz").status == 503).then_some(()));
}

#[test]
fn a_drain_refuses_new_tasks_and_lets_running_ones_end() {
    for signal in ["TERM", "INT"] {
        let upstream = FakeUpstream::gemini().say("Hel").hold().say("lo").start();
        let mut hearken = Hearken::start(&upstream);
        let id = hearken.submit(json!({"stream": true}));
        let mut stream = hearken.stream(&id);
        let mut frames = vec![stream.frame(), stream.frame()];
        upstream.held(1);
        hearken.signal(signal);
        draining(&hearken);
        let ready = hearken.without_key().get("/readyz");
        ready.error(503, "shutting_down");
        hearken.without_key().get("/healthz").expect(200);
        let refused = hearken.try_submit(json!({}));
        refused.error(503, "shutting_down");
        assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
        hearken.try_submit(json!({"sync": true})).error(503, "shutting_down");
        assert_eq!(hearken.task(&id)["status"], "processing", "existing tasks can still be queried");
        upstream.release();
        frames.extend(stream.rest());
        assert_eq!(content(&frames), "Hello");
        assert_eq!(frames.last().unwrap().event, "done");
        assert_eq!(hearken.exit_status().code(), Some(0));
        assert_eq!(upstream.requests(), 1);
    }
}

#[test]
fn a_blocking_call_is_answered_during_a_drain() {
    let upstream = FakeUpstream::gemini().say("a").hold().say("b").start();
    let mut hearken = Hearken::start(&upstream);
    let client = hearken.client();
    let call = std::thread::spawn(move || client.try_submit(json!({"sync": true})));
    upstream.held(1);
    hearken.running();
    hearken.signal("TERM");
    draining(&hearken);
    upstream.release();
    assert_eq!(call.join().unwrap().expect(200).json()["choices"][0]["message"]["content"], "ab");
    assert_eq!(hearken.exit_status().code(), Some(0));
}

#[test]
fn a_task_that_outlasts_the_drain_is_interrupted_with_an_error_frame() {
    let upstream = FakeUpstream::gemini().say("a").hold().start();
    let mut hearken = Hearken::before(&upstream).env("HEARKEN_DRAIN_SECONDS", "1").start();
    let id = hearken.submit(json!({"stream": true}));
    let mut stream = hearken.stream(&id);
    assert_eq!((stream.frame().id, stream.frame().id), (0, 1));
    hearken.signal("TERM");
    let frames = stream.rest();
    assert_eq!(frames[0].event, "error");
    assert_eq!(frames[0].json()["error"]["code"], "task_interrupted");
    upstream.closed(0);
    assert_eq!(hearken.exit_status().code(), Some(0));
}

#[test]
fn a_task_without_chunks_is_left_to_the_next_start() {
    let upstream = FakeUpstream::gemini().never().then().say("later").start();
    let mut hearken =
        Hearken::before(&upstream).channel("max_running_tasks = 1").env("HEARKEN_DRAIN_SECONDS", "1").start();
    let ids = [hearken.submit(json!({"stream": true})), hearken.submit(json!({"stream": true}))];
    let mut readers = ids.each_ref().map(|id| hearken.stream(id));
    readers.iter_mut().for_each(Subscriber::comment);
    upstream.request(0);
    hearken.signal("TERM");
    draining(&hearken);
    assert_eq!(hearken.task(&ids[1])["status"], "pending");
    // The stream breaks off without an end, because the task has none: a subscriber that reconnects gets the rest.
    readers.into_iter().for_each(Subscriber::breaks_off);
    upstream.closed(0);
    assert_eq!(hearken.exit_status().code(), Some(0));
    assert_eq!(upstream.requests(), 1);
    hearken.start_again();
    for id in &ids {
        assert_eq!(content(&hearken.stream(id).rest()), "later");
    }
    assert_eq!(upstream.requests(), 3);
}

#[test]
fn a_blocking_caller_of_a_pending_task_is_answered_at_once() {
    let upstream = FakeUpstream::gemini().hold().say("x").start();
    let mut hearken = Hearken::before(&upstream).channel("max_running_tasks = 1").start();
    let running = hearken.submit(json!({}));
    upstream.held(1);
    let client = hearken.client();
    let call = std::thread::spawn(move || client.try_submit(json!({"sync": true})));
    until("the call waits", || {
        let waiting = hearken.get("/v1/tasks?status=pending").json();
        (waiting["data"].as_array().unwrap().len() == 1).then_some(())
    });
    hearken.signal("TERM");
    let reply = call.join().unwrap();
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (503, &json!("shutting_down")));
    assert!(reply.header("retry-after").is_some() && reply.header("x-task-id").is_some());
    assert_eq!(hearken.task(&running)["status"], "processing");
    upstream.release();
    assert_eq!(hearken.exit_status().code(), Some(0));
    hearken.start_again();
    let waited = reply.header("x-task-id").unwrap();
    assert_eq!(hearken.wait(waited)["error"]["code"], "task_interrupted");
    assert_eq!(upstream.requests(), 1);
}

#[test]
fn an_unstarted_streaming_call_may_be_repeated_only_with_a_key() {
    let upstream = FakeUpstream::gemini().never().then().never().then().say("later").start();
    let mut hearken = Hearken::before(&upstream).env("HEARKEN_DRAIN_SECONDS", "1").start();
    let body = || json!({"sync": true, "stream": true});
    let (without, with) = (hearken.client(), hearken.client());
    let calls = [
        std::thread::spawn(move || without.try_submit(body())),
        std::thread::spawn(move || with.submit_under("k", body())),
    ];
    upstream.request(1);
    hearken.signal("TERM");
    let [without, with] = calls.map(|call| call.join().unwrap());
    assert_eq!(hearken.exit_status().code(), Some(0));
    hearken.start_again();
    for (reply, may_repeat) in [(without, Some("false")), (with, None)] {
        let error = reply.json()["error"].clone();
        assert_eq!((reply.status, &error["code"]), (503, &json!("shutting_down")), "{reply}");
        assert_eq!(reply.header("x-should-retry"), may_repeat, "{reply}");
        assert!(reply.header("retry-after").is_some(), "{reply}");
        let id = reply.header("x-task-id").unwrap();
        assert_eq!(
            error["message"].as_str().unwrap().contains(&format!("/v1/tasks/{id} ")),
            may_repeat.is_some()
        );
        assert_eq!(hearken.wait(id)["status"], "completed");
    }
    assert_eq!(upstream.requests(), 4);
    assert!(hearken.submit_under("k", body()).expect(200).text().contains("later"));
    assert_eq!(upstream.requests(), 4);
}

#[test]
fn a_second_signal_stops_the_server_at_once() {
    let upstream = FakeUpstream::gemini().say("a").hold().start();
    let mut hearken = Hearken::before(&upstream).env("HEARKEN_DRAIN_SECONDS", "3600").start();
    let id = hearken.submit(json!({"stream": true}));
    let mut stream: Subscriber = hearken.stream(&id);
    assert_eq!(stream.frame().id, 0);
    upstream.held(1);
    hearken.signal("TERM");
    draining(&hearken);
    hearken.signal("INT");
    assert_eq!(hearken.exit_status().code(), Some(0));
    upstream.closed(0);
}

#[test]
fn a_server_without_work_drains_at_once() {
    let mut hearken = Hearken::builder().local().start();
    hearken.get("/v1/models").expect(200);
    hearken.signal("TERM");
    assert_eq!(hearken.exit_status().code(), Some(0));
}
