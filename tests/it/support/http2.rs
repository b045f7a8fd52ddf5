//! An HTTP/2 client with its own flow-control windows, which can also read nothing.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream};
use http::{Request, Response};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::certificate::Pair;
use super::hearken::KEY;
use super::{PATIENCE, body};

/// One connection. It makes progress only while one of its functions waits.
#[derive(Debug)]
pub(crate) struct Http2 {
    runtime: Runtime,
    requests: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

/// A request that was sent.
#[derive(Debug)]
pub(crate) struct Asked {
    response: ResponseFuture,
    /// The request's stream, used to reset it.
    stream: h2::SendStream<Bytes>,
}

/// The head of a reply, and the part of its body that was not read yet.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: Response<()>,
    body: RecvStream,
}

impl Asked {
    /// Sends more of the request's body, as soon as there is room for it.
    pub(crate) fn send(&mut self, bytes: impl Into<Bytes>, ends: bool) {
        self.stream.send_data(bytes.into(), ends).unwrap();
    }
}

impl Http2 {
    /// Connects with the default windows of HTTP/2.
    pub(crate) fn connect(address: SocketAddr, trusted: &Pair) -> Self {
        Self::granting(address, trusted, &Builder::new())
    }

    /// Connects with these windows.
    pub(crate) fn granting(address: SocketAddr, trusted: &Pair, windows: &Builder) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut roots = RootCertStore::empty();
        roots.add(trusted.der.clone()).unwrap();
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let (requests, connection) = runtime.block_on(async {
            let stream = TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
            let (requests, connection) = windows.handshake::<_, Bytes>(stream).await.unwrap();
            (requests, tokio::spawn(connection))
        });
        Self { runtime, requests, connection }
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        let all = async { tokio::time::timeout(PATIENCE, future).await.expect("nothing arrives") };
        self.runtime.block_on(all)
    }

    /// Sends a request, without waiting for its reply.
    pub(crate) fn ask(&mut self, method: &str, path: &str, json: Option<&Value>) -> Asked {
        self.try_ask(method, path, json).expect("the connection is open")
    }

    /// Sends a request, if the connection is still open.
    pub(crate) fn try_ask(&mut self, method: &str, path: &str, json: Option<&Value>) -> Option<Asked> {
        let Some(json) = json else { return self.begin(method, path, &[], true) };
        let mut asked = self.begin(method, path, &[("content-type", "application/json")], false)?;
        asked.send(json.to_string(), true);
        Some(asked)
    }

    /// Sends the head of a request, which may also end it.
    pub(crate) fn begin(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        ends: bool,
    ) -> Option<Asked> {
        self.begin_as(KEY, method, path, headers, ends)
    }

    /// Sends the head of a request as [`Http2::begin`] does, with another key.
    pub(crate) fn begin_as(
        &mut self,
        key: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        ends: bool,
    ) -> Option<Asked> {
        let mut request = Request::builder().method(method).uri(format!("https://localhost{path}"));
        request = request.header("authorization", format!("Bearer {key}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (response, stream) = self.requests.send_request(request.body(()).unwrap(), ends).ok()?;
        Some(Asked { response, stream })
    }

    /// Sends what is waiting to be sent, and waits for nothing.
    pub(crate) fn flush(&self) {
        self.runtime.block_on(async {
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
        });
    }

    /// Waits for the program's first response: true if that is `100 Continue`, and false if it is the reply.
    pub(crate) fn is_told_to_continue(&self, asked: &mut Asked) -> bool {
        let interim = self.wait(std::future::poll_fn(|cx| asked.response.poll_informational(cx)));
        interim.is_some_and(|head| head.unwrap().status() == 100)
    }

    /// Waits for the head of a reply.
    pub(crate) fn head(&self, asked: Asked) -> Answer {
        let (head, body) = self.wait(asked.response).unwrap().into_parts();
        Answer { head: Response::from_parts(head, ()), body }
    }

    /// Abandons a request.
    pub(crate) fn give_up(&mut self, mut asked: Asked) {
        asked.stream.send_reset(Reason::CANCEL);
    }

    /// Abandons a request, and waits until the program has received the reset.
    pub(crate) fn reset(&mut self, asked: Asked) {
        self.give_up(asked);
        self.ping();
    }

    /// Abandons the rest of a reply, and waits until the program has received the reset.
    pub(crate) fn leave(&mut self, answer: Answer) {
        drop(answer);
        self.ping();
    }

    /// Waits for a reply to another request: everything that was sent before it has arrived then.
    pub(crate) fn ping(&mut self) {
        assert_eq!(self.get("/healthz").0, 200);
    }

    /// Returns the next piece of a body and makes room for more. Returns `None` at the end of the body, possibly twice
    /// if the program does not want the rest of the request.
    pub(crate) fn piece(&self, answer: &mut Answer) -> Option<Result<Bytes, h2::Error>> {
        let piece = self.wait(answer.body.data())?;
        if matches!(&piece, Err(err) if err.reason() == Some(Reason::NO_ERROR)) {
            return None;
        }
        if let Ok(piece) = &piece {
            let _ = answer.body.flow_control().release_capacity(piece.len());
        }
        Some(piece)
    }

    /// Reads a body until it contains these words. Panics at its end.
    pub(crate) fn read_to(&self, answer: &mut Answer, words: &str) -> String {
        let mut text = String::new();
        while !text.contains(words) {
            let piece =
                self.piece(answer).unwrap_or_else(|| panic!("ends without {words:?}: {text}")).unwrap();
            text += std::str::from_utf8(&piece).unwrap();
        }
        text
    }

    /// Reads the rest of a body up to its proper end.
    pub(crate) fn rest(&self, mut answer: Answer) -> String {
        let mut bytes = Vec::new();
        while let Some(piece) = self.piece(&mut answer) {
            bytes.extend_from_slice(&piece.unwrap());
        }
        String::from_utf8(bytes).unwrap()
    }

    /// Returns how a body breaks off.
    pub(crate) fn breaks_off(&self, mut answer: Answer) -> Reason {
        loop {
            match self.piece(&mut answer).expect("a proper end") {
                Ok(_) => {}
                Err(err) => return err.reason().unwrap_or_else(|| panic!("{err}")),
            }
        }
    }

    /// Sends a request without a body and reads the reply.
    pub(crate) fn get(&mut self, path: &str) -> (u16, String) {
        let asked = self.ask("GET", path, None);
        let answer = self.head(asked);
        (answer.head.status().as_u16(), self.rest(answer))
    }

    /// Submits the smallest audio with these changes, which must be accepted; returns the task's id.
    pub(crate) fn submit(&mut self, changes: Value) -> String {
        let asked = self.ask("POST", "/v1/llm/generations", Some(&body(changes)));
        let answer = self.head(asked);
        assert_eq!(answer.head.status(), 200);
        let task: Value = serde_json::from_str(&self.rest(answer)).unwrap();
        task["id"].as_str().unwrap().to_owned()
    }

    /// Subscribes to a task.
    pub(crate) fn stream(&mut self, id: &str, query: &str) -> Answer {
        let asked = self.ask("GET", &format!("/v1/llm/generations/{id}/stream{query}"), None);
        let answer = self.head(asked);
        assert_eq!(answer.head.status(), 200);
        answer
    }

    /// Returns true if the program wants no further request on this connection.
    pub(crate) fn is_told_to_leave(&mut self) -> bool {
        // What the program sends after its last reply arrives before the reply to a later request.
        if let Some(asked) = self.try_ask("GET", "/healthz", None) {
            let _ = self.wait(asked.response);
        }
        self.try_ask("GET", "/healthz", None).is_none()
    }

    /// Waits until the connection has ended. What this side had not sent yet does not matter.
    pub(crate) fn closed(self) {
        let Self { runtime, connection, .. } = self;
        let ended = async { tokio::time::timeout(PATIENCE, connection).await };
        let _ = runtime.block_on(ended).expect("the connection stays open").unwrap();
    }
}
