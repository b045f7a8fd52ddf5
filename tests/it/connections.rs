//! Connections that cost more than they bring: slow heads, bodies without an end, too many of one address.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::support::certificate::Pair;
use crate::support::hearken::Hearken;
use crate::support::http::Reply;
use crate::support::secure;
use crate::support::upstream::FakeUpstream;
use crate::support::{PATIENCE, until};

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";

/// Reads one reply whose body has a length.
fn reply(stream: &mut impl Read) -> Reply {
    let mut bytes = Vec::new();
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        bytes.extend(byte);
        if !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
            continue;
        }
        let reply = Reply::parse(&bytes);
        if reply.header("content-length") == Some(reply.body.len().to_string().as_str()) {
            return reply;
        }
    }
}

/// Sends a piece now and then until the server closes the connection. What it says before does not matter.
fn dribble(stream: &mut (impl Read + Write), socket: &TcpStream, piece: &str) {
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        let sent = stream.write_all(piece.as_bytes()).and_then(|()| stream.flush());
        let mut said = [0; 1024];
        let read = stream.read(&mut said);
        let is_closed = match (&sent, &read) {
            (_, Ok(0)) => true,
            (_, Err(err)) => !matches!(
                err.kind(),
                std::io::ErrorKind::WouldBlock
                    | std::io::ErrorKind::TimedOut
                    | std::io::ErrorKind::Interrupted
            ),
            (sent, Ok(_)) => sent.is_err(),
        };
        if is_closed {
            return;
        }
    }
    panic!("the connection stays open");
}

/// What attackers of connections do: a request, and then what never ends.
const ENDLESS: [(&str, &str); 4] = [
    ("GET /healthz HTTP/1.1\r\nhost: x\r\nx-dribbling: ", "x"),
    ("GET /healthz HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
    ("POST /v1/tasks/x/cancel HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
    ("POST /v1/llm/generations HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n", "x"),
];

#[test]
fn what_never_ends_on_a_used_connection_ends_it_and_others_are_served() {
    let hearken = Hearken::builder().local().set("[metrics]\nlisten = \"127.0.0.1:0\"").start();
    let (main, metrics) = (hearken.client().address, hearken.watcher().address);
    std::thread::scope(|scope| {
        for (begin, piece) in ENDLESS {
            scope.spawn(move || {
                let mut socket = TcpStream::connect(main).unwrap();
                socket.write_all(HEALTH.as_bytes()).unwrap();
                assert_eq!(reply(&mut socket).status, 200);
                socket.write_all(begin.as_bytes()).unwrap();
                dribble(&mut socket.try_clone().unwrap(), &socket, piece);
            });
            scope.spawn(move || {
                // There each connection has one request.
                let mut socket = TcpStream::connect(metrics).unwrap();
                socket.write_all(begin.as_bytes()).unwrap();
                dribble(&mut socket.try_clone().unwrap(), &socket, piece);
            });
        }
        hearken.get("/healthz").expect(200);
        hearken.watcher().get("/metrics").expect(200);
    });
    until("all are gone", || (hearken.open_connections() == 0).then_some(()));
}

#[test]
fn what_never_ends_on_a_used_connection_over_tls_ends_it() {
    let pair = Pair::new();
    let hearken = Hearken::builder().local().tls(&pair).start();
    let address = hearken.client().address;
    std::thread::scope(|scope| {
        for (begin, piece) in ENDLESS {
            let pair = &pair;
            scope.spawn(move || {
                let mut stream = secure::connect(address, pair);
                stream.write_all(HEALTH.as_bytes()).unwrap();
                assert_eq!(reply(&mut stream).status, 200);
                stream.write_all(begin.as_bytes()).unwrap();
                let socket = stream.sock.try_clone().unwrap();
                dribble(&mut stream, &socket, piece);
            });
        }
    });
    until("all are gone", || (hearken.open_connections() == 0).then_some(()));
}

#[test]
fn pipelined_requests_behind_a_slow_one_are_all_answered() {
    let upstream = FakeUpstream::gemini().hold().say("x").start();
    let hearken = Hearken::start(&upstream);
    let id = hearken.submit(json!({}));
    upstream.held(1);
    let mut socket =
        hearken.send_raw(hearken.head("GET", &format!("/v1/tasks/{id}?wait=20"), &[]).as_bytes());
    let filling = "x".repeat(3000);
    let request = hearken.head("GET", "/healthz", &[("x-filling", &filling)]);
    let mut sending = socket.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..100 {
                sending.write_all(request.as_bytes()).unwrap();
            }
        });
        upstream.release();
        for _ in 0..101 {
            assert_eq!(reply(&mut socket).status, 200);
        }
    });
}

#[test]
fn a_reply_is_whole_whatever_the_client_sends_behind_its_request() {
    let hearken = Hearken::builder().local().start();
    let whole = hearken.get("/openapi.json").expect(200).body;
    // What is not read yet when the server closes is still on its way.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&hearken.client().address.into()).unwrap();
    let mut socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = hearken.head("GET", "/openapi.json", &[("connection", "close")]);
    socket.write_all((request + &HEALTH.repeat(1000)).as_bytes()).unwrap();
    let mut reply = Vec::new();
    socket.read_to_end(&mut reply).unwrap();
    assert!(Reply::parse(&reply).body == whole);
}

/// A connection that was let in: it has had an answer.
fn let_in(address: SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(HEALTH.as_bytes()).unwrap();
    assert_eq!(reply(&mut socket).status, 200);
    socket
}

/// True if the next connection is closed at once.
fn is_refused(address: SocketAddr) -> bool {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    // It may be closed before this is sent.
    let _ = socket.write_all(HEALTH.as_bytes());
    !matches!(socket.read(&mut [0; 1]), Ok(1))
}

#[test]
fn an_address_has_so_many_connections_until_one_leaves() {
    let limits = "[limits]\nmax_connections_per_address = 3\n[metrics]\nlisten = \"127.0.0.1:0\"";
    let hearken = Hearken::builder().local().set(limits).start();
    let address = hearken.client().address;
    let mut taken: Vec<_> = (0..3).map(|_| let_in(address)).collect();
    for _ in 0..5 {
        assert!(is_refused(address));
    }
    hearken.metrics_say("hearken_http_connections_refused_total{reason=\"address\"}", 5.0).holds(&[
        ("hearken_http_connections_refused_total{reason=\"open_files\"}", 0.0),
        ("hearken_http_connections", 3.0),
    ]);
    hearken.log_line("address=127.0.0.1 connections=3");
    assert_eq!(hearken.log().matches("limits.max_connections_per_address").count(), 1);
    taken.pop();
    until("one that left makes room", || (!is_refused(address)).then_some(()));
}

#[test]
fn a_subscriber_counts_for_its_address_wherever_it_is_served() {
    let upstream = FakeUpstream::gemini().say("a").hold().say("b").start();
    let hearken = Hearken::before(&upstream).set("[limits]\nmax_connections_per_address = 2").start();
    let id = hearken.submit(json!({"stream": true}));
    // The connection of the submit may still be on its way out.
    let mut stream = until("there is room", || {
        let path = format!("/v1/llm/generations/{id}/stream");
        let socket = hearken.send_raw(hearken.head("GET", &path, &[]).as_bytes());
        let mut first = [0];
        (socket.peek(&mut first).ok()? == 1).then(|| crate::support::subscriber::Subscriber::of(socket))
    });
    stream.frame();
    let other = until("there is room for another one", || {
        let mut socket = TcpStream::connect(hearken.client().address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = socket.write_all(HEALTH.as_bytes());
        (socket.peek(&mut [0]).ok()? == 1).then_some(socket)
    });
    assert!(is_refused(hearken.client().address));
    upstream.release();
    stream.rest();
    until("its end makes room", || (!is_refused(hearken.client().address)).then_some(()));
    drop(other);
}
