//! Clients that half-close their connection after their last request, as `nc -N` does, get their answers. The server
//! distinguishes them from clients that have disconnected.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use serde_json::{Value, json};
use socket2::SockRef;

use crate::support::certificate::Pair;
use crate::support::hearken::Hearken;
use crate::support::http::{Client, Reply};
use crate::support::http2::Http2;
use crate::support::subscriber::Subscriber;
use crate::support::upstream::FakeUpstream;
use crate::support::{body, secure, until};

/// Sends these bytes and half-closes the connection.
fn send_and_half_close(client: &Client, bytes: &str) -> TcpStream {
    let socket = client.send_raw(bytes.as_bytes());
    socket.shutdown(Shutdown::Write).unwrap();
    socket
}

/// Reads the reply up to the end of the connection.
fn reply(mut socket: impl Read) -> Reply {
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).unwrap();
    Reply::parse(&bytes)
}

/// Waits until the server has closed all connections of these clients.
fn all_closed(hearken: &Hearken) {
    until("all connections are closed", || (hearken.open_connections() == 0).then_some(()));
}

#[test]
fn a_half_closed_client_gets_its_answer_however_long_it_takes() {
    let upstream = FakeUpstream::gemini().hold().say("word").start();
    let hearken = Hearken::start(&upstream);
    let client = hearken.client();
    let id = hearken.submit(json!({"stream": true}));
    let wait = client.head("GET", &format!("/v1/tasks/{id}?wait=60"), &[]);
    let waiting = [
        client.submit_bytes(json!({"sync": true})),
        client.submit_bytes(json!({"sync": true})).replacen("HTTP/1.1", "HTTP/1.0", 1),
        wait.clone(),
        wait.replacen("HTTP/1.1", "HTTP/1.0", 1),
    ];
    let waiting = waiting.map(|request| send_and_half_close(&client, &request));
    let streaming = send_and_half_close(&client, &client.submit_bytes(json!({"sync": true, "stream": true})));
    let stream = format!("/v1/llm/generations/{id}/stream");
    let subscriber = Subscriber::of(send_and_half_close(&client, &client.head("GET", &stream, &[])));
    let at_once = [
        client.head("GET", "/v1/models", &[]),
        client.submit_bytes(json!({})),
        client.submit_bytes(json!({})).replacen("HTTP/1.1", "HTTP/1.0", 1),
    ];
    for request in at_once {
        reply(send_and_half_close(&client, &request)).expect(200);
    }
    // One task is waited for by its id, three are synchronous calls, and two were just submitted.
    upstream.held(6);
    (0..6).for_each(|_| upstream.release());
    for socket in waiting {
        assert!(reply(socket).expect(200).text().contains("word"));
    }
    assert!(Subscriber::of(streaming).rest().iter().any(|frame| frame.content().contains("word")));
    assert!(subscriber.rest().iter().any(|frame| frame.content().contains("word")));
    all_closed(&hearken);
}

#[test]
fn pipelined_requests_before_a_half_close_are_all_answered() {
    let upstream = FakeUpstream::gemini().hold().say("word").start();
    let hearken = Hearken::start(&upstream);
    let client = hearken.client();
    let quick = client.head("GET", "/healthz", &[]);
    let socket =
        send_and_half_close(&client, &(client.submit_bytes(json!({"sync": true})) + &quick.repeat(10)));
    upstream.held(1);
    upstream.release();
    let mut said = String::new();
    (&socket).read_to_string(&mut said).unwrap();
    assert_eq!(said.matches("HTTP/1.1 200 OK\r\n").count(), 11, "{said}");
}

#[test]
fn a_half_closed_client_over_tls_gets_its_answer() {
    let upstream = FakeUpstream::gemini().hold().say("word").start();
    let pair = Pair::new();
    let hearken = Hearken::before(&upstream).tls(&pair).start();
    let client = hearken.client();
    let mut stream = secure::connect(client.address, &pair);
    stream.write_all(client.submit_bytes(json!({"sync": true})).as_bytes()).unwrap();
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    upstream.held(1);
    upstream.release();
    assert!(reply(stream).expect(200).text().contains("word"));
}

#[test]
fn closing_a_blocking_call_cancels_it_however_it_was_sent() {
    let upstream = FakeUpstream::gemini().hold().start();
    let pair = Pair::new();
    let (plain, secure) = (Hearken::start(&upstream), Hearken::before(&upstream).tls(&pair).start());
    let submit = plain.client().submit_bytes(json!({"sync": true}));
    let text = body(json!({"sync": true})).to_string();
    let length = text.len().to_string();
    let headers =
        [("content-type", "application/json"), ("content-length", &length), ("expect", "100-continue")];
    let expecting = plain.client().head("POST", "/v1/llm/generations", &headers);
    for (call, (request, rest)) in [
        (submit.clone(), String::new()),
        (submit.replacen("HTTP/1.1", "HTTP/1.0", 1), String::new()),
        (plain.client().head("GET", "/healthz", &[]) + &submit, String::new()),
        (expecting, text),
    ]
    .into_iter()
    .enumerate()
    {
        let mut socket = plain.client().send_raw(request.as_bytes());
        if !rest.is_empty() {
            let mut interim = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
            socket.read_exact(&mut interim).unwrap();
            socket.write_all(rest.as_bytes()).unwrap();
        }
        upstream.held(call + 1);
        drop(socket);
        upstream.closed(call);
    }
    let mut stream = secure::connect(secure.client().address, &pair);
    stream.write_all(submit.as_bytes()).unwrap();
    upstream.held(5);
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    drop(stream);
    upstream.closed(4);
    let all_cancelled = |tasks: Value| {
        let tasks = tasks["data"].as_array().unwrap();
        let is_cancelled = |task: &Value| task["error"]["code"] == "task_cancelled";
        (!tasks.is_empty() && tasks.iter().all(is_cancelled)).then_some(())
    };
    until("all tasks are cancelled", || all_cancelled(plain.get("/v1/tasks").expect(200).json()));
    until("the task is cancelled", || {
        let listed = Http2::connect(secure.client().address, &pair).get("/v1/tasks").1;
        all_cancelled(serde_json::from_str(&listed).unwrap())
    });
    all_closed(&plain);
}

/// Sends as much as the buffers of both sides take, or this much.
fn send_much(socket: &mut TcpStream, most: usize) {
    socket.set_nonblocking(true).unwrap();
    let (mut sent, piece) = (0, [b'x'; 10_000]);
    while sent < most {
        match socket.write(&piece) {
            Ok(written) => sent += written,
            Err(err) if err.kind() == std::io::ErrorKind::WouldBlock => break,
            Err(err) => panic!("{err}"),
        }
    }
}

#[test]
fn a_blocking_caller_that_sends_much_and_disconnects_cancels_soon() {
    let upstream = FakeUpstream::gemini().hold().start();
    let pair = Pair::new();
    let (plain, secure) = (Hearken::start(&upstream), Hearken::before(&upstream).tls(&pair).start());
    let submit = plain.client().submit_bytes(json!({"sync": true}));
    let mut calls = 0;
    for is_reset in [false, true] {
        for much in [20_000, usize::MAX] {
            let mut socket = plain.client().send_raw(submit.as_bytes());
            upstream.held(calls + 1);
            send_much(&mut socket, much);
            if is_reset {
                SockRef::from(&socket).set_linger(Some(std::time::Duration::ZERO)).unwrap();
            }
            drop(socket);
            upstream.closed(calls);
            calls += 1;
        }
        let mut stream = secure::connect(secure.client().address, &pair);
        stream.write_all(submit.as_bytes()).unwrap();
        upstream.held(calls + 1);
        stream.write_all(&[b'x'; 20_000]).unwrap();
        if is_reset {
            SockRef::from(&stream.sock).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        }
        drop(stream);
        upstream.closed(calls);
        calls += 1;
    }
    all_closed(&plain);
    all_closed(&secure);
}
