//! A freeze of the process (a paused virtual machine, a stopped process, a machine that swaps) does not time out the
//! other side: hearken reads what has arrived in a socket before it applies a deadline, and does not count the time of
//! the freeze.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use serde_json::json;

use crate::support::hearken::Hearken;
use crate::support::host::Host;
use crate::support::subscriber::content;
use crate::support::upstream::{FakeUpstream, Script};
use crate::support::{PATIENCE, fixture, until};

/// The limit that passes while the process is frozen. Nothing takes that long before the freeze.
const LIMIT_MS: u64 = 3000;
/// How long the process is frozen. The freeze is what is tested, so it has to be longer than the limit.
const FREEZE: Duration = Duration::from_millis(LIMIT_MS + 300);

/// A limit that leaves more than [`LATER`] after a freeze, also on a busy machine.
const LONG_LIMIT: Duration = Duration::from_secs(5);
/// How long after a freeze the other side sends. It has what is left of the limit, not a fixed grace period.
const LATER: Duration = Duration::from_millis(1500);
/// How long a client may take for a head.
const HEAD_LIMIT: Duration = Duration::from_secs(5);

/// Stops the process.
fn stop(hearken: &Hearken) {
    hearken.signal("STOP");
    until("the process is stopped", || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", hearken.pid())).unwrap();
        stat.rsplit_once(") ")?.1.starts_with('T').then_some(())
    });
}

/// Freezes the process for longer than this limit.
fn freeze_past(hearken: &Hearken, limit: Duration) {
    stop(hearken);
    std::thread::sleep(limit + Duration::from_millis(300));
    hearken.signal("CONT");
}

/// Stops the process, has the other side send its data, and continues the process once the data has arrived and the
/// limit has passed.
fn freeze(hearken: &Hearken, their_port: u16, speak: impl FnOnce()) {
    stop(hearken);
    speak();
    until("the data is in the socket", || (unread_from(their_port) > 0).then_some(()));
    std::thread::sleep(FREEZE);
    hearken.signal("CONT");
}

/// Returns how many bytes from this port of this machine have arrived and are unread.
fn unread_from(port: u16) -> u64 {
    let theirs = format!(":{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let unread = |line: &str| {
        let [_, _, remote, _, queues] = line.split_whitespace().take(5).collect::<Vec<_>>()[..] else {
            return None;
        };
        let unread = remote.ends_with(&theirs).then(|| queues.split(':').nth(1))??;
        u64::from_str_radix(unread, 16).ok()
    };
    table.lines().filter_map(unread).sum()
}

fn port_of(upstream: &FakeUpstream) -> u16 {
    let base_url = upstream.base_url();
    let authority = base_url.split('/').nth(2).unwrap();
    authority.rsplit_once(':').unwrap().1.parse().unwrap()
}

#[test]
fn an_answer_that_arrived_during_a_freeze_is_in_time() {
    type Case = (&'static str, fn(Script) -> Script, usize);
    let cases: [Case; 3] = [
        ("first_chunk_timeout_ms", |script| script.hold().say("a").say("b"), 0),
        ("idle_timeout_ms", |script| script.say("a").hold().say("b"), 2),
        ("total_timeout_ms", |script| script.say("a").hold().say("b"), 2),
    ];
    let run = |limit: &str, script: Script, seen: usize| {
        let upstream = script.start();
        let lines = format!("{limit} = {LIMIT_MS}\ntotal_timeout_audio_factor = 0");
        let hearken = Hearken::before(&upstream).channel(&lines).start();
        let id = hearken.submit(json!({"stream": true}));
        let mut stream = hearken.stream(&id);
        let mut frames: Vec<_> = (0..seen).map(|_| stream.frame()).collect();
        upstream.held(1);
        freeze(&hearken, port_of(&upstream), || upstream.release());
        frames.extend(stream.rest());
        assert_eq!(content(&frames), "ab", "{limit}: {frames:?}");
        assert_eq!(hearken.wait(&id)["status"], "completed", "{limit}");
        assert_eq!(upstream.requests(), 1);
    };
    std::thread::scope(|scope| {
        for (limit, script, seen) in cases {
            for kind in [FakeUpstream::gemini, FakeUpstream::openai, FakeUpstream::transcription] {
                scope.spawn(move || run(limit, script(kind()), seen));
            }
        }
    });
}

#[test]
fn an_answer_after_a_freeze_has_the_time_that_was_left() {
    let run = |limit: &str, script: Script, seen: usize| {
        let upstream = script.start();
        let lines = format!("{limit} = {}\ntotal_timeout_audio_factor = 0", LONG_LIMIT.as_millis());
        let hearken = Hearken::before(&upstream).channel(&lines).start();
        let id = hearken.submit(json!({"stream": true}));
        let mut stream = hearken.stream(&id);
        let mut frames: Vec<_> = (0..seen).map(|_| stream.frame()).collect();
        upstream.held(1);
        freeze_past(&hearken, LONG_LIMIT);
        std::thread::sleep(LATER);
        upstream.release();
        frames.extend(stream.rest());
        assert_eq!(content(&frames), "ab", "{limit}: {frames:?}");
        assert_eq!(upstream.requests(), 1, "{limit}");
    };
    std::thread::scope(|scope| {
        scope.spawn(|| run("first_chunk_timeout_ms", FakeUpstream::gemini().hold().say("a").say("b"), 0));
        for limit in ["idle_timeout_ms", "total_timeout_ms"] {
            scope.spawn(move || run(limit, FakeUpstream::openai().say("a").hold().say("b"), 2));
        }
    });
}

#[test]
fn a_silent_upstream_still_times_out_after_a_freeze() {
    let upstream = FakeUpstream::gemini().say("a").hold().start();
    let hearken = Hearken::before(&upstream).channel(&format!("idle_timeout_ms = {LIMIT_MS}")).start();
    let id = hearken.submit(json!({}));
    upstream.held(1);
    freeze_past(&hearken, Duration::from_millis(LIMIT_MS));
    assert_eq!(hearken.wait(&id)["error"]["code"], "upstream_timeout");
}

#[test]
fn a_download_that_arrived_during_a_freeze_is_in_time() {
    let file = fixture("audio/speech.wav");
    let (go, gone) = mpsc::channel::<()>();
    let (gone, (begun, has_begun)) = (Mutex::new(gone), mpsc::channel());
    let host = Host::serve(move |mut asked| {
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: audio/wav\r\ncontent-length: {}\r\n\r\n", file.len());
        asked.write([head.as_bytes(), &file[..100]].concat());
        begun.send(()).unwrap();
        gone.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        asked.write(&file[100..]);
    });
    let upstream = FakeUpstream::gemini().say("x").start();
    let fetch = format!("[fetch]\nallow_hosts = [\"127.0.0.1\"]\ntotal_timeout_ms = {LIMIT_MS}");
    let hearken = Hearken::before(&upstream).set(&fetch).start();
    let id = hearken.submit(json!({"audio_url": host.url("/a.wav")}));
    has_begun.recv_timeout(PATIENCE).unwrap();
    until("the beginning is read", || (unread_from(host.address().port()) == 0).then_some(()));
    freeze(&hearken, host.address().port(), || go.send(()).unwrap());
    let task = hearken.wait(&id);
    assert_eq!(task["status"], "completed", "{task}");
    assert_eq!(host.requests().len(), 1, "one download");
}

/// Returns the states of this machine's connections to a port, as the kernel numbers them.
fn states_of(port: u16) -> Vec<String> {
    let theirs = format!(":{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let state = |line: &str| {
        let [_, _, remote, state] = line.split_whitespace().take(4).collect::<Vec<_>>()[..] else {
            return None;
        };
        remote.ends_with(&theirs).then(|| state.to_owned())
    };
    table.lines().filter_map(state).collect()
}

/// Returns a listener whose queue is full: a new connection waits until the listener accepts one.
fn full_listener() -> (TcpListener, Vec<TcpStream>) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(connection) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        waiting.push(connection);
    }
    (listener, waiting)
}

/// Starts a server whose only upstream is at this URL.
fn before(url: &str) -> Hearken {
    Hearken::builder().gemini(url).channel(&format!("connect_timeout_ms = {LIMIT_MS}")).start()
}

#[test]
fn a_connection_established_during_a_freeze_is_in_time() {
    const SYN_SENT: &str = "02";
    let (listener, waiting) = full_listener();
    let port = listener.local_addr().unwrap().port();
    let hearken = before(&format!("http://127.0.0.1:{port}"));
    let id = hearken.submit(json!({}));
    until("the program connects", || states_of(port).iter().any(|state| state == SYN_SENT).then_some(()));
    stop(&hearken);
    for _ in waiting {
        listener.accept().unwrap();
    }
    let (mut connection, _) = listener.accept().unwrap();
    std::thread::sleep(FREEZE);
    hearken.signal("CONT");
    connection.write_all(b"HTTP/1.1 418 Connected\r\ncontent-length: 0\r\n\r\n").unwrap();
    let error = hearken.wait(&id)["error"].clone();
    assert_eq!(error["upstream_status"], 418, "{error}");
}

#[test]
fn a_tls_handshake_after_a_freeze_has_the_time_that_was_left() {
    let run = |answers: bool, expected: &str| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let hearken = before(&format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port()));
        let id = hearken.submit(json!({}));
        let (mut connection, _) = listener.accept().unwrap();
        // The time after this byte belongs to the handshake.
        connection.read_exact(&mut [0]).unwrap();
        freeze_past(&hearken, Duration::from_millis(LIMIT_MS));
        if answers {
            std::thread::sleep(Duration::from_millis(500));
            connection.write_all(b"this is no TLS\r\n").unwrap();
        }
        let error = hearken.wait(&id)["error"].clone();
        assert!(error["message"].as_str().unwrap().contains(expected), "{error}");
    };
    std::thread::scope(|scope| {
        scope.spawn(|| run(true, "TLS handshake failed"));
        scope.spawn(|| run(false, "connect timeout"));
    });
}

#[test]
fn heads_that_arrived_whole_during_a_freeze_are_in_time() {
    let hearken = Hearken::builder().local().start();
    let client = hearken.client();
    let head = client.head("GET", "/v1/models", &[]);
    let (begin, end) = head.split_at(20);
    let mut second = client.send_raw(client.head("HEAD", "/healthz", &[]).as_bytes());
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        second.read_exact(&mut byte).unwrap();
        answer.extend(byte);
    }
    second.write_all(begin.as_bytes()).unwrap();
    let mut connections = [client.send_raw(b""), client.send_raw(begin.as_bytes()), second];
    let ports = connections.each_ref().map(|connection| connection.local_addr().unwrap().port());
    until("the beginnings are read", || ports.iter().all(|port| unread_from(*port) == 0).then_some(()));
    stop(&hearken);
    for (connection, rest) in connections.iter_mut().zip([&head[..], end, end]) {
        connection.write_all(rest.as_bytes()).unwrap();
    }
    std::thread::sleep(HEAD_LIMIT + Duration::from_millis(300));
    hearken.signal("CONT");
    for (number, mut connection) in connections.into_iter().enumerate() {
        let mut status = [0; 12];
        connection.read_exact(&mut status).unwrap_or_else(|err| panic!("connection {number}: {err}"));
        assert_eq!(String::from_utf8_lossy(&status), "HTTP/1.1 200", "connection {number}");
    }
}

#[test]
fn a_subscriber_that_read_during_a_freeze_is_not_stuck() {
    let upstream = FakeUpstream::gemini().say_often(12, &"x".repeat(1024 * 1024)).start();
    // As long as a busy machine may take to stop the process.
    let stream = format!("[stream]\nsend_timeout_seconds = {}\nkeep_alive_seconds = 1", LONG_LIMIT.as_secs());
    let hearken = Hearken::before(&upstream).set(&stream).start();
    let id = hearken.submit(json!({"stream": true}));
    hearken.log_line("task ended");
    let stream = hearken.stream(&id);
    let mut before = 0;
    until("the subscriber's socket is full", || {
        let unsent = hearken.queues().into_iter().max().unwrap_or_default();
        (unsent > 0 && std::mem::replace(&mut before, unsent) == unsent).then_some(())
    });
    stop(&hearken);
    let reader = std::thread::spawn(move || stream.rest());
    std::thread::sleep(LONG_LIMIT + Duration::from_millis(300));
    hearken.signal("CONT");
    let frames = reader.join().unwrap();
    assert_eq!(frames.last().unwrap().event, "done");
    assert_eq!(content(&frames).len(), 12 << 20);
}
