//! Tests how an answer ends, whatever its body or its client does.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_http::body::BodySize;
use actix_service::fn_service;
use bytes::Bytes;
use h2::Reason;
use h2::client::{ResponseFuture, SendRequest};
use http::Request as Head;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::sync::Notify;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

use super::*;
use crate::api::CloseConnection;
use crate::fanout::StreamConfig;

/// What a body does after its first piece, `answer`.
#[derive(Debug, Clone, Copy)]
enum Then {
    Ends,
    BreaksOff,
    Waits,
}

struct Scripted {
    size: BodySize,
    first: Option<Bytes>,
    then: Then,
}

#[derive(Debug, thiserror::Error)]
#[error("broken off")]
struct Broken;

impl MessageBody for Scripted {
    type Error = Broken;

    fn size(&self) -> BodySize {
        self.size
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        match (self.first.take(), self.then) {
            (Some(first), _) => Poll::Ready(Some(Ok(first))),
            (None, Then::Ends) => Poll::Ready(None),
            (None, Then::BreaksOff) => Poll::Ready(Some(Err(Broken))),
            (None, Then::Waits) => Poll::Pending,
        }
    }
}

fn send_timeout() -> SendTimeout {
    let (keep_alive, send_timeout) = (Duration::from_secs(15), Duration::from_secs(30));
    let config =
        StreamConfig { keep_alive, hand_over: false, send_timeout, keyless_send_timeout: send_timeout };
    SendTimeout::new(&config)
}

/// Serves a connection to this client. Each answer has a body that does `then` after its first piece.
async fn serve<F: Future<Output = ()>>(
    size: BodySize,
    then: Then,
    client: impl FnOnce(SendRequest<Bytes>) -> F,
) {
    let (near, far) = duplex(1 << 20);
    let app = fn_service(move |_: Request| async move {
        let body = Scripted { size, first: Some(Bytes::from_static(b"answer")), then };
        Ok::<_, Response<BoxBody>>(Response::ok().set_body(body))
    });
    let http2 = Http2 { app: Rc::new(app), draining: Draining::default() };
    let both = async {
        let serving = tokio::task::spawn_local(async move { http2.serve(far, None, send_timeout()).await });
        let (requests, connection) = h2::client::handshake(near).await.unwrap();
        tokio::task::spawn_local(connection);
        client(requests).await;
        serving.abort();
    };
    LocalSet::new().run_until(both).await;
}

/// Sends a request whose body does not end.
fn ask(requests: &mut SendRequest<Bytes>) -> (ResponseFuture, h2::SendStream<Bytes>) {
    let head = Head::post("https://localhost/").body(()).unwrap();
    requests.send_request(head, false).unwrap()
}

/// Returns all received bytes of an answer's body, and the reason of a reset.
async fn received(answer: ResponseFuture) -> (Vec<u8>, Option<Reason>) {
    let (mut bytes, mut body) = (Vec::new(), answer.await.unwrap().into_body());
    loop {
        match body.data().await {
            Some(Ok(piece)) => bytes.extend_from_slice(&piece),
            Some(Err(err)) => return (bytes, err.reason()),
            None => return (bytes, None),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_ends_with_its_last_byte_before_its_request_does() {
    serve(BodySize::Sized(6), Then::Waits, |mut requests| async move {
        let (answer, mut upload) = ask(&mut requests);
        let (bytes, reset) = received(answer).await;
        // A client that reads late gets both the answer and the reset.
        assert!(bytes == b"answer" && reset.is_none_or(|reason| reason == Reason::NO_ERROR), "{reset:?}");
        let refused = std::future::poll_fn(|cx| upload.poll_reset(cx)).await;
        assert_eq!(refused.unwrap(), Reason::NO_ERROR);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_shorter_than_announced_is_reset() {
    serve(BodySize::Sized(7), Then::Ends, |mut requests| async move {
        let (answer, _upload) = ask(&mut requests);
        assert_eq!(received(answer).await, (b"answer".to_vec(), Some(Reason::INTERNAL_ERROR)));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn bytes_before_a_break_arrive_on_each_of_several_streams() {
    serve(BodySize::Stream, Then::BreaksOff, |mut requests| async move {
        let asked: Vec<_> = (0..3).map(|_| ask(&mut requests)).collect();
        for (answer, _upload) in asked {
            assert_eq!(received(answer).await, (b"answer".to_vec(), Some(Reason::INTERNAL_ERROR)));
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_ends_after_an_answer_that_closes_it() {
    let (near, far) = duplex(1 << 20);
    let app = fn_service(|_: Request| async {
        let mut refused = Response::bad_request();
        refused.extensions_mut().insert(CloseConnection);
        Ok::<_, Response<BoxBody>>(refused)
    });
    let http2 = Http2 { app: Rc::new(app), draining: Draining::default() };
    let both = async {
        let serving = tokio::task::spawn_local(async move { http2.serve(far, None, send_timeout()).await });
        let (mut requests, connection) = h2::client::handshake(near).await.unwrap();
        let connection = tokio::task::spawn_local(connection);
        let (answer, _upload) = ask(&mut requests);
        assert_eq!(answer.await.unwrap().status(), 400);
        let started = Instant::now();
        connection.await.unwrap().unwrap();
        assert!(started.elapsed() <= STOP_TIME, "the client is notified with the answer");
        // The server ends with the connection. The client may have closed it first, which is an error to the server.
        let _ = serving.await.unwrap();
    };
    LocalSet::new().run_until(both).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_resets_streams_before_they_are_accepted_is_cut_off() {
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let mut frame = vec![0, 0, u8::try_from(payload.len()).unwrap(), kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    };
    // The settings; then heads, `GET https://x/`, each followed by its reset.
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    sent.extend(frame(4, 0, 0, &[]));
    for stream in (1..200).step_by(2) {
        sent.extend(frame(1, 5, stream, &[0x82, 0x87, 0x84, 0x41, 1, b'x']));
        sent.extend(frame(3, 0, stream, &[0, 0, 0, 8]));
    }
    let (mut near, far) = duplex(1 << 20);
    near.write_all(&sent).await.unwrap();
    let app = fn_service(|_: Request| async { Ok::<_, Response<BoxBody>>(Response::ok()) });
    let http2 = Http2 { app: Rc::new(app), draining: Draining::default() };
    let ended = http2.serve(far, None, send_timeout()).await;
    assert_eq!(ended.unwrap_err().reason(), Some(Reason::ENHANCE_YOUR_CALM));
}

/// Encodes a frame ([RFC 9113](https://www.rfc-editor.org/rfc/rfc9113#section-4.1)).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Reads the next frame: its kind, its flags and its payload.
async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> (u8, u8, Vec<u8>) {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.unwrap();
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    stream.read_exact(&mut payload).await.unwrap();
    (head[3], head[4], payload)
}

#[tokio::test(start_paused = true)]
async fn a_client_gets_its_answers_after_it_has_sent_goaway() {
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const GOAWAY: u8 = 7;
    const END_STREAM: u8 = 1;
    const ACK: u8 = 1;
    let (mut near, far) = duplex(1 << 20);
    let go_on = Rc::new(Notify::new());
    let held = Rc::clone(&go_on);
    let app = fn_service(move |_: Request| {
        let held = Rc::clone(&held);
        async move {
            held.notified().await;
            Ok::<_, Response<BoxBody>>(Response::ok().set_body("answer"))
        }
    });
    let http2 = Http2 { app: Rc::new(app), draining: Draining::default() };
    let client = async {
        // GET https://localhost/ in HPACK: three of the static table, and the host.
        let head = [&[0x82, 0x87, 0x84, 0x41, 9], b"localhost".as_slice()].concat();
        near.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        near.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        near.write_all(&frame(HEADERS, END_STREAM | 4, 1, &head)).await.unwrap();
        // GOAWAY: the server has opened no stream, and there is no error.
        near.write_all(&frame(GOAWAY, 0, 0, &[0; 8])).await.unwrap();
        near.write_all(&frame(PING, 0, 0, &[7; 8])).await.unwrap();
        let mut body = Vec::new();
        loop {
            match read_frame(&mut near).await {
                // The server has read everything before the PING.
                (PING, ACK, _) => go_on.notify_one(),
                (DATA, flags, piece) => {
                    body.extend(piece);
                    if flags & END_STREAM != 0 {
                        break;
                    }
                }
                (kind, _, _) => assert!(kind != 3, "the stream was reset"),
            }
        }
        assert_eq!(body, b"answer");
        near
    };
    let (served, _near) = futures_util::join!(http2.serve(far, None, send_timeout()), client);
    served.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_does_not_age_while_the_process_is_frozen() {
    let (near, far) = duplex(1 << 20);
    let app =
        fn_service(|_: Request| async { Ok::<_, Response<BoxBody>>(Response::ok().set_body("answer")) });
    let http2 = Http2 { app: Rc::new(app), draining: Draining::default() };
    let both = async {
        tokio::task::spawn_local(async move { http2.serve(far, None, send_timeout()).await });
        let (mut requests, connection) = h2::client::handshake(near).await.unwrap();
        tokio::task::spawn_local(connection);
        for freeze in [IDLE_CONNECTION * 10, IDLE_CONNECTION] {
            sleep(IDLE_CONNECTION / 2).await;
            tokio::time::advance(freeze).await;
            sleep(STOP_TIME * 2).await;
            let (answer, _upload) = ask(&mut requests);
            assert_eq!(answer.await.unwrap().status(), 200);
        }
    };
    LocalSet::new().run_until(both).await;
}

#[tokio::test(start_paused = true)]
async fn bytes_without_a_whole_request_do_not_keep_a_connection_open() {
    let preface = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, &[])].concat();
    // A head that does not end, the same in a CONTINUATION, and PINGs.
    let head = frame(1, 0, 1, &[0x82]);
    let half = [&[0, 0xff, 0xff, 9, 0, 0, 0, 0, 1][..]].concat();
    for (begin, piece) in [
        (vec![], vec![]),
        (vec![0, 0x3f, 0xff, 1, 4, 0, 0, 0, 1], vec![0x82]),
        ([head.clone(), half].concat(), vec![0]),
        (head, frame(9, 0, 1, &[0x40, 1, b'x', 1, b'y'])),
        (vec![], frame(6, 0, 0, &[0; 8])),
    ] {
        let (mut near, far) = duplex(1 << 20);
        let app =
            fn_service(|_: Request| async { Ok::<_, Response<BoxBody>>(Response::ok().set_body("answer")) });
        let http2 = Http2 { app: Rc::new(app), draining: Draining::default() };
        let both = async {
            let started = Instant::now();
            let serving =
                tokio::task::spawn_local(async move { http2.serve(far, None, send_timeout()).await });
            near.write_all(&[preface.clone(), begin.clone()].concat()).await.unwrap();
            while !serving.is_finished() {
                sleep(Duration::from_secs(1)).await;
                // This fails once the server has ended the connection.
                let _ = near.write_all(&piece).await;
                assert!(started.elapsed() <= IDLE_CONNECTION + STOP_TIME * 2, "{begin:?} {piece:?}");
            }
        };
        LocalSet::new().run_until(both).await;
    }
}
