//! W3C Trace Context: which trace a task belongs to, and which servers receive it.

use serde_json::json;

use crate::support::hearken::Hearken;
use crate::support::host::Host;
use crate::support::upstream::{FakeUpstream, Request};
use crate::support::{body, fixture};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const STATE: &str = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE";

/// Submits with these headers; returns the task's id.
fn submit(hearken: &Hearken, changes: serde_json::Value, headers: &[(&str, &str)]) -> String {
    let mut all = vec![("content-type", "application/json")];
    all.extend(headers);
    let text = body(changes).to_string();
    let reply = hearken.call("POST", "/v1/llm/generations", &all, Some(text.as_bytes())).expect(200);
    reply.json()["id"].as_str().unwrap().to_owned()
}

/// Returns the trace id, span id and flags that an upstream received.
fn told(request: &Request) -> (String, String, String) {
    let parent = request.header("traceparent").expect("a traceparent");
    let [version, trace, span, flags] = parent.split('-').collect::<Vec<_>>()[..] else { panic!("{parent}") };
    assert_eq!((version, trace.len(), span.len()), ("00", 32, 16), "{parent}");
    (trace.to_owned(), span.to_owned(), flags.to_owned())
}

#[test]
fn every_kind_of_upstream_receives_the_callers_trace() {
    for script in [FakeUpstream::gemini(), FakeUpstream::openai(), FakeUpstream::transcription()] {
        let upstream = script.say("x").start();
        let hearken = Hearken::start(&upstream);
        let id = submit(&hearken, json!({}), &[("traceparent", PARENT), ("tracestate", STATE)]);
        assert_eq!(hearken.wait(&id)["status"], "completed");
        let request = upstream.request(0);
        // No span of the call is recorded here, so the upstream gets the caller's span as its parent.
        assert_eq!(request.header("traceparent"), Some(PARENT));
        assert_eq!(request.header("tracestate"), Some(STATE));
        let logged = format!("trace_id={TRACE}");
        assert!(hearken.log_line("task ended").contains(&logged));
        assert!(hearken.log_line("/v1/llm/generations").contains(&logged));
    }
}

#[test]
fn an_upstream_receives_no_trace_without_a_valid_one_from_the_caller() {
    let upstream = FakeUpstream::gemini().say("x").start();
    let hearken = Hearken::start(&upstream);
    let upper = PARENT.to_uppercase();
    let zeros = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
    let cases: [&[(&str, &str)]; 6] = [
        &[],
        &[("tracestate", STATE)],
        &[("traceparent", "hello"), ("tracestate", STATE)],
        &[("traceparent", &upper)],
        &[("traceparent", zeros)],
        &[("traceparent", PARENT), ("traceparent", PARENT)],
    ];
    for (number, headers) in cases.into_iter().enumerate() {
        let id = submit(&hearken, json!({}), headers);
        assert_eq!(hearken.wait(&id)["status"], "completed");
        let request = upstream.request(number);
        assert_eq!(
            (request.header("traceparent"), request.header("tracestate")),
            (None, None),
            "{headers:?}"
        );
    }
    assert!(!hearken.log_line("task ended").contains("trace_id"));
}

#[test]
fn an_unrecorded_trace_is_passed_on_and_a_malformed_state_dropped() {
    let upstream = FakeUpstream::gemini().say("x").start();
    let hearken = Hearken::start(&upstream);
    let parent = PARENT.replace("-01", "-00");
    let id = submit(&hearken, json!({}), &[("traceparent", &parent), ("tracestate", "no state")]);
    assert_eq!(hearken.wait(&id)["status"], "completed");
    assert_eq!(told(&upstream.request(0)).2, "00");
    assert_eq!(upstream.request(0).header("tracestate"), None);
}

#[test]
fn every_call_of_a_task_carries_the_trace_on_every_channel() {
    let failing = FakeUpstream::error(503, &json!({"error": {"message": "busy"}})).start();
    let working = FakeUpstream::gemini().say("x").start();
    let hearken = Hearken::builder()
        .gemini_named("first", &failing.base_url())
        .channel("priority = 5\nmax_retries = 2\nmax_retry_wait_ms = 5")
        .gemini_named("second", &working.base_url())
        .start();
    let id = submit(&hearken, json!({}), &[("traceparent", PARENT)]);
    assert_eq!(hearken.wait(&id)["status"], "completed");
    assert_eq!(failing.requests(), 3);
    let calls: Vec<_> = (0..3).map(|n| failing.request(n)).chain([working.request(0)]).collect();
    assert!(calls.iter().all(|call| call.header("traceparent") == Some(PARENT)));
    assert!(hearken.log_line("upstream call failed").contains(&format!("trace_id={TRACE}")));
}

#[test]
fn a_task_that_is_recovered_after_a_crash_stays_in_its_trace() {
    let upstream = FakeUpstream::gemini().never().then().say("x").start();
    let mut hearken = Hearken::start(&upstream);
    let headers = [("traceparent", PARENT), ("tracestate", STATE)];
    let id = submit(&hearken, json!({"stream": true}), &headers);
    let first = told(&upstream.request(0));
    hearken.crash();
    assert_eq!(hearken.wait(&id)["status"], "completed");
    let again = upstream.request(1);
    assert_eq!((told(&again).0, again.header("tracestate")), (first.0, Some(STATE)));
}

#[test]
fn a_repeated_submit_stays_in_the_trace_of_the_first() {
    let upstream = FakeUpstream::gemini().hold().say("x").start();
    let hearken = Hearken::start(&upstream);
    let other = PARENT.replace(TRACE, &"7".repeat(32));
    let key = ("idempotency-key", "one");
    let first = submit(&hearken, json!({}), &[key, ("traceparent", PARENT)]);
    let again = submit(&hearken, json!({}), &[key, ("traceparent", &other)]);
    assert_eq!(first, again);
    upstream.release();
    hearken.wait(&first);
    assert_eq!((told(&upstream.request(0)).0.as_str(), upstream.requests()), (TRACE, 1));
}

#[test]
fn a_host_of_audio_receives_no_trace() {
    let wav = fixture("audio/speech.wav");
    let host = Host::of_file("audio/wav", wav);
    let upstream = FakeUpstream::gemini().say("x").start();
    let hearken = Hearken::before(&upstream).set("[fetch]\nallow_private_networks = true").start();
    let headers = [("traceparent", PARENT), ("tracestate", STATE)];
    let id = submit(&hearken, json!({"audio_url": host.url("/a.wav")}), &headers);
    assert_eq!(hearken.wait(&id)["status"], "completed");
    assert_eq!(told(&upstream.request(0)).0, TRACE);
    let requests = host.requests();
    assert_eq!(requests.len(), 1);
    assert!(!requests[0].to_ascii_lowercase().contains("trace"), "{requests:?}");
}
