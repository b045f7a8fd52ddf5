//! `GET /v1/llm/generations/{id}/stream`: the bytes of the contract, for any number of subscribers, from any position.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::kit::gemini::finish_event;
use crate::support::hearken::Hearken;
use crate::support::http::Client;
use crate::support::subscriber::{Frame, Item, content};
use crate::support::upstream::FakeUpstream;
use crate::support::{MODEL, until};

fn path(id: &str, query: &str) -> String {
    format!("/v1/llm/generations/{id}/stream{query}")
}

/// Runs a task that streams, and returns its id and all frames of its stream.
fn ended_task(hearken: &Client) -> (String, Vec<Frame>) {
    let id = hearken.submit(json!({"stream": true}));
    hearken.wait(&id);
    let frames = hearken.stream(&id).rest();
    (id, frames)
}

#[test]
fn a_stream_is_byte_for_byte_what_the_contract_shows() {
    let upstream = FakeUpstream::gemini().hold().say("Hello").hold().say(" world").start();
    let hearken = Hearken::start(&upstream);
    let id = hearken.submit(json!({"stream": true}));
    let mut stream = hearken.stream(&id);
    let head = stream.head.clone();
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    assert_eq!(head.header("cache-control"), Some("no-cache, no-transform"));
    assert_eq!(head.header("x-accel-buffering"), Some("no"));
    assert_eq!(head.header("content-encoding"), None);
    assert!(head.header("x-request-id").is_some());
    // Head and comment arrive before the upstream has sent anything.
    stream.comment();
    upstream.held(1);
    upstream.release();
    let first = [stream.frame(), stream.frame()];
    assert_eq!(first.each_ref().map(|frame| frame.id), [0, 1]);
    upstream.held(2);
    upstream.release();
    let ended = stream.rest();
    let task = hearken.wait(&id);
    let completion = &task["results"][0];
    let start = format!(
        "{{\"id\":{},\"object\":\"chat.completion.chunk\",\"created\":{},\"model\":\"{MODEL}\",\"choices\":[{{\"index\":0,\"delta\":",
        completion["id"], completion["created"]
    );
    let whole = hearken.stream(&id).bytes();
    assert_eq!(
        String::from_utf8(whole).unwrap(),
        format!(
            ": keep-alive\nretry: 2000\n\
             event: chunk\nid: 0\ndata: {start}{{\"role\":\"assistant\",\"content\":\"\"}},\"finish_reason\":null}}]}}\n\n\
             event: chunk\nid: 1\ndata: {start}{{\"content\":\"Hello\"}},\"finish_reason\":null}}]}}\n\n\
             event: chunk\nid: 2\ndata: {start}{{\"content\":\" world\"}},\"finish_reason\":null}}]}}\n\n\
             event: chunk\nid: 3\ndata: {start}{{}},\"finish_reason\":\"stop\"}}],\"usage\":{{\
             \"prompt_tokens\":11,\"completion_tokens\":8,\"total_tokens\":19,\
             \"prompt_tokens_details\":{{\"audio_tokens\":7,\"cached_tokens\":0}},\
             \"completion_tokens_details\":{{\"reasoning_tokens\":3}}}}}}\n\n\
             event: done\nid: 4\ndata: [DONE]\n\n"
        )
    );
    let late = hearken.stream(&id).rest();
    assert_eq!([&first[..], &ended].concat(), late, "during the run as after it");
    assert_eq!(late[3].json()["usage"], completion["usage"]);
    assert_eq!(content(&late), completion["choices"][0]["message"]["content"].as_str().unwrap());
}

#[test]
fn the_connection_closes_with_the_stream() {
    let upstream = FakeUpstream::gemini().say("x").start();
    let hearken = Hearken::start(&upstream);
    let (id, _) = ended_task(&hearken);
    let started = Instant::now();
    // `rest` reads until the server closes.
    assert_eq!(hearken.stream(&id).rest().last().unwrap().event, "done");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn reasoning_comes_in_deltas_of_its_own() {
    let upstream = FakeUpstream::gemini().think("Let me ").think("listen.").say("Hello").start();
    let hearken = Hearken::start(&upstream);
    let id = hearken.submit(json!({"stream": true, "reasoning": true}));
    let frames = hearken.stream(&id).rest();
    let deltas: Vec<Value> = frames[..frames.len() - 1].iter().map(Frame::delta).collect();
    assert_eq!(
        deltas,
        [
            json!({"role": "assistant", "content": ""}),
            json!({"reasoning_content": "Let me "}),
            json!({"reasoning_content": "listen."}),
            json!({"content": "Hello"}),
            json!({}),
        ]
    );
    let message = &hearken.wait(&id)["results"][0]["choices"][0]["message"];
    assert_eq!(
        (&message["content"], &message["reasoning_content"]),
        (&json!("Hello"), &json!("Let me listen."))
    );
}

#[test]
fn a_failure_is_an_error_frame_that_carries_the_number_of_chunks() {
    let upstream = FakeUpstream::gemini().say("Hel").hold().cut().start();
    let hearken = Hearken::start(&upstream);
    let id = hearken.submit(json!({"stream": true}));
    let stream = hearken.stream(&id);
    upstream.held(1);
    upstream.release();
    let frames = stream.rest();
    let task = hearken.wait(&id);
    assert_eq!(frames.len(), 3);
    assert_eq!((frames[2].event.as_str(), frames[2].id), ("error", 2));
    assert!(frames[2].data.starts_with("{\"error\":{\"code\":\"upstream_disconnected\",\"message\":\""));
    assert_eq!(frames[2].json(), json!({"error": task["error"]}));
    assert_eq!(task["status"], "failed");
}

#[test]
fn a_failure_before_the_first_chunk_is_an_error_frame_alone() {
    let upstream = FakeUpstream::error(503, &json!({"error": {"code": 503, "message": "busy"}})).start();
    let hearken = Hearken::start(&upstream);
    let (id, frames) = ended_task(&hearken);
    assert_eq!(frames.len(), 1);
    assert_eq!((frames[0].event.as_str(), frames[0].id), ("error", 0));
    let gone = hearken.call("GET", &path(&id, ""), &[("last-event-id", "0")], None);
    assert_eq!((gone.status, gone.body.len()), (204, 0));
}

#[test]
fn a_reader_may_start_at_any_chunk() {
    let upstream = FakeUpstream::gemini().say("a").say("b").say("c").start();
    let hearken = Hearken::start(&upstream);
    let (id, all) = ended_task(&hearken);
    assert_eq!(all.len(), 6);
    let terminal = &all[5..];
    for (query, expected) in [
        ("", &all[..]),
        ("?offset=0", &all[..]),
        ("?offset=1", &all[1..]),
        ("?offset=4", &all[4..]),
        ("?offset=5", terminal),
        ("?offset=6", terminal),
        ("?offset=99999999999999999999999999", terminal),
        ("?x=1&offset=3", &all[3..]),
    ] {
        assert_eq!(hearken.stream_from(&id, query, &[]).rest(), expected, "{query}");
    }
    for (query, header, expected) in [
        ("", "0", &all[1..]),
        ("", "4", terminal),
        ("?offset=0", "2", &all[3..]),
        ("?offset=4", "0", &all[1..]),
        ("?offset=4", "", &all[4..]),
        ("?offset=4", "abc", &all[4..]),
        ("", "-1", &all[..]),
        ("", "1.5", &all[..]),
    ] {
        let frames = hearken.stream_from(&id, query, &[("last-event-id", header)]).rest();
        assert_eq!(frames, expected, "{query} {header:?}");
    }
    for header in ["5", "6", "4711", "99999999999999999999999999"] {
        let reply = hearken.call("GET", &path(&id, ""), &[("last-event-id", header)], None);
        assert_eq!((reply.status, reply.body.len()), (204, 0), "{header}");
    }
    for query in ["?offset=", "?offset=-1", "?offset=1.5", "?offset=x", "?offset=1e3"] {
        assert_eq!(hearken.get(&path(&id, query)).error(422, "invalid_param")["param"], "offset", "{query}");
    }
}

#[test]
fn a_reader_waits_for_a_position_that_is_not_reached_yet() {
    let upstream = FakeUpstream::gemini().say("a").hold().say("b").say("c").start();
    let hearken = Hearken::start(&upstream);
    let id = hearken.submit(json!({"stream": true}));
    upstream.held(1);
    let mut by_offset = hearken.stream_from(&id, "?offset=3", &[]);
    let mut by_id = hearken.stream_from(&id, "", &[("last-event-id", "2")]);
    let mut beyond = hearken.stream_from(&id, "?offset=400", &[]);
    let mut beyond_by_id = hearken.stream_from(&id, "", &[("last-event-id", "400")]);
    for stream in [&mut by_offset, &mut by_id, &mut beyond, &mut beyond_by_id] {
        stream.comment();
    }
    upstream.release();
    let all = hearken.stream(&id).rest();
    assert_eq!(by_offset.rest(), all[3..]);
    assert_eq!(by_id.rest(), all[3..]);
    assert_eq!(beyond.rest(), all[5..]);
    assert_eq!(beyond_by_id.rest(), all[5..]);
}

#[test]
fn a_reader_that_was_cut_off_loses_nothing_and_sees_nothing_twice() {
    let upstream = FakeUpstream::gemini().say("a").hold().say("b").hold().say("c").start();
    let hearken = Hearken::start(&upstream);
    let id = hearken.submit(json!({"stream": true}));
    let mut first = hearken.stream(&id);
    let mut seen = vec![first.frame(), first.frame()];
    drop(first);
    upstream.held(1);
    upstream.release();
    let last = seen.last().unwrap().id.to_string();
    let mut second = hearken.stream_from(&id, "?offset=0", &[("last-event-id", &last)]);
    seen.push(second.frame());
    drop(second);
    upstream.held(2);
    upstream.release();
    hearken.wait(&id);
    let last = seen.last().unwrap().id.to_string();
    seen.extend(hearken.stream_from(&id, "", &[("last-event-id", &last)]).rest());
    assert_eq!(seen, hearken.stream(&id).rest());
}

#[test]
fn a_task_that_was_submitted_without_stream_has_no_stream() {
    let upstream = FakeUpstream::gemini().hold().say("x").start();
    let hearken = Hearken::start(&upstream);
    let id = hearken.submit(json!({}));
    upstream.held(1);
    hearken.get(&path(&id, "")).error(409, "stream_not_enabled");
    upstream.release();
    hearken.wait(&id);
    hearken.get(&path(&id, "")).error(409, "stream_not_enabled");
    hearken.get(&path("task-llm-1776874565-yq3szvcu", "")).error(404, "task_not_found");
}

#[test]
fn comments_between_the_frames_keep_a_silent_stream_alive() {
    let upstream = FakeUpstream::gemini().say("a").hold().say("b").start();
    let hearken = Hearken::before(&upstream).set("[stream]\nkeep_alive_seconds = 1").start();
    let id = hearken.submit(json!({"stream": true}));
    let mut stream = hearken.stream(&id);
    stream.comment();
    let frames = [stream.frame(), stream.frame()];
    let started = Instant::now();
    for _ in 0..3 {
        stream.comment();
    }
    let silent = started.elapsed();
    assert!((Duration::from_millis(2500)..Duration::from_secs(8)).contains(&silent), "{silent:?}");
    upstream.release();
    // The reader is strict: it rejects a comment within a frame, or one with a blank line after it.
    let mut rest = Vec::new();
    while let Some(item) = stream.next() {
        if let Item::Frame(frame) = item {
            rest.push(frame);
        }
    }
    assert_eq!([&frames[..], &rest].concat(), hearken.stream(&id).rest());
}

#[test]
fn chunks_expire_and_the_result_stays() {
    let upstream = FakeUpstream::gemini().say("kept").start();
    let hearken = Hearken::before(&upstream).set("[retention]\nchunks_seconds = 1").start();
    let (id, _) = ended_task(&hearken);
    let reply = until("the chunks expire", || {
        let socket =
            hearken.send_raw(hearken.head("GET", &path(&id, ""), &[("connection", "close")]).as_bytes());
        let stream = crate::support::subscriber::Subscriber::of(socket);
        (stream.head.status != 200).then(|| hearken.get(&path(&id, "")))
    });
    let error = reply.error(410, "stream_expired");
    assert!(error["message"].as_str().unwrap().contains(&format!("/v1/tasks/{id}")), "{error}");
    let task = hearken.task(&id);
    assert_eq!(task["status"], "completed");
    assert_eq!(task["results"][0]["choices"][0]["message"]["content"], "kept");
}

#[test]
fn fifty_readers_get_the_same_bytes_whatever_the_others_do() {
    // The stream has some MB, so that the sockets of readers that do not read are full long before the end.
    let piece = "x".repeat(32 * 1024);
    let upstream = FakeUpstream::gemini().say("first").hold().say_often(60, &piece).hold().start();
    let hearken = Hearken::start(&upstream);
    let id = hearken.submit(json!({"stream": true}));
    upstream.held(1);
    let stuck: Vec<_> = (0..10).map(|_| hearken.stream(&id)).collect();
    let read = |query: &'static str| {
        let (client, id) = (hearken.client(), id.clone());
        std::thread::spawn(move || client.stream_from(&id, query, &[]).bytes())
    };
    let mut readers: Vec<_> = (0..15).map(|_| read("")).collect();
    let mut by_offset: Vec<_> = (0..5).map(|_| read("?offset=7")).collect();
    upstream.release();
    upstream.held(2);
    readers.extend((0..10).map(|_| read("")));
    upstream.release();
    hearken.wait(&id);
    readers.extend((0..5).map(|_| read("")));
    by_offset.extend((0..5).map(|_| read("?offset=7")));

    let frames = hearken.stream(&id).rest();
    let expected = |frames: &[Frame]| {
        ": keep-alive\nretry: 2000\n".to_owned() + &frames.iter().map(Frame::bytes).collect::<String>()
    };
    let (all, tail) = (expected(&frames), expected(&frames[7..]));
    for reader in readers {
        assert!(reader.join().unwrap() == all.as_bytes(), "a reader got other bytes");
    }
    for reader in by_offset {
        assert!(reader.join().unwrap() == tail.as_bytes(), "a reader by offset got other bytes");
    }
    // A reader that was stuck all the time can still read everything.
    let late = stuck.into_iter().next().unwrap().bytes();
    assert!(late == all.as_bytes());
    assert_eq!(content(&frames).len(), 5 + 60 * piece.len());
}

#[test]
fn a_reader_that_disconnects_is_noticed_while_nothing_is_sent() {
    let upstream = FakeUpstream::gemini().say("a").hold().start();
    let hearken = Hearken::before(&upstream).set("[stream]\nkeep_alive_seconds = 2").start();
    let id = hearken.submit(json!({"stream": true}));
    upstream.held(1);
    let readers: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = hearken.stream(&id);
            assert_eq!((stream.frame().id, stream.frame().id), (0, 1));
            stream
        })
        .collect();
    assert!(hearken.open_connections() >= 20);
    let left = Instant::now();
    drop(readers);
    until("the connections are closed", || (hearken.open_connections() == 0).then_some(()));
    assert!(left.elapsed() < Duration::from_secs(4), "{:?}", left.elapsed());
    upstream.release();
    assert_eq!(hearken.wait(&id)["status"], "completed");
}

#[test]
fn the_last_chunk_carries_the_finish_reason() {
    let upstream = FakeUpstream::gemini().say("a").event(&finish_event("MAX_TOKENS")).ends().start();
    let hearken = Hearken::start(&upstream);
    let (_, frames) = ended_task(&hearken);
    let finish = &frames[frames.len() - 2].json()["choices"][0];
    assert_eq!(finish, &json!({"index": 0, "delta": {}, "finish_reason": "length"}));
    for frame in &frames[..frames.len() - 2] {
        assert_eq!(frame.json()["choices"][0]["finish_reason"], Value::Null);
        assert!(!frame.data.contains("usage"));
    }
}
