//! HTTP/2 over TLS: any number of streams on one connection, which do not affect each other.

use h2::Reason;
use h2::client::Builder;
use serde_json::json;

use crate::memory::{memory, wav};
use crate::support::certificate::Pair;
use crate::support::hearken::Hearken;
use crate::support::http2::Http2;
use crate::support::upstream::FakeUpstream;
use crate::support::{base64, until};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
const END: &str = "data: [DONE]\n\n";

fn stream_ends(hearken: &Hearken, end: &str) -> usize {
    let end = format!("end={end}");
    hearken.log().lines().filter(|line| line.contains("stream ended") && line.contains(&end)).count()
}

#[test]
fn a_stream_arrives_frame_by_frame_and_is_resumed() {
    let pair = Pair::new();
    let upstream = FakeUpstream::gemini().say("Hel").hold().say("lo").start();
    let hearken = Hearken::before(&upstream).tls(&pair).start();
    let mut client = Http2::connect(hearken.client().address, &pair);
    let id = client.submit(json!({"stream": true}));
    let mut answer = client.stream(&id, "");
    for name in ["connection", "transfer-encoding", "keep-alive", "content-length"] {
        assert!(!answer.head.headers().contains_key(name), "{name} in {:?}", answer.head);
    }
    for name in ["date", "x-request-id", "x-accel-buffering", "cache-control"] {
        assert!(answer.head.headers().contains_key(name), "{name} not in {:?}", answer.head);
    }
    let mut text = client.read_to(&mut answer, "Hel");
    upstream.release();
    text += &client.rest(answer);
    assert!(text.ends_with(END), "{text}");
    let whole = client.stream(&id, "");
    assert_eq!(client.rest(whole).replace(": keep-alive\n", ""), text.replace(": keep-alive\n", ""));
    let resumed = client.stream(&id, "?offset=2");
    let resumed = client.rest(resumed);
    let (_, from_two) = text.split_once("event: chunk\nid: 2\n").unwrap();
    assert!(resumed.ends_with(from_two) && !resumed.contains("id: 1\n"), "{resumed}");
    let (status, task) = client.get(&format!("/v1/tasks/{id}?wait=20"));
    assert!(status == 200 && task.contains("Hello"), "{task}");
}

#[test]
fn a_hundred_streams_share_one_connection() {
    let pair = Pair::new();
    let upstream = FakeUpstream::gemini().say("a").hold().say("b").start();
    let hearken = Hearken::before(&upstream).tls(&pair).start();
    let mut client = Http2::connect(hearken.client().address, &pair);
    let id = client.submit(json!({"stream": true}));
    let mut answers: Vec<_> = (0..100).map(|_| client.stream(&id, "")).collect();
    for answer in &mut answers {
        client.read_to(answer, "\"a\"");
    }
    assert_eq!(hearken.open_connections(), 1);
    upstream.release();
    for answer in answers {
        let rest = client.rest(answer);
        assert!(rest.contains("\"b\"") && rest.ends_with(END), "{rest}");
    }
    until("all subscribers have left", || (stream_ends(&hearken, "complete") == 100).then_some(()));
}

#[test]
fn an_unread_stream_is_dropped_and_delays_no_other() {
    let pair = Pair::new();
    let mut upstream = FakeUpstream::gemini();
    for _ in 0..50 {
        upstream = upstream.say(&"x".repeat(1000));
    }
    let upstream = upstream.hold().say("last").start();
    let hearken = Hearken::before(&upstream).tls(&pair).set("[stream]\nsend_timeout_seconds = 1").start();
    let mut windows = Builder::new();
    windows.initial_window_size(1000);
    let mut client = Http2::granting(hearken.client().address, &pair, &windows);
    let id = client.submit(json!({"stream": true}));
    let stuck = client.stream(&id, "");
    let mut read = client.stream(&id, "");
    client.read_to(&mut read, "id: 50\n");
    upstream.release();
    assert!(client.rest(read).ends_with(END));
    until("one subscription is dropped", || (stream_ends(&hearken, "left") == 1).then_some(()));
    assert_eq!(client.breaks_off(stuck), Reason::CANCEL);
    client.ping();
}

#[test]
fn an_unread_connection_needs_no_memory_for_unsent_chunks() {
    let pair = Pair::new();
    let megabyte = "x".repeat(1 << 20);
    let upstream = FakeUpstream::gemini().say(&megabyte).say(&megabyte).say("last").hold().start();
    let hearken = Hearken::before(&upstream).tls(&pair).start();
    let mut reader = Http2::connect(hearken.client().address, &pair);
    let id = reader.submit(json!({"stream": true}));
    let mut first = reader.stream(&id, "");
    reader.read_to(&mut first, "\"last\"");
    let before = memory(&hearken, "VmRSS");
    let mut windows = Builder::new();
    windows.initial_window_size(1 << 30).initial_connection_window_size(1 << 30);
    let mut client = Http2::granting(hearken.client().address, &pair, &windows);
    // Each stream's window has room for all of it. From here on, the client reads nothing from the connection.
    let asked: Vec<_> =
        (0..50).map(|_| client.ask("GET", &format!("/v1/llm/generations/{id}/stream"), None)).collect();
    client.flush();
    until("the connection is full", || hearken.queues().into_iter().find(|unsent| *unsent > 0));
    let grown = memory(&hearken, "VmRSS").saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes for {} streams", asked.len());
    reader.ping();
}

#[test]
fn a_stream_reset_ends_the_subscription_but_not_the_connection() {
    let pair = Pair::new();
    let upstream = FakeUpstream::gemini().say("a").hold().start();
    let hearken = Hearken::before(&upstream).tls(&pair).start();
    let mut client = Http2::connect(hearken.client().address, &pair);
    let id = client.submit(json!({"stream": true}));
    let (mut leaving, mut staying) = (client.stream(&id, ""), client.stream(&id, ""));
    client.read_to(&mut leaving, "\"a\"");
    client.read_to(&mut staying, "\"a\"");
    client.leave(leaving);
    until("one subscriber has left", || (stream_ends(&hearken, "left") == 1).then_some(()));
    assert_eq!(hearken.open_connections(), 1);
    drop(client);
    until("both subscribers have left", || (stream_ends(&hearken, "left") == 2).then_some(()));
}

#[test]
fn a_blocking_call_that_is_reset_cancels_its_task() {
    let pair = Pair::new();
    let upstream = FakeUpstream::gemini().say("a").hold().start();
    let hearken = Hearken::before(&upstream).tls(&pair).start();
    let mut client = Http2::connect(hearken.client().address, &pair);
    let body = crate::support::body(json!({"sync": true}));
    let call = client.ask("POST", "/v1/llm/generations", Some(&body));
    client.ping();
    upstream.held(1);
    client.reset(call);
    upstream.closed(0);
}

#[test]
fn streams_that_are_opened_and_reset_do_not_affect_other_clients() {
    let pair = Pair::new();
    let hearken = Hearken::builder().local().tls(&pair).start();
    let mut bystander = Http2::connect(hearken.client().address, &pair);
    let mut client = Http2::connect(hearken.client().address, &pair);
    // A client that keeps doing this may lose its connection.
    for _ in 0..1000 {
        let Some(asked) = client.try_ask("GET", "/v1/models", None) else { break };
        client.flush();
        client.give_up(asked);
        client.flush();
    }
    bystander.ping();
    let log = hearken.log();
    assert!(!log.contains("ERROR") && !log.contains("WARN"), "{log}");
}

#[test]
fn comments_are_sent_while_a_stream_is_silent() {
    let pair = Pair::new();
    let upstream = FakeUpstream::gemini().hold().start();
    let hearken = Hearken::before(&upstream).tls(&pair).set("[stream]\nkeep_alive_seconds = 1").start();
    let mut client = Http2::connect(hearken.client().address, &pair);
    let id = client.submit(json!({"stream": true}));
    let mut answer = client.stream(&id, "");
    for _ in 0..2 {
        assert_eq!(client.piece(&mut answer).unwrap().unwrap(), ": keep-alive\n");
    }
}

#[test]
fn a_body_that_is_too_large_is_refused_and_the_connection_stays() {
    let pair = Pair::new();
    let upstream = FakeUpstream::gemini().say("a").start();
    let hearken = Hearken::before(&upstream).tls(&pair).set("[limits]\nmax_body_bytes = 100000").start();
    let mut client = Http2::connect(hearken.client().address, &pair);
    let body = json!({"prompt": "x".repeat(200_000)});
    let whole = client.ask("POST", "/v1/llm/generations", Some(&body));
    // This one has no length and no end.
    let mut growing = client.begin("POST", "/v1/llm/generations", &JSON, false).unwrap();
    growing.send(vec![b' '; 2_000_000], false);
    for asked in [whole, growing] {
        let answer = client.head(asked);
        assert_eq!(answer.head.status(), 413);
        assert!(client.rest(answer).contains("request_too_large"));
    }
    client.submit(json!({}));
    assert_eq!(hearken.open_connections(), 1);
}

#[test]
fn a_large_upload_passes() {
    let pair = Pair::new();
    let upstream = FakeUpstream::gemini().say("long").start();
    let hearken = Hearken::before(&upstream).tls(&pair).start();
    let mut client = Http2::connect(hearken.client().address, &pair);
    // As text, this is more than a connection may send before the server reads it.
    let audio = format!("data:audio/wav;base64,{}", base64(&wav(14_900_000)));
    let id = client.submit(json!({"audio_url": audio}));
    let (status, task) = client.get(&format!("/v1/tasks/{id}?wait=20"));
    assert!(status == 200 && task.contains("\"long\""), "{task}");
}

#[test]
fn uploads_that_wait_for_memory_delay_no_other_request() {
    let pair = Pair::new();
    let upstream = FakeUpstream::gemini().say("a").start();
    let limits = "[limits]\nmax_payload_memory_bytes = 1000000";
    let hearken = Hearken::before(&upstream).tls(&pair).set(limits).start();
    let mut client = Http2::connect(hearken.client().address, &pair);
    // One of the uploads has all the memory.
    let mut uploads: Vec<_> = (0..20)
        .map(|_| {
            let mut upload = client.begin("POST", "/v1/llm/generations", &JSON, false).unwrap();
            upload.send(vec![b' '; 600_000], false);
            upload
        })
        .collect();
    client.submit(json!({}));
    // The others still wait.
    let mut last = uploads.pop().unwrap();
    for upload in uploads {
        client.give_up(upload);
    }
    last.send("no JSON", true);
    let answer = client.head(last);
    assert_eq!(answer.head.status(), 400);
    assert!(client.rest(answer).contains("invalid_json"));
}

#[test]
fn answers_without_a_body_end_with_their_head() {
    let pair = Pair::new();
    let hearken = Hearken::builder().local().tls(&pair).start();
    let mut client = Http2::connect(hearken.client().address, &pair);
    let whole = client.ask("GET", "/page/page.js", None);
    let whole = client.head(whole);
    let tag = whole.head.headers()["etag"].to_str().unwrap().to_owned();
    assert!(!client.rest(whole).is_empty());
    let unchanged = client.begin("GET", "/page/page.js", &[("if-none-match", &tag)], true).unwrap();
    let head = client.ask("HEAD", "/page/page.js", None);
    for (asked, status) in [(unchanged, 304), (head, 200)] {
        let answer = client.head(asked);
        assert_eq!(answer.head.status(), status);
        assert_eq!(client.rest(answer), "");
    }
}

#[test]
fn a_drain_lets_streams_end_and_then_ends_connections() {
    let pair = Pair::new();
    let upstream = FakeUpstream::gemini().say("Hel").hold().say("lo").start();
    let mut hearken = Hearken::before(&upstream).tls(&pair).start();
    let mut idle = Http2::connect(hearken.client().address, &pair);
    idle.ping();
    let mut client = Http2::connect(hearken.client().address, &pair);
    let id = client.submit(json!({"stream": true}));
    let mut answer = client.stream(&id, "");
    client.read_to(&mut answer, "Hel");
    hearken.signal("TERM");
    until("the server drains", || (client.get("/readyz").0 == 503).then_some(()));
    upstream.release();
    assert!(client.rest(answer).ends_with(END));
    client.closed();
    idle.closed();
    assert_eq!(hearken.exit_status().code(), Some(0));
}

#[test]
fn subscribers_of_a_task_left_to_the_next_start_are_disconnected() {
    let pair = Pair::new();
    let upstream = FakeUpstream::gemini().never().start();
    let mut hearken = Hearken::before(&upstream).tls(&pair).env("HEARKEN_DRAIN_SECONDS", "1").start();
    let mut client = Http2::connect(hearken.client().address, &pair);
    let id = client.submit(json!({"stream": true}));
    let answer = client.stream(&id, "");
    upstream.request(0);
    hearken.signal("TERM");
    assert_eq!(client.breaks_off(answer), Reason::INTERNAL_ERROR);
    assert_eq!(hearken.exit_status().code(), Some(0));
}

#[test]
fn a_wrong_key_beyond_the_waiting_ones_closes_its_connection() {
    let pair = Pair::new();
    let hearken = Hearken::builder().local().tls(&pair).start();
    let address = hearken.client().address;
    let wrong = |client: &mut Http2| client.begin_as("sk-wrong", "GET", "/v1/models", &[], true).unwrap();
    // Wrong keys wait only briefly: on a busy machine the extra one may come when the others no longer wait.
    until("a wrong key is refused without waiting", || {
        let (mut many, mut two) = (Http2::connect(address, &pair), Http2::connect(address, &pair));
        let waiting: Vec<_> = (0..255).map(|_| wrong(&mut many)).collect();
        // This later request is answered at once, so the requests before it wait.
        assert_eq!(many.get("/healthz").0, 200);
        let (last, beyond) = (wrong(&mut two), wrong(&mut two));
        for asked in [last, beyond] {
            let refused = two.head(asked);
            assert_eq!(refused.head.status(), 401);
            assert!(two.rest(refused).contains("invalid_api_key"));
        }
        let is_last = two.is_told_to_leave();
        for asked in waiting {
            assert_eq!(many.head(asked).head.status(), 401);
        }
        if is_last {
            // The keys that waited keep their connection.
            assert_eq!(many.get("/healthz").0, 200);
            two.closed();
        }
        is_last.then_some(())
    });
}
