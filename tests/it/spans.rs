//! The spans of requests and tasks, and that no collector can harm the server.

use serde_json::{Value, json};

use crate::support::certificate::{Pair, curl};
use crate::support::collector::{Collector, Seen, spans};
use crate::support::hearken::{Builder, Hearken, KEY, UPSTREAM_KEY};
use crate::support::host::Host;
use crate::support::upstream::FakeUpstream;
use crate::support::{MODEL, body, closed_port, fixture};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

const SUBMIT: &str = "POST /v1/llm/generations";
const CANCEL: &str = "POST /v1/tasks/{task_id}/cancel";

fn submit(hearken: &Hearken, changes: Value, headers: &[(&str, &str)]) -> String {
    let mut all = vec![("content-type", "application/json")];
    all.extend(headers);
    let text = body(changes).to_string();
    let reply = hearken.call("POST", "/v1/llm/generations", &all, Some(text.as_bytes())).expect(200);
    reply.json()["id"].as_str().unwrap().to_owned()
}

/// Submits, waits for the end, and returns the task's id and its spans with the span of the request.
fn run(
    hearken: &Hearken,
    collector: &Collector,
    changes: Value,
    headers: &[(&str, &str)],
) -> (String, Vec<Seen>) {
    let id = submit(hearken, changes, headers);
    hearken.wait(&id);
    (id, collector.spans_with(&[SUBMIT, "task"]))
}

/// Returns the only span with this name.
fn only<'a>(spans: &'a [Seen], name: &str) -> &'a Seen {
    let named: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(named.len(), 1, "{name}: {spans:#?}");
    named[0]
}

fn call_name() -> String {
    format!("generate_content {MODEL}")
}

/// Builds a server with this collector and an upstream.
fn with(collector: &Collector, upstream: &FakeUpstream) -> Builder {
    Hearken::before(upstream).set(&collector.section())
}

#[test]
fn spans_cover_a_task_from_its_submit_to_its_last_token() {
    let (collector, upstream) = (Collector::start(), FakeUpstream::gemini().say("Hello").start());
    let hearken = with(&collector, &upstream).start();
    let changes =
        json!({"stream": true, "max_tokens": 77, "temperature": 0.5, "prompt": "the-secret-prompt"});
    let headers = [("traceparent", PARENT), ("tracestate", "rojo=1")];
    let (id, spans) = run(&hearken, &collector, changes, &headers);

    let submit = only(&spans, SUBMIT);
    let task = only(&spans, "task");
    let (queue, call) = (only(&spans, "queue"), only(&spans, &call_name()));
    assert_eq!(spans.len(), 4);
    assert!(spans.iter().all(|span| span.trace == TRACE && span.state == "rojo=1" && !span.failed));
    assert!(spans.iter().all(|span| span.service == "hearken" && span.flags & 0x101 == 0x101));
    let parents: Vec<_> = [submit, task, queue, call].iter().map(|span| span.parent.clone()).collect();
    assert_eq!(parents, [CALLER.to_owned(), submit.id.clone(), task.id.clone(), task.id.clone()]);
    assert_eq!(submit.flags & 0x200, 0x200, "its parent is in another process");
    let kinds = [submit, task, queue, call].map(|span| span.kind);
    assert_eq!(kinds, ["SPAN_KIND_SERVER", "SPAN_KIND_INTERNAL", "SPAN_KIND_INTERNAL", "SPAN_KIND_CLIENT"]);

    assert!(submit.from <= task.from && task.from == queue.from && queue.until <= call.from);
    assert!(call.from <= call.until && call.until <= task.until);
    assert_eq!(call.events.len(), 1);
    let (name, at) = &call.events[0];
    assert!(name == "first chunk" && (call.from..=call.until).contains(at));

    assert_eq!(submit.attribute("http.request.method"), "POST");
    assert_eq!(submit.attribute("http.route"), "/v1/llm/generations");
    assert_eq!(submit.attribute("http.response.status_code"), 200);
    assert_eq!(task.attribute("hearken.task.id"), json!(id));
    assert_eq!(task.attribute("hearken.task.channel"), "fake");
    assert_eq!(task.attribute("hearken.task.outcome"), "completed");
    assert_eq!(task.attribute("hearken.task.stream"), json!(true));
    assert_eq!(task.attribute("hearken.task.prompt_tokens"), 11);
    for (key, value) in [
        ("gen_ai.operation.name", json!("generate_content")),
        ("gen_ai.provider.name", json!("gcp.gemini")),
        ("gen_ai.request.model", json!(MODEL)),
        ("gen_ai.request.max_tokens", json!(77)),
        ("gen_ai.request.temperature", json!(0.5)),
        ("gen_ai.usage.input_tokens", json!(11)),
        ("gen_ai.usage.output_tokens", json!(8)),
        ("gen_ai.response.finish_reasons", json!(["stop"])),
        ("server.address", json!("127.0.0.1")),
    ] {
        assert_eq!(call.attribute(key), value, "{key}");
    }
    // The upstream's own spans are children of the call's span.
    let told = upstream.request(0).header("traceparent").unwrap().to_owned();
    assert_eq!(told, format!("00-{TRACE}-{}-01", call.id));
    let sent: Vec<u8> = (0..collector.messages()).flat_map(|number| collector.message(number).body).collect();
    let sent = String::from_utf8_lossy(&sent);
    for secret in ["the-secret-prompt", "Hello", KEY, UPSTREAM_KEY] {
        assert!(!sent.contains(secret), "{secret}");
    }
}

#[test]
fn a_trace_begins_at_hearken_if_the_caller_has_none() {
    let (collector, upstream) = (Collector::start(), FakeUpstream::gemini().say("x").start());
    let hearken = with(&collector, &upstream).start();
    let (_, spans) = run(&hearken, &collector, json!({}), &[]);
    let submit = only(&spans, SUBMIT);
    assert_eq!(submit.parent, "");
    assert!(spans.iter().all(|span| span.trace == submit.trace));
    let told = upstream.request(0).header("traceparent").unwrap().to_owned();
    assert!(told.starts_with(&format!("00-{}-", submit.trace)) && told.ends_with("-01"), "{told}");
    assert!(hearken.log_line("task ended").contains(&format!("trace_id={}", submit.trace)));
}

#[test]
fn the_callers_sampling_decision_overrides_the_ratio() {
    let (collector, upstream) = (Collector::start(), FakeUpstream::gemini().say("x").start());
    let section = collector.section() + "\nsample_ratio = 0.0";
    let hearken = Hearken::before(&upstream).set(&section).start();
    let unsampled = PARENT.replace("-01", "-00");
    hearken.wait(&submit(&hearken, json!({}), &[("traceparent", &unsampled)]));
    hearken.wait(&submit(&hearken, json!({}), &[]));
    let (_, spans) = run(&hearken, &collector, json!({}), &[("traceparent", PARENT)]);
    assert!(spans.iter().all(|span| span.trace == TRACE));
    only(&spans, "task");
    let flags = |number: usize| upstream.request(number).header("traceparent").unwrap()[53..].to_owned();
    assert_eq!([flags(0), flags(1), flags(2)], ["00", "00", "01"]);
}

#[test]
fn every_call_of_a_task_is_a_span_with_its_own_end() {
    let failing = FakeUpstream::error(503, &json!({"error": {"message": "its own words"}})).start();
    let working = FakeUpstream::gemini().say("x").start();
    let collector = Collector::start();
    let hearken = Hearken::builder()
        .gemini_named("first", &failing.base_url())
        .channel("priority = 5\nmax_retries = 1\nmax_retry_wait_ms = 5")
        .gemini_named("second", &working.base_url())
        .set(&collector.section())
        .start();
    let (_, spans) = run(&hearken, &collector, json!({}), &[]);
    let mut calls: Vec<_> = spans.iter().filter(|span| span.name == call_name()).collect();
    calls.sort_by_key(|call| call.attribute("hearken.call").as_u64());
    let told = |key: &str| calls.iter().map(|call| call.attribute(key)).collect::<Vec<_>>();
    assert_eq!(told("hearken.channel"), ["first", "first", "second"]);
    assert_eq!(told("http.response.status_code"), [json!(503), json!(503), json!(null)]);
    assert_eq!(told("error.type"), [json!("upstream_error"), json!("upstream_error"), json!(null)]);
    assert_eq!(calls.iter().map(|call| call.failed).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!(calls.iter().map(|call| call.events.len()).collect::<Vec<_>>(), [0, 0, 1]);
    let asked = [failing.request(0), failing.request(1), working.request(0)];
    for (request, call) in asked.iter().zip(&calls) {
        assert!(request.header("traceparent").unwrap().contains(&call.id));
    }
    assert!(!only(&spans, "task").failed);
}

#[test]
fn requests_without_a_known_key_make_no_spans_and_long_paths_are_cut() {
    let (collector, upstream) = (Collector::start(), FakeUpstream::gemini().say("x").start());
    let mut hearken = with(&collector, &upstream).start();
    let sampled = ("traceparent", PARENT);
    for stranger in [hearken.without_key(), hearken.with_key("sk-wrong")] {
        for path in ["/v1/llm/generations", "/v1/tasks/x/cancel"] {
            stranger.call("POST", path, &[sampled], Some(b"{}")).error(401, "invalid_api_key");
        }
    }
    hearken.call("POST", "/nowhere", &[sampled], Some(b"{}")).expect(404);
    let long = format!("/v1/tasks/{}/cancel", "x".repeat(2000));
    hearken.call("POST", &long, &[sampled], Some(b"")).expect(404);
    hearken.signal("TERM");
    assert!(hearken.exit_status().success());
    let spans = collector.spans();
    assert_eq!(spans.len(), 1, "{spans:#?}");
    let path = only(&spans, CANCEL).attribute("url.path");
    assert_eq!(path, long[..256]);
}

#[test]
fn the_spans_of_a_failed_download_and_a_cancelled_task_say_why() {
    let host = Host::serve(|asked| asked.answer(404, &[("content-length", "0")], b""));
    let (collector, upstream) = (Collector::start(), FakeUpstream::gemini().never().start());
    let hearken = with(&collector, &upstream).set("[fetch]\nallow_private_networks = true").start();
    let url = host.url("/private.wav");
    let (_, spans) = run(&hearken, &collector, json!({"audio_url": url}), &[]);
    for name in ["task", "fetch audio"] {
        let span = only(&spans, name);
        assert!(span.failed && span.attribute("error.type") == "audio_fetch_failed", "{span:#?}");
    }
    let id = submit(&hearken, json!({}), &[]);
    upstream.request(0);
    hearken.cancel(&id);
    let spans = collector.spans_with(&[&call_name()]);
    assert_eq!(only(&spans, &call_name()).attribute("error.type"), "task_cancelled");
    let cancel = collector.spans_with(&[CANCEL]);
    assert_eq!(only(&cancel, CANCEL).attribute("url.path"), format!("/v1/tasks/{id}/cancel"));
    assert!(cancel.iter().all(|span| !format!("{span:?}").contains("private.wav")));
}

#[test]
fn a_download_and_the_embedded_channel_are_spans_as_well() {
    let host = Host::of_file("audio/wav", fixture("audio/speech.wav"));
    let collector = Collector::start();
    let hearken = Hearken::builder()
        .local()
        .set("[fetch]\nallow_private_networks = true")
        .set(&collector.section())
        .start();
    let changes = json!({"model": "local-inspect", "audio_url": host.url("/a.wav")});
    let (_, spans) = run(&hearken, &collector, changes, &[]);
    let (fetch, call) = (only(&spans, "fetch audio"), only(&spans, "inspect local-inspect"));
    assert!(fetch.until <= call.from && !fetch.failed);
    assert_eq!((call.kind, call.attribute("server.address")), ("SPAN_KIND_INTERNAL", json!(null)));
    let seconds = only(&spans, "task").attribute("hearken.task.audio_seconds");
    assert!(seconds.as_f64().is_some_and(|seconds| seconds > 0.1), "{seconds}");
}

#[test]
fn the_next_process_exports_the_calls_of_a_killed_one() {
    let upstream = FakeUpstream::gemini().never().then().say("x").start();
    let collector = Collector::start();
    let mut hearken = with(&collector, &upstream).start();
    let id = submit(&hearken, json!({"stream": true}), &[("traceparent", PARENT)]);
    upstream.request(0);
    hearken.crash();
    hearken.wait(&id);
    let spans = collector.spans_with(&["task"]);
    let calls: Vec<_> = spans.iter().filter(|span| span.name == call_name()).collect();
    assert_eq!(calls.len(), 2, "{spans:#?}");
    for (number, call) in calls.iter().enumerate() {
        assert!(upstream.request(number).header("traceparent").unwrap().contains(&call.id));
        assert_eq!((&call.trace, &call.parent), (&TRACE.to_owned(), &only(&spans, "task").id));
    }
    assert_eq!(calls[0].attribute("error.type"), "task_interrupted");
}

#[test]
fn credentials_go_to_the_collector_and_nowhere_else() {
    let (collector, upstream) = (Collector::start(), FakeUpstream::gemini().say("x").start());
    let section = collector.section() + "\notlp_headers_env = \"COLLECTOR_HEADERS\"\nservice_name = \"ears\"";
    let hearken = Hearken::before(&upstream)
        .set(&section)
        .env("COLLECTOR_HEADERS", "Authorization=Bearer%20collector-secret,X-Scope=a")
        .env("HEARKEN_LOG", "debug")
        .start();
    let (_, spans) = run(&hearken, &collector, json!({}), &[]);
    assert_eq!(only(&spans, "task").service, "ears");
    let message = collector.message(0);
    assert_eq!(message.header("authorization"), Some("Bearer collector-secret"));
    assert_eq!(message.header("x-scope"), Some("a"));
    assert!(!hearken.log().contains("collector-secret") && !hearken.data().contains("collector-secret"));
    assert_eq!(upstream.request(0).header("x-scope"), None);
}

#[test]
fn waiting_spans_are_exported_when_the_server_stops() {
    let (collector, upstream) = (Collector::start(), FakeUpstream::gemini().say("x").start());
    let mut hearken = with(&collector, &upstream).start();
    let ids: Vec<_> = (0..5).map(|_| submit(&hearken, json!({}), &[])).collect();
    for id in &ids {
        hearken.wait(id);
    }
    hearken.signal("TERM");
    assert!(hearken.exit_status().success());
    let tasks = collector.spans().into_iter().filter(|span| span.name == "task").count();
    assert_eq!(tasks, 5);
}

#[test]
fn a_message_that_is_refused_temporarily_is_sent_again() {
    let script = FakeUpstream::gemini().status(503).header("retry-after", "0").ends().then();
    let collector = Collector::of(Collector::takes(script));
    let upstream = FakeUpstream::gemini().say("x").start();
    let mut hearken = with(&collector, &upstream).start();
    hearken.wait(&submit(&hearken, json!({}), &[]));
    let (first, again) = (collector.message(0), collector.message(1));
    assert_eq!(first.body, again.body);
    assert!(!spans(&again).is_empty());
    let line = hearken.log_line("spans could not be exported");
    assert!(!line.contains("lost") && line.contains("503"), "{line}");
    hearken.signal("TERM");
    assert!(hearken.exit_status().success());
    assert_eq!(hearken.log().matches("spans could not be exported").count(), 1);
}

#[test]
fn a_message_that_is_refused_permanently_is_lost_and_logged_once() {
    let collector = Collector::of(FakeUpstream::gemini().status(400).ends());
    let upstream = FakeUpstream::gemini().say("x").start();
    let mut hearken = with(&collector, &upstream).start();
    hearken.wait(&submit(&hearken, json!({}), &[]));
    let line = hearken.log_line("spans could not be exported");
    assert!(line.contains("400") && line.contains("lost="), "{line}");
    hearken.wait(&submit(&hearken, json!({}), &[]));
    collector.message(1);
    hearken.signal("TERM");
    assert!(hearken.exit_status().success());
    // The log holds repeated lines back for a minute. The server reports them when it stops.
    let log = hearken.log();
    let said: Vec<_> = log.lines().filter(|line| line.contains("spans could not be exported")).collect();
    assert_eq!(said.len(), 2, "{log}");
    assert!(said[1].contains("the server stops"), "{log}");
}

#[test]
fn a_collector_that_is_down_or_stuck_does_not_delay_the_server() {
    let (_socket, nowhere) = closed_port();
    let stuck = Collector::of(FakeUpstream::gemini().never());
    for endpoint in [format!("http://{nowhere}"), stuck.endpoint()] {
        let upstream = FakeUpstream::gemini().say("x").start();
        let section = format!("[traces]\notlp_endpoint = \"{endpoint}\"");
        let mut hearken = Hearken::before(&upstream).set(&section).start();
        for _ in 0..20 {
            let id = submit(&hearken, json!({}), &[]);
            assert_eq!(hearken.wait(&id)["status"], "completed");
        }
        let told = std::time::Instant::now();
        hearken.signal("TERM");
        assert!(hearken.exit_status().success());
        assert!(told.elapsed().as_secs() < 8, "{:?}", told.elapsed());
        let log = hearken.log();
        assert!(log.contains("lost"), "{log}");
    }
}

#[test]
fn the_span_of_a_request_over_tls_always_shows_https() {
    let (collector, upstream) = (Collector::start(), FakeUpstream::gemini().say("Hello").start());
    let hearken = with(&collector, &upstream).tls(&Pair::new()).start();
    let text = body(json!({})).to_string();
    let options =
        ["--http1.1", "-H", "content-type: application/json", "-H", "x-forwarded-proto: gopher", "-d"];
    let submitted = curl(&hearken, "/v1/llm/generations", &[&options[..], &[text.as_str()]].concat());
    assert!(submitted.status.success(), "{submitted:?}");
    let spans = collector.spans_with(&[SUBMIT]);
    assert_eq!(only(&spans, SUBMIT).attribute("url.scheme"), "https");
}
