//! Tests how requests on one connection are answered, whatever order their bytes arrive in.

use std::cell::Cell;
use std::time::Duration;

use actix_http::body::BoxBody;
use actix_http::{Request, Response};
use actix_service::{Service, fn_service};
use futures_util::StreamExt;
use futures_util::task::AtomicWaker;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::Notify;
use tokio::task::{LocalSet, yield_now};
use tokio::time::Instant;

use super::super::draining::Draining;
use super::super::entrance::{Entrance, IDLE_CONNECTION, REQUEST_TIMEOUT};
use super::super::open_files::OpenFiles;
use super::*;
use crate::fanout::{Socket, StreamConfig};
use crate::metrics::Metrics;

impl Connection for DuplexStream {
    fn socket(&self) -> Option<&Socket> {
        None
    }
}

/// A request without a body.
const QUICK: &str = "GET /quick HTTP/1.1\r\nhost: x\r\n\r\n";
/// A request that is answered when the gate is opened.
const SLOW: &str = "GET /slow HTTP/1.1\r\nhost: x\r\n\r\n";

/// The client's side of a connection.
struct Client {
    stream: DuplexStream,
    gate: Rc<Notify>,
    polls: Rc<Cell<usize>>,
    /// Wakes the server's side.
    wake: Rc<AtomicWaker>,
}

impl Client {
    async fn send(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).await.unwrap();
        self.settle().await;
    }

    /// Runs the server until it has nothing to do.
    async fn settle(&self) {
        for _ in 0..200 {
            yield_now().await;
        }
    }

    /// Reads up to the end of these words, and returns the text.
    async fn read_to(&mut self, words: &str) -> String {
        let mut read = Vec::new();
        while !read.ends_with(words.as_bytes()) {
            let byte = tokio::time::timeout(Duration::from_secs(600), self.stream.read_u8()).await;
            let said = String::from_utf8_lossy(&read);
            read.push(byte.unwrap_or_else(|_| panic!("no {words:?}: {said}")).unwrap());
        }
        String::from_utf8(read).unwrap()
    }

    /// Returns how many seconds the server still keeps the connection if the client sends these bytes each second.
    async fn kept(&mut self, bytes: &str) -> u64 {
        let started = Instant::now();
        loop {
            let mut said = [0; 1024];
            match tokio::time::timeout(Duration::from_secs(1), self.stream.read(&mut said)).await {
                Ok(Ok(0) | Err(_)) => return started.elapsed().as_secs(),
                Ok(Ok(_)) => {}
                Err(_) => drop(self.stream.write_all(bytes.as_bytes()).await),
            }
            assert!(started.elapsed() < Duration::from_secs(600), "the connection stays open");
        }
    }
}

async fn answer(request: Request, gate: Rc<Notify>) -> Result<Response<BoxBody>, Response<BoxBody>> {
    let mut request = request;
    match request.path() {
        "/slow" => gate.notified().await,
        "/body" => {
            let mut payload = request.take_payload();
            while let Some(Ok(_)) = payload.next().await {}
        }
        "/body-slow" => {
            let mut payload = request.take_payload();
            while let Some(Ok(_)) = payload.next().await {}
            gate.notified().await;
        }
        "/empty" => return Ok(Response::ok().set_body(BoxBody::new(()))),
        "/large" => return Ok(Response::ok().set_body(BoxBody::new("x".repeat(1_000_000)))),
        "/refused" => return Err(Response::bad_request().set_body(BoxBody::new("no"))),
        _ => {}
    }
    Ok(Response::ok().set_body(BoxBody::new("yes")))
}

/// Serves one connection to this client.
async fn serve<F: Future<Output = ()>>(client: impl FnOnce(Client) -> F) {
    serve_over(1 << 20, client).await;
}

/// Serves one connection to this client. Each direction of the connection holds `capacity` bytes.
async fn serve_over<F: Future<Output = ()>>(capacity: usize, client: impl FnOnce(Client) -> F) {
    let all = async {
        let gate = Rc::<Notify>::default();
        let shared = Rc::clone(&gate);
        let app = Rc::new(fn_service(move |request| answer(request, Rc::clone(&shared))));
        let stream = StreamConfig {
            keep_alive: Duration::from_secs(15),
            hand_over: false,
            send_timeout: Duration::from_secs(900),
            keyless_send_timeout: Duration::from_secs(900),
        };
        let entrance = Entrance {
            address: "127.0.0.1:1".parse().unwrap(),
            open_files: OpenFiles::new(1000, None, Metrics::new(std::iter::empty()).unwrap().http),
            draining: Draining::default(),
            stream,
            keep_alive: Some(IDLE_CONNECTION),
        };
        let http1 = entrance.http1(app).await.unwrap();
        let (near, far) = duplex(capacity);
        let polls = Rc::<Cell<usize>>::default();
        let counted = Rc::clone(&polls);
        let wake = Rc::<AtomicWaker>::default();
        let known = Rc::clone(&wake);
        let mut connection = Box::pin(http1.call((Intake::new(far, IDLE_CONNECTION), None)));
        let serving = tokio::task::spawn_local(std::future::poll_fn(move |cx| {
            counted.set(counted.get() + 1);
            known.register(cx.waker());
            connection.as_mut().poll(cx).map(drop)
        }));
        client(Client { stream: near, gate, polls, wake }).await;
        serving.abort();
    };
    LocalSet::new().run_until(all).await;
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_pipelined_during_an_answer_are_all_answered() {
    serve(async |mut client| {
        // More than 16 wait when the last ones come.
        let large = format!("GET /quick HTTP/1.1\r\nhost: x\r\nx-filling: {}\r\n\r\n", "x".repeat(3000));
        client.send(SLOW).await;
        for _ in 0..25 {
            client.send(&large).await;
        }
        client.gate.notify_one();
        for _ in 0..26 {
            client.read_to("\r\n\r\nyes").await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_dispatcher_sleeps_during_an_answer_whatever_is_pipelined() {
    serve(async |mut client| {
        client.send(SLOW).await;
        client.send(&QUICK.repeat(20)).await;
        client.send(&"x".repeat(300_000)).await;
        let before = client.polls.get();
        client.settle().await;
        assert_eq!(client.polls.get(), before);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_has_the_form_that_its_own_request_asks_for() {
    serve(async |mut client| {
        client
            .send(&(SLOW.to_owned() + &QUICK.replace("GET", "HEAD") + &QUICK.replace("/1.1", "/1.0")))
            .await;
        client.gate.notify_one();
        let slow = client.read_to("\r\n\r\nyes").await;
        assert!(slow.starts_with("HTTP/1.1 200 ") && !slow.contains("connection: close"), "{slow}");
        let head = client.read_to("\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("content-length: 3\r\n"), "{head}");
        assert!(client.read_to("\r\n\r\nyes").await.starts_with("HTTP/1.0 200 "));
    })
    .await;
}

/// Sends these bytes again and again until the server reads no more. Returns how many bytes the server and the
/// connection have accepted.
async fn taken(client: &mut Client, bytes: &str) -> usize {
    let mut taken = 0;
    while let Ok(sent) =
        tokio::time::timeout(Duration::from_millis(100), client.stream.write(bytes.as_bytes())).await
    {
        taken += sent.unwrap();
        assert!(taken < 4 << 20, "the server reads without a limit");
    }
    taken
}

#[tokio::test(start_paused = true)]
async fn few_requests_are_taken_while_an_earlier_one_is_answered() {
    serve_over(1024, async |mut client| {
        client.send(SLOW).await;
        assert!(taken(&mut client, &QUICK.repeat(20)).await < 20_000);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn few_requests_are_taken_while_the_client_reads_no_answers() {
    for path in ["/quick", "/empty"] {
        serve_over(1024, async |mut client| {
            assert!(taken(&mut client, &QUICK.replace("/quick", path).repeat(20)).await < 20_000, "{path}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_a_long_answer_slowly_keeps_its_connection() {
    serve_over(1024, async |mut client| {
        client.stream.write_all(QUICK.replace("/quick", "/large").as_bytes()).await.unwrap();
        client.read_to("\r\n\r\n").await;
        let mut piece = vec![0; 1000];
        for _ in 0..1000 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            client.stream.read_exact(&mut piece).await.unwrap();
        }
        tokio::time::sleep(IDLE_CONNECTION - Duration::from_secs(5)).await;
        client.send(QUICK).await;
        client.read_to("\r\n\r\nyes").await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_disconnect_during_an_answer_is_noticed() {
    serve(async |mut client| {
        client.send(SLOW).await;
        client.send(&QUICK.repeat(20)).await;
        let Client { stream, gate, .. } = client;
        drop(stream);
        // A timer causes the first check of the client.
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert_eq!(Rc::strong_count(&gate), 2, "the handler still holds the gate");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_disconnect_after_many_bytes_is_noticed_soon() {
    for before in ["", QUICK] {
        serve(async |mut client| {
            client.send(before).await;
            client.send(SLOW).await;
            client.send(&QUICK.repeat(1000)).await;
            let Client { stream, gate, .. } = client;
            drop(stream);
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert_eq!(Rc::strong_count(&gate), 2, "the handler still holds the gate");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_pipelines_much_gets_each_answer_once() {
    serve(async |mut client| {
        client.send(&(SLOW.to_owned() + &QUICK.repeat(1000) + SLOW + &QUICK.repeat(1000))).await;
        for _ in 0..2 {
            // In this time the first bytes of the answer are written ahead.
            tokio::time::sleep(Duration::from_secs(60)).await;
            client.gate.notify_one();
            for _ in 0..1001 {
                let answer = client.read_to("\r\n\r\nyes").await;
                assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            }
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_ahead_while_a_body_is_arriving() {
    serve(async |mut client| {
        client.send("POST /slow HTTP/1.1\r\nhost: x\r\ncontent-length: 60000\r\n\r\n").await;
        client.send(&"x".repeat(50_000)).await;
        let silence = tokio::time::timeout(Duration::from_secs(60), client.stream.read_u8()).await;
        assert!(silence.is_err(), "{silence:?}");
        client.gate.notify_one();
        client.send(&"x".repeat(10_000)).await;
        assert!(client.read_to("yes").await.starts_with("HTTP/1.1 200 OK\r\n"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_request_for_another_protocol_is_answered_and_the_connection_kept() {
    serve(async |mut client| {
        for protocol in ["h2c", "websocket", "TLS/1.0"] {
            let asking = format!("host: x\r\nconnection: Upgrade\r\nupgrade: {protocol}\r\n");
            let get = QUICK.replace("host: x\r\n", &asking);
            let post = format!("POST /body HTTP/1.1\r\n{asking}content-length: 4\r\n\r\nbody");
            for request in [&get, &post] {
                // The second one arrives byte by byte.
                client.send(request).await;
                for byte in request.chars() {
                    client.send(&byte.to_string()).await;
                }
                for _ in 0..2 {
                    let answer = client.read_to("\r\n\r\nyes").await;
                    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
                    assert!(answer.contains("content-length: 3\r\n"), "{answer}");
                    assert!(!answer.contains("connection: "), "{answer}");
                }
            }
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_ends_its_side_gets_all_its_answers() {
    serve(async |mut client| {
        client.send(&format!("{SLOW}{QUICK}{SLOW}")).await;
        client.stream.shutdown().await.unwrap();
        for _ in 0..2 {
            // The beginning of the answer is written ahead of it, a byte at each check.
            tokio::time::sleep(Duration::from_secs(60)).await;
            client.gate.notify_one();
        }
        let mut said = String::new();
        client.stream.read_to_string(&mut said).await.unwrap();
        assert_eq!(said.matches("HTTP/1.1 200 OK\r\n").count(), 3, "{said}");
        assert_eq!(said.matches("HTTP").count(), 3, "{said}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_continues_and_ends_its_side_gets_its_answer() {
    serve(async |mut client| {
        client
            .send("POST /body-slow HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n")
            .await;
        client.read_to("100 Continue\r\n\r\n").await;
        client.send("x").await;
        client.stream.shutdown().await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
        client.gate.notify_one();
        let mut said = String::new();
        client.stream.read_to_string(&mut said).await.unwrap();
        assert!(said.starts_with("HTTP/1.1 200 OK\r\n"), "{said}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_late_first_head_gets_an_error_answer() {
    for (begin, piece) in [("", ""), ("GET /quick HTTP/1.1\r\nhost: ", "x")] {
        serve(async |mut client| {
            let started = Instant::now();
            client.send(begin).await;
            let writing = async {
                for _ in 1..REQUEST_TIMEOUT.as_secs() {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    client.stream.write_all(piece.as_bytes()).await.unwrap();
                }
            };
            writing.await;
            let answer = client.read_to("\r\n\r\n").await;
            assert!(
                answer.starts_with("HTTP/1.1 408 ") && answer.contains("connection: close\r\n"),
                "{answer}"
            );
            assert_eq!(started.elapsed().as_secs(), REQUEST_TIMEOUT.as_secs());
            assert_eq!(client.kept("").await, 0);
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn heads_and_idle_connections_do_not_age_while_the_process_is_frozen() {
    for before in ["", QUICK] {
        serve(async |mut client| {
            if !before.is_empty() {
                client.send(before).await;
                client.read_to("\r\n\r\nyes").await;
                tokio::time::advance(IDLE_CONNECTION * 2).await;
                client.settle().await;
            }
            let (first, rest) = QUICK.split_at(20);
            client.send(first).await;
            tokio::time::advance(REQUEST_TIMEOUT * 100).await;
            // The timers fire before the rest has arrived.
            client.settle().await;
            tokio::time::sleep(REQUEST_TIMEOUT / 2).await;
            client.send(rest).await;
            client.read_to("\r\n\r\nyes").await;
            assert_eq!(client.kept("").await, IDLE_CONNECTION.as_secs());
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_timeout_of_a_second_head_starts_at_its_first_byte() {
    serve(async |mut client| {
        client.send(QUICK).await;
        client.read_to("\r\n\r\nyes").await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        // This head is slow, but in time.
        let (first, rest) = QUICK.split_at(20);
        client.send(first).await;
        tokio::time::sleep(REQUEST_TIMEOUT - Duration::from_secs(1)).await;
        client.send(rest).await;
        client.read_to("\r\n\r\nyes").await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        client.send("GET /quick HTTP/1.1\r\nhost: x\r\nx-dribbling: ").await;
        assert_eq!(client.kept("x").await, REQUEST_TIMEOUT.as_secs());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_timeout_of_a_pipelined_head_starts_after_the_answer() {
    serve(async |mut client| {
        client.send(SLOW).await;
        client.send("GET /quick HTTP/1.1\r\nhost: ").await;
        tokio::time::sleep(REQUEST_TIMEOUT * 3).await;
        client.gate.notify_one();
        client.read_to("\r\n\r\nyes").await;
        assert_eq!(client.kept("x").await, REQUEST_TIMEOUT.as_secs());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_no_handler_reads_times_out_however_it_is_framed() {
    for (framing, piece) in [("transfer-encoding: chunked", "1\r\nx\r\n"), ("content-length: 1000", "x")] {
        for path in ["/quick", "/refused"] {
            serve(async |mut client| {
                client.send(&format!("POST {path} HTTP/1.1\r\nhost: x\r\n{framing}\r\n\r\n")).await;
                let kept = client.kept(piece).await;
                assert!(kept <= REQUEST_TIMEOUT.as_secs() + 1, "{path} {framing}: {kept} s");
            })
            .await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_kept_until_its_timeout() {
    serve(async |mut client| {
        for head in [QUICK, "POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n"] {
            client.send(head).await;
            client.send(if head == QUICK { "" } else { "body" }).await;
            client.read_to("\r\n\r\nyes").await;
            tokio::time::sleep(IDLE_CONNECTION - Duration::from_secs(5)).await;
        }
        assert_eq!(client.kept("").await, 5);
    })
    .await;
    serve(async |mut client| {
        client.send(SLOW).await;
        tokio::time::sleep(IDLE_CONNECTION * 2).await;
        client.gate.notify_one();
        client.read_to("\r\n\r\nyes").await;
        // A wake-up of the dispatcher, as by half a TLS record, does not restart the timeout.
        tokio::time::sleep(IDLE_CONNECTION / 2).await;
        client.wake.wake();
        assert_eq!(client.kept("").await, IDLE_CONNECTION.as_secs() / 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_is_asked_to_continue_when_a_handler_reads_the_body() {
    let head = |path| {
        format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n")
    };
    serve(async |mut client| {
        client.send(&head("/body")).await;
        assert_eq!(client.read_to("\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
        client.send("body").await;
        assert!(client.read_to("yes").await.starts_with("HTTP/1.1 200 "));
        // A client that does not wait for `100 Continue` does not need it.
        client.send(&(head("/body") + "body")).await;
        assert!(client.read_to("yes").await.contains("HTTP/1.1 200 "));
        // After another request it is sent when that request is answered.
        client.send(SLOW).await;
        client.send(&head("/body")).await;
        client.gate.notify_one();
        assert!(client.read_to("yes").await.starts_with("HTTP/1.1 200 "));
        assert_eq!(client.read_to("\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
        client.send("body").await;
        client.read_to("yes").await;
        client.send(&head("/refused")).await;
        assert!(client.read_to("no").await.starts_with("HTTP/1.1 400 "));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_body_arrives_whole_whatever_comes_with_it() {
    serve(async |mut client| {
        let body = "x".repeat(300_000);
        let post = format!("POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 300000\r\n\r\n{body}");
        let head = "POST /body HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
        let chunked = format!("{head}493e0\r\n{body}\r\n0\r\n\r\n");
        client.send(&(post.clone() + &chunked + &post + &chunked + QUICK)).await;
        for _ in 0..5 {
            client.read_to("\r\n\r\nyes").await;
        }
        assert!(client.polls.get() < 200, "{} polls", client.polls.get());
    })
    .await;
}
