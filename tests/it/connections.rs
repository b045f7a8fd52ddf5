//! Abusive connections: slow heads, endless bodies, too many connections from one address.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::support::certificate::Pair;
use crate::support::hearken::Hearken;
use crate::support::http::{Client, Reply};
use crate::support::http2::Http2;
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

/// Sends a piece at intervals until the server closes the connection. Ignores what the server replies before that.
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

/// Attacks on a connection: a request, and a piece that is then sent endlessly.
const ENDLESS: [(&str, &str); 4] = [
    ("GET /healthz HTTP/1.1\r\nhost: x\r\nx-dribbling: ", "x"),
    ("GET /healthz HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
    ("POST /v1/tasks/x/cancel HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
    ("POST /v1/llm/generations HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n", "x"),
];

#[test]
fn an_endless_request_closes_its_connection_and_others_are_served() {
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
                // The listener for metrics serves one request per connection.
                let mut socket = TcpStream::connect(metrics).unwrap();
                socket.write_all(begin.as_bytes()).unwrap();
                dribble(&mut socket.try_clone().unwrap(), &socket, piece);
            });
        }
        hearken.get("/healthz").expect(200);
        hearken.watcher().get("/metrics").expect(200);
    });
    until("all connections are closed", || (hearken.open_connections() == 0).then_some(()));
}

#[test]
fn an_endless_request_over_tls_closes_its_connection() {
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
    until("all connections are closed", || (hearken.open_connections() == 0).then_some(()));
}

#[test]
fn pipelined_requests_after_a_slow_one_are_all_answered() {
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
fn a_reply_is_complete_whatever_the_client_sends_after_its_request() {
    let hearken = Hearken::builder().local().start();
    let whole = hearken.get("/openapi.json").expect(200).body;
    // With a small receive buffer, a part of the reply is still in transit when the server closes.
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

/// Opens a connection that the server accepts: it has answered a request.
fn accepted(address: SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(HEALTH.as_bytes()).unwrap();
    assert_eq!(reply(&mut socket).status, 200);
    socket
}

/// Returns true if the server closes the next connection at once.
fn is_refused(address: SocketAddr) -> bool {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    // The server may close the connection before this is sent.
    let _ = socket.write_all(HEALTH.as_bytes());
    !matches!(socket.read(&mut [0; 1]), Ok(1))
}

#[test]
fn an_address_has_a_limited_number_of_connections() {
    let limits = "[limits]\nmax_connections_per_address = 3\n[metrics]\nlisten = \"127.0.0.1:0\"";
    let hearken = Hearken::builder().local().set(limits).start();
    let address = hearken.client().address;
    let mut taken: Vec<_> = (0..3).map(|_| accepted(address)).collect();
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
    until("a closed connection makes room", || (!is_refused(address)).then_some(()));
}

#[test]
fn a_subscriber_counts_as_a_connection_of_its_address() {
    let upstream = FakeUpstream::gemini().say("a").hold().say("b").start();
    let hearken = Hearken::before(&upstream).set("[limits]\nmax_connections_per_address = 2").start();
    let id = hearken.submit(json!({"stream": true}));
    // The connection of the submit may still be closing.
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

/// Returns requests with bodies that their endpoints do not read.
fn with_bodies(client: &Client, body: &str, framing: (&str, &str)) -> Vec<String> {
    let unknown = client.without_key();
    [
        client.head("GET", "/healthz", &[framing]),
        client.head("GET", "/v1/models", &[framing]),
        client.head("POST", "/v1/tasks/task-llm-1-aaaaaaaa/cancel", &[framing]),
        client.head("DELETE", "/nothing", &[framing]),
        unknown.head("POST", "/v1/llm/generations", &[framing]),
        unknown.head("GET", "/v1/models", &[framing]),
    ]
    .map(|head| head + body)
    .to_vec()
}

#[test]
fn a_connection_stays_open_after_a_small_unread_body() {
    let hearken = Hearken::builder().local().start();
    let client = hearken.client();
    let (small, chunked) = ("x".repeat(50_000), format!("c350\r\n{}\r\n0\r\n\r\n", "x".repeat(50_000)));
    let mut requests = with_bodies(&client, &small, ("content-length", "50000"));
    requests.extend(with_bodies(&client, &chunked, ("transfer-encoding", "chunked")));
    let submit =
        |headers: &[(&str, &str)], body: &str| client.head("POST", "/v1/llm/generations", headers) + body;
    let (sized, in_chunks) = (("content-length", "5"), ("transfer-encoding", "chunked"));
    let wav = ("content-type", "audio/wav");
    requests.push(submit(&[wav, sized], "audio"));
    requests.push(submit(&[wav, in_chunks], "5\r\naudio\r\n0\r\n\r\n"));
    requests.push(submit(&[("idempotency-key", ""), in_chunks], "5\r\naudio\r\n0\r\n\r\n"));
    let mut socket = client.send_raw(b"");
    for request in &requests {
        // The second request is read as it was sent, whatever came before it.
        socket.write_all((request.clone() + HEALTH).as_bytes()).unwrap();
        let first = reply(&mut socket);
        assert_eq!(first.header("connection"), None, "{request:.60} {first}");
        assert_eq!(reply(&mut socket).status, 200, "{request:.60}");
    }
}

#[test]
fn a_connection_closes_after_a_large_unread_body() {
    let hearken = Hearken::builder().local().start();
    let client = hearken.client();
    let (large, chunked) = ("x".repeat(70_000), format!("11170\r\n{}\r\n0\r\n\r\n", "x".repeat(70_000)));
    let mut requests = with_bodies(&client, &large, ("content-length", "70000"));
    requests.extend(with_bodies(&client, &chunked, ("transfer-encoding", "chunked")));
    for request in requests {
        let reply = client.raw((request.clone() + HEALTH).as_bytes());
        assert_eq!(reply.header("connection"), Some("close"), "{request:.60} {reply}");
        assert!(!reply.text().contains("HTTP/1.1"), "{reply}");
    }
}

#[test]
fn a_reply_waits_only_briefly_for_a_body_that_does_not_come() {
    let hearken = Hearken::builder().local().start();
    let client = hearken.client();
    let mut socket = client.send_raw(client.head("GET", "/healthz", &[("content-length", "5")]).as_bytes());
    let answer = reply(&mut socket);
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{answer}");
    let chunked = client.head("POST", "/v1/llm/generations", &[("transfer-encoding", "chunked")]);
    let mut socket = client.send_raw((chunked + "5\r\n").as_bytes());
    let refusal = reply(&mut socket);
    assert_eq!((refusal.status, refusal.header("connection")), (415, Some("close")), "{refusal}");
}

/// Requests other protocols on one connection, as curl (`--http2`), Java's client and browsers do.
fn request_other_protocols(stream: &mut (impl Read + Write), client: &Client) {
    for (connection, protocol) in
        [("Upgrade, HTTP2-Settings", "h2c"), ("keep-alive, Upgrade", "websocket"), ("upgrade", "TLS/1.0")]
    {
        let upgrade =
            format!("Connection: {connection}\r\nUpgrade: {protocol}\r\nHTTP2-Settings: AAMAAABk\r\n");
        let submit = client.submit_bytes(json!({"sync": true}));
        let refused = client.head("DELETE", "/nothing", &[("content-length", "4")]) + "body";
        for (request, status) in [(submit, 200), (refused, 404), (HEALTH.to_owned(), 200)] {
            let request = request.replacen("host: ", &(upgrade.clone() + "host: "), 1);
            stream.write_all(request.as_bytes()).unwrap();
            let answer = reply(stream);
            assert_eq!((answer.status, answer.header("connection")), (status, None), "{protocol} {answer}");
        }
    }
}

#[test]
fn a_request_for_another_protocol_is_answered_and_the_connection_kept() {
    let upstream = FakeUpstream::gemini().say("word").start();
    let pair = Pair::new();
    let (plain, secure) = (Hearken::start(&upstream), Hearken::before(&upstream).tls(&pair).start());
    request_other_protocols(&mut plain.client().send_raw(b""), &plain.client());
    let client = secure.client();
    request_other_protocols(&mut secure::connect(client.address, &pair), &client);
}

#[test]
fn a_pipelined_head_request_does_not_change_the_reply_before_it() {
    let hearken = Hearken::builder().local().start();
    let client = hearken.client();
    let body = "{}";
    let chunked = format!("2;x=y\r\n{body}\r\n0\r\ntrailer: x\r\n\r\n");
    let headers = [("content-type", "application/json"), ("transfer-encoding", "chunked")];
    let submit = client.head("POST", "/v1/llm/generations", &headers) + &chunked;
    let mut socket = client.send_raw((submit + &HEALTH.replacen("GET", "HEAD", 1) + HEALTH).as_bytes());
    assert_eq!(reply(&mut socket).error(422, "invalid_param")["param"], "model");
    let mut head = [0; b"HTTP/1.1 200".len()];
    socket.read_exact(&mut head).unwrap();
    assert_eq!(head, *b"HTTP/1.1 200");
}

/// Connects, requests a large file, and reads as little of it as possible.
fn request_slowly(address: SocketAddr, request: &str) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&address.into()).unwrap();
    let mut socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    socket
}

#[test]
fn a_client_without_a_key_that_reads_nothing_is_dropped_soon() {
    // A limit that a reader on a busy machine can meet.
    const LIMIT: Duration = Duration::from_secs(2);
    let set = format!("[stream]\nkeyless_send_timeout_seconds = {}\n", LIMIT.as_secs());
    let hearken = Hearken::builder().local().set(&set).start();
    let client = hearken.client();
    let bundle = "/docs/swagger-ui-bundle.js";
    let unknown = client.without_key().head("GET", bundle, &[("connection", "close")]);
    let wrong = client.with_key("sk-wrong").head("GET", "/v1/models", &[]) + &unknown;
    let known = client.head("GET", "/v1/models", &[]) + &unknown;
    let silent: Vec<_> = [&unknown, &wrong, &known]
        .map(|request| request_slowly(client.address, request))
        .into_iter()
        .collect();
    let slow = std::thread::spawn({
        let (mut socket, whole) = (request_slowly(client.address, &unknown), client.get(bundle).body.len());
        move || {
            let (mut taken, mut piece, began) = (0, vec![0; 64 * 1024], Instant::now());
            loop {
                // The reads take longer than the limit in all, but no single pause is that long.
                if began.elapsed() < LIMIT * 3 / 2 {
                    std::thread::sleep(Duration::from_millis(30));
                }
                match socket.read(&mut piece).unwrap() {
                    0 => break assert!(taken > whole, "{taken} of {whole}"),
                    read => taken += read,
                }
            }
        }
    });
    slow.join().unwrap();
    until("only the client with a key is left", || (hearken.open_connections() == 1).then_some(()));
    drop(silent);
    until("all connections are closed", || (hearken.open_connections() == 0).then_some(()));
}

#[test]
fn an_unread_http_2_stream_without_a_key_is_reset_soon() {
    let pair = Pair::new();
    let set = "[stream]\nkeyless_send_timeout_seconds = 1\n";
    let hearken = Hearken::builder().local().tls(&pair).set(set).start();
    let mut client =
        Http2::granting(hearken.client().address, &pair, h2::client::Builder::new().initial_window_size(0));
    let asked = client.begin_as("sk-wrong", "GET", "/docs/swagger-ui-bundle.js", &[], true).unwrap();
    let answer = client.head(asked);
    assert_eq!(client.breaks_off(answer), h2::Reason::CANCEL);
}
