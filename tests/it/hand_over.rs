//! Connections of subscribers that are handed over by the HTTP server: every guarantee of HTTP still holds.

use std::io::{Read, Write};
use std::time::Duration;

use serde_json::json;

use crate::support::hearken::Hearken;
use crate::support::subscriber::Subscriber;
use crate::support::until;
use crate::support::upstream::FakeUpstream;

fn path(id: &str) -> String {
    format!("/v1/llm/generations/{id}/stream")
}

/// Returns the log's lines about ended streams.
fn ended_streams(hearken: &Hearken) -> Vec<String> {
    hearken.log().lines().filter(|line| line.contains("stream ended")).map(str::to_owned).collect()
}

/// Returns true if the program runs with the hand-over.
fn handed_over() -> bool {
    std::env::var("HEARKEN_TEST_HAND_OVER").is_err()
}

#[test]
fn only_requests_before_a_subscription_on_a_connection_are_answered() {
    let upstream = FakeUpstream::gemini().say("a").hold().say("b").start();
    let hearken = Hearken::start(&upstream);
    let id = hearken.submit(json!({"stream": true}));
    upstream.held(1);
    let health = hearken.head("GET", "/healthz", &[]);
    let subscription = hearken.head("GET", &path(&id), &[]);
    let mut socket = hearken.send_raw([health.as_str(), &subscription, &health].concat().as_bytes());
    let mut health = Vec::new();
    while !health.ends_with(br#"{"status":"ok"}"#) {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        health.extend(byte);
    }
    let mut stream = Subscriber::of(socket);
    assert_eq!((stream.head.status, stream.head.header("connection")), (200, Some("close")));
    let first = [stream.frame(), stream.frame()];
    upstream.release();
    // Reads to the end of the connection, where nothing else may come.
    let rest = stream.rest();
    assert_eq!([&first[..], &rest].concat(), hearken.stream(&id).rest());
}

#[test]
fn a_client_that_goes_on_sending_reads_its_stream_to_the_end() {
    let upstream = FakeUpstream::gemini().say("a").hold().say("b").start();
    let hearken = Hearken::start(&upstream);
    let id = hearken.submit(json!({"stream": true}));
    upstream.held(1);
    let mut socket = hearken.send_raw(hearken.head("GET", &path(&id), &[]).as_bytes());
    let mut sending = socket.try_clone().unwrap();
    let mut stream = Subscriber::of(socket.try_clone().unwrap());
    let first = [stream.frame(), stream.frame()];
    sending.write_all(&[b'x'; 20_000]).unwrap();
    upstream.release();
    let rest = stream.rest();
    assert_eq!([&first[..], &rest].concat(), hearken.stream(&id).rest());
    assert_eq!(socket.read(&mut [0]).unwrap(), 0);
}

#[test]
fn an_http_1_0_client_gets_an_unchunked_stream_that_ends_with_a_close() {
    let upstream = FakeUpstream::gemini().say("a").hold().say("b").start();
    let hearken = Hearken::start(&upstream);
    let id = hearken.submit(json!({"stream": true}));
    upstream.held(1);
    let request = hearken.head("GET", &path(&id), &[]).replace("HTTP/1.1", "HTTP/1.0");
    let mut stream = Subscriber::of(hearken.send_raw(request.as_bytes()));
    assert_eq!(stream.head.header("transfer-encoding"), None);
    assert_eq!(stream.head.header("content-length"), None);
    let first = [stream.frame(), stream.frame()];
    upstream.release();
    let rest = stream.rest();
    assert_eq!([&first[..], &rest].concat(), hearken.stream(&id).rest());
}

#[test]
fn a_request_for_a_websocket_gets_the_stream_over_http() {
    let upstream = FakeUpstream::gemini().say("a").hold().say("b").start();
    let hearken = Hearken::start(&upstream);
    let id = hearken.submit(json!({"stream": true}));
    upstream.held(1);
    let upgrade = [("connection", "Upgrade"), ("upgrade", "WebSocket")];
    let mut stream = Subscriber::of(hearken.send_raw(hearken.head("GET", &path(&id), &upgrade).as_bytes()));
    assert_eq!((stream.head.status, stream.head.header("transfer-encoding")), (200, Some("chunked")));
    let first = [stream.frame(), stream.frame()];
    upstream.release();
    let rest = stream.rest();
    assert_eq!([&first[..], &rest].concat(), hearken.stream(&id).rest());
}

#[test]
fn the_log_reports_how_each_subscription_ended() {
    let upstream = FakeUpstream::gemini().say("a").hold().say("b").then().never().start();
    let hearken = Hearken::before(&upstream).env("HEARKEN_DRAIN_SECONDS", "1").start();
    let id = hearken.submit(json!({"stream": true}));
    upstream.held(1);
    let mut leaves = hearken.stream_from(&id, "", &[("x-request-id", "leaves")]);
    assert_eq!((leaves.frame().id, leaves.frame().id), (0, 1));
    drop(leaves);
    let left = until("the log reports the subscriber that left", || ended_streams(&hearken).pop());
    for part in ["request_id=\"leaves\"", &format!("task_id={id}"), "end=left", "frames=2"] {
        assert!(left.contains(part), "{part}: {left}");
    }
    assert!(left.contains(&format!("handed_over={}", handed_over())), "{left}");
    upstream.release();
    hearken.wait(&id);
    hearken.stream_from(&id, "?offset=1", &[("x-request-id", "stays")]).rest();
    let stayed = until("the log reports the subscriber that stayed", || {
        ended_streams(&hearken).into_iter().find(|line| line.contains("\"stays\""))
    });
    assert!(stayed.contains("end=complete") && stayed.contains("frames=4"), "{stayed}");

    // No chunk of this task is published, so the server leaves it to the next start.
    let waiting = hearken.submit(json!({"stream": true}));
    let mut broken = hearken.stream_from(&waiting, "", &[("x-request-id", "broken")]);
    broken.comment();
    hearken.signal("TERM");
    let line = until("the log reports the disconnected subscriber", || {
        ended_streams(&hearken).into_iter().find(|line| line.contains("\"broken\""))
    });
    assert!(line.contains("end=broken_off") && line.contains("frames=0"), "{line}");
}

#[test]
fn a_subscriber_that_does_not_read_does_not_delay_the_stop() {
    let upstream = FakeUpstream::gemini().say_often(12, &"x".repeat(1024 * 1024)).start();
    let mut hearken = Hearken::before(&upstream).env("HEARKEN_DRAIN_SECONDS", "1").start();
    let id = hearken.submit(json!({"stream": true}));
    let stuck = hearken.stream(&id);
    hearken.log_line("task ended");
    let began = std::time::Instant::now();
    hearken.signal("TERM");
    assert!(hearken.exit_status().success());
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    drop(stuck);
}

#[test]
fn only_a_subscriber_that_reads_nothing_for_the_timeout_is_dropped() {
    let upstream = FakeUpstream::gemini().say_often(12, &"x".repeat(1024 * 1024)).hold().start();
    let hearken =
        Hearken::before(&upstream).set("[stream]\nsend_timeout_seconds = 2\nkeep_alive_seconds = 1").start();
    let id = hearken.submit(json!({"stream": true}));
    upstream.held(1);
    let stuck = hearken.stream_from(&id, "", &[("x-request-id", "stuck")]);
    let mut waits = hearken.stream_from(&id, "?offset=100", &[]);
    let line = until("the log reports the stuck subscriber", || ended_streams(&hearken).pop());
    assert!(line.contains("\"stuck\""), "{line}");
    assert!(line.contains(if handed_over() { "end=stuck" } else { "end=left" }), "{line}");
    drop(stuck);
    for _ in 0..3 {
        waits.comment();
    }
    upstream.release();
    assert_eq!(waits.rest().last().unwrap().event, "done");
}

#[test]
fn a_subscriber_that_does_not_read_its_first_frame_is_dropped() {
    let upstream = FakeUpstream::gemini().say(&"x".repeat(3 * 1024 * 1024)).hold().start();
    let hearken = Hearken::before(&upstream).set("[stream]\nsend_timeout_seconds = 2").start();
    let id = hearken.submit(json!({"stream": true}));
    let mut reads = hearken.stream(&id);
    assert_eq!([reads.frame().id, reads.frame().id], [0, 1]);
    let stuck = hearken.stream_from(&id, "?offset=1", &[("x-request-id", "stuck")]);
    let line = until("the log reports the stuck subscriber", || ended_streams(&hearken).pop());
    // The HTTP server does not report why a connection has ended.
    let end = if handed_over() { "end=stuck" } else { "end=left" };
    assert!(line.contains("\"stuck\"") && line.contains(end), "{line}");
    drop(stuck);
}

#[test]
fn input_after_a_subscription_costs_no_cpu_and_holds_no_connection() {
    if !handed_over() {
        // Without the hand-over, the HTTP server polls such a connection again and again until its response has ended.
        return;
    }
    let upstream = FakeUpstream::gemini().say("a").hold().start();
    let mut hearken = Hearken::before(&upstream).env("HEARKEN_DRAIN_SECONDS", "1").start();
    let id = hearken.submit(json!({"stream": true}));
    upstream.held(1);
    // The other requests come while the first one waits: more than the HTTP server reads before it has answered.
    let waits = hearken.head("GET", &format!("/v1/tasks/{id}?wait=1"), &[]);
    let subscription = hearken.head("GET", &path(&id), &[]);
    let many = hearken.head("GET", "/healthz", &[]).repeat(3000);
    let upload = hearken.head("POST", "/v1/llm/generations", &[("content-length", "400000")]);
    for behind in [many, upload + &"x".repeat(300_000)] {
        let mut socket = hearken.send_raw([waits.as_str(), &subscription].concat().as_bytes());
        // Only a part of it fits into the socket.
        socket.set_nonblocking(true).unwrap();
        let _ = socket.write(behind.as_bytes());
        socket.set_nonblocking(false).unwrap();
        let mut byte = [0];
        let mut read = Vec::new();
        while !read.ends_with(b"event: chunk") {
            let seen = socket.read_exact(&mut byte);
            assert!(seen.is_ok(), "{seen:?} after {}", String::from_utf8_lossy(&read));
            read.extend(byte);
        }
    }
    let before = hearken.cpu_ticks();
    // Waits for a second, in which the server has nothing to do.
    hearken.get(&format!("/v1/tasks/{id}?wait=1"));
    let used = hearken.cpu_ticks() - before;
    assert!(used < 30, "{used} of 100 ticks");
    let began = std::time::Instant::now();
    hearken.signal("TERM");
    assert!(hearken.exit_status().success());
    assert!(began.elapsed() < Duration::from_millis(2900), "{:?}", began.elapsed());
}

#[test]
fn the_kernel_buffers_little_for_a_subscriber_that_does_not_read() {
    let upstream = FakeUpstream::gemini().say_often(160, &"x".repeat(64 * 1024)).hold().start();
    let hearken = Hearken::start(&upstream);
    let id = hearken.submit(json!({"stream": true}));
    let stuck = hearken.stream(&id);
    upstream.held(1);
    // A subscriber that reads has everything, so the one that does not read was offered everything.
    let mut reads = hearken.stream(&id);
    while reads.frame().id < 160 {}
    let most = hearken.queues().into_iter().max().unwrap();
    assert!((1..512 * 1024).contains(&most), "{most} bytes");
    upstream.release();
    assert_eq!(stuck.rest(), hearken.stream(&id).rest());
}
