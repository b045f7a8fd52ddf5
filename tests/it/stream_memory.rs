//! Memory cost of the frames of ended streams: no more than is configured, whether or not their subscribers read.

use std::net::TcpStream;

use serde_json::json;

use crate::memory::memory;
use crate::support::hearken::Hearken;
use crate::support::subscriber::Subscriber;
use crate::support::until;
use crate::support::upstream::FakeUpstream;

const METRICS: &str = "[metrics]\nlisten = \"127.0.0.1:0\"\n";

/// Subscribes and reads nothing.
fn silent(hearken: &Hearken, id: &str) -> TcpStream {
    let client = hearken.client();
    let head = client.head("GET", &format!("/v1/llm/generations/{id}/stream"), &[]);
    let socket = client.send_raw(head.as_bytes());
    let mut first = [0];
    socket.peek(&mut first).unwrap();
    socket
}

/// Returns the body's bytes from its first frame on. The number of comments before it depends on the time.
fn frames(body: Vec<u8>) -> Vec<u8> {
    let text = String::from_utf8(body).unwrap();
    text.replace(": keep-alive\n", "").replace("retry: 2000\n", "").into_bytes()
}

#[test]
fn an_ended_stream_has_the_same_bytes_from_memory_and_from_the_disk() {
    // There is memory for all frames, for their offsets only, or for nothing.
    for most in [1_000_000, 20_000, 1] {
        let upstream = FakeUpstream::gemini().say_often(400, &"x".repeat(200)).start();
        let limits = format!("[limits]\nmax_stream_memory_bytes = {most}\n");
        let hearken = Hearken::before(&upstream).set(&limits).set(METRICS).start();
        let id = hearken.submit(json!({"stream": true}));
        let seen = frames(hearken.stream(&id).bytes());
        assert_eq!(hearken.wait(&id)["status"], "completed");
        // The stream is kept once its actor has ended.
        let kept = if most == 1 { 0.0 } else { 1.0 };
        let said = hearken.metrics_say("hearken_streams_kept", kept);
        assert!(said.value("hearken_stream_memory_bytes") <= f64::from(most));
        assert!(frames(hearken.stream(&id).bytes()) == seen, "{most}");
        for offset in [1, 200, 401, 999] {
            let rest = frames(hearken.stream_from(&id, &format!("?offset={offset}"), &[]).bytes());
            assert!(
                !rest.is_empty() && rest.len() < seen.len() && seen.ends_with(&rest),
                "{offset} of {most}"
            );
        }
    }
}

#[test]
fn subscribers_that_do_not_read_ended_streams_keep_none_of_them_in_memory() {
    const STREAMS: usize = 8;
    let upstream = FakeUpstream::gemini().say_often(100, &"x".repeat(50_000)).start();
    // The allocator returns free memory at once, so only held memory counts.
    let hearken = Hearken::before(&upstream).set(METRICS).env("MALLOC_CONF", "dirty_decay_ms:0").start();
    let run = || {
        let id = hearken.submit(json!({"stream": true}));
        let during = silent(&hearken, &id);
        assert_eq!(hearken.wait(&id)["status"], "completed");
        (during, silent(&hearken, &id), id)
    };
    run();
    let before = memory(&hearken, "VmRSS");
    let mut subscribers: Vec<_> = (0..STREAMS).map(|_| run()).collect();
    let held = memory(&hearken, "VmRSS").saturating_sub(before);
    let streamed = STREAMS * 5_000_000;
    println!("{held} bytes for streams of {streamed}");
    assert!(held < streamed / 4, "{held}");
    assert!(hearken.metrics().value("hearken_stream_memory_bytes") < 1e6);
    // The subscribers can still read everything later.
    for _ in 0..2 {
        let (during, after, id) = subscribers.pop().unwrap();
        let whole = frames(hearken.stream(&id).bytes());
        assert!(whole.len() > 5_000_000);
        for socket in [during, after] {
            assert!(frames(Subscriber::of(socket).bytes()) == whole);
        }
    }
}

#[test]
fn the_memory_of_ended_answers_goes_back_to_the_system() {
    const ANSWERS: usize = 8;
    const ANSWER: usize = 8_000_000;
    let upstream = FakeUpstream::gemini().say_often(ANSWER / 20_000, &"x".repeat(20_000)).start();
    // By default, the allocator returns memory that has been free for ten seconds.
    let hearken = Hearken::before(&upstream).set(METRICS).env("MALLOC_CONF", "dirty_decay_ms:1000").start();
    let before = memory(&hearken, "VmRSS");
    for _ in 0..ANSWERS {
        let id = hearken.submit(json!({"stream": true}));
        assert_eq!(hearken.wait(&id)["status"], "completed");
    }
    until("memory is given back", || {
        let held = memory(&hearken, "VmRSS").saturating_sub(before);
        println!("{held} bytes");
        (held < 5 * ANSWER).then_some(())
    });
}

#[test]
fn subscribers_that_do_not_read_a_large_frame_hold_no_copy_of_it() {
    const SUBSCRIBERS: usize = 8;
    const FRAME: usize = 3_000_000;
    for hand_over in [false, true] {
        let upstream = FakeUpstream::gemini().say("a").say(&"x".repeat(FRAME)).hold().start();
        let stream = format!("[stream]\nhand_over = {hand_over}\nkeep_alive_seconds = 1\n");
        let hearken = Hearken::before(&upstream).set(&stream).start();
        let id = hearken.submit(json!({"stream": true}));
        upstream.held(1);
        let mut reader = hearken.stream(&id);
        while reader.frame().bytes().len() < FRAME {}
        let before = memory(&hearken, "VmRSS");
        let stuck: Vec<_> = (0..SUBSCRIBERS).map(|_| silent(&hearken, &id)).collect();
        // Comments are due for the other subscribers as well, but must not be sent within the frame.
        reader.comment();
        reader.comment();
        let held = memory(&hearken, "VmRSS").saturating_sub(before);
        println!("{held} bytes for {SUBSCRIBERS} subscribers of a frame of {FRAME}, hand-over: {hand_over}");
        assert!(held < SUBSCRIBERS * FRAME / 3, "{held}");
        upstream.release();
        assert_eq!(hearken.wait(&id)["status"], "completed");
        let whole = frames(hearken.stream(&id).bytes());
        for socket in stuck {
            let bytes = Subscriber::of(socket).bytes();
            assert!(!String::from_utf8_lossy(&bytes).contains("x:"), "a comment within a frame");
            assert!(frames(bytes) == whole);
        }
    }
}
