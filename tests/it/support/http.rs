//! A client of the program: a reply is kept whole, and none may ever hold what only the operator knows.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;

use serde_json::Value;

use super::subscriber::Subscriber;
use super::{PATIENCE, body};
use crate::kit::Outcome;
use crate::kit::client::Connection;
use crate::kit::head::ReplyHead;

/// A whole reply.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// Reads a reply from its bytes on the wire; the body is what follows the head, undecoded.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let head = ReplyHead::parse(bytes).unwrap();
        let (head, length) =
            head.unwrap_or_else(|| panic!("no whole head: {:?}", String::from_utf8_lossy(bytes)));
        Self { status: head.status, headers: head.headers.to_pairs(), body: bytes[length..].to_vec() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|err| panic!("{err}: {self}"))
    }

    /// The reply, which must have this status.
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self}");
        self
    }

    /// The `error` object of a reply that must have this status, this code and the type that goes with it.
    /// Checks what all errors have in common.
    pub(crate) fn error(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{self}");
        assert_eq!(self.header("content-type"), Some("application/json"), "{self}");
        assert!(self.header("x-request-id").is_some(), "{self}");
        let body = self.json();
        assert_eq!(body.as_object().unwrap().len(), 1, "{self}");
        let error = &body["error"];
        let known: hearken::error::ErrorCode = serde_json::from_value(error["code"].clone()).unwrap();
        assert_eq!(error["code"], code, "{self}");
        assert_eq!(known.status(), status, "{self}");
        assert_eq!(error["type"], known.kind(), "{self}");
        assert!(error["message"].as_str().is_some_and(|text| text.len() > 10), "{self}");
        assert!(error.as_object().unwrap().contains_key("param"), "{self}");
        // Whether a repeat has a chance is told of tasks that failed, not of requests that were refused.
        assert_eq!(error["retryable"].is_boolean(), self.header("x-task-id").is_some(), "{self}");
        error.clone()
    }
}

impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?} {}", self.status, self.headers, String::from_utf8_lossy(&self.body))
    }
}

/// Somebody who calls the program, with a key or without.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) key: Option<String>,
    /// What no reply may hold.
    pub(crate) secrets: Arc<Vec<String>>,
}

impl Client {
    /// The same client with another key.
    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self.clone() }
    }

    /// The same client without a key.
    pub(crate) fn without_key(&self) -> Self {
        Self { key: None, ..self.clone() }
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.call("GET", path, &[], None)
    }

    pub(crate) fn post(&self, path: &str, json: &Value) -> Reply {
        self.call("POST", path, &[("content-type", "application/json")], Some(json.to_string().as_bytes()))
    }

    /// Submits the smallest audio with these changes.
    pub(crate) fn try_submit(&self, changes: Value) -> Reply {
        self.post("/v1/llm/generations", &body(changes))
    }

    /// Submits the smallest audio with these changes, which must be accepted; returns the task's id.
    pub(crate) fn submit(&self, changes: Value) -> String {
        self.try_submit(changes).expect(200).json()["id"].as_str().unwrap().to_owned()
    }

    /// Submits the smallest audio with these changes and this `Idempotency-Key`.
    pub(crate) fn submit_under(&self, key: &str, changes: Value) -> Reply {
        let headers = [("content-type", "application/json"), ("idempotency-key", key)];
        self.call("POST", "/v1/llm/generations", &headers, Some(body(changes).to_string().as_bytes()))
    }

    /// The task now.
    pub(crate) fn task(&self, id: &str) -> Value {
        self.get(&format!("/v1/tasks/{id}")).expect(200).json()
    }

    /// The task at its end.
    pub(crate) fn wait(&self, id: &str) -> Value {
        let task = self.get(&format!("/v1/tasks/{id}?wait={}", PATIENCE.as_secs())).expect(200).json();
        assert!(matches!(task["status"].as_str(), Some("completed" | "failed")), "never ended: {task}");
        task
    }

    pub(crate) fn cancel(&self, id: &str) -> Value {
        self.try_cancel(id).expect(200).json()
    }

    /// The reply to a cancel.
    pub(crate) fn try_cancel(&self, id: &str) -> Reply {
        self.call("POST", &format!("/v1/tasks/{id}/cancel"), &[], Some(b""))
    }

    /// The task's stream, which must be there.
    pub(crate) fn stream(&self, id: &str) -> Subscriber {
        self.stream_from(id, "", &[])
    }

    /// The task's stream with this query and these headers, which must be there.
    pub(crate) fn stream_from(&self, id: &str, query: &str, headers: &[(&str, &str)]) -> Subscriber {
        let path = format!("/v1/llm/generations/{id}/stream{query}");
        let subscriber = Subscriber::open(self.address, &self.head("GET", &path, headers));
        assert_eq!(subscriber.head.status, 200, "{}", subscriber.head);
        subscriber
    }

    /// A request's head with the key in it.
    pub(crate) fn head(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> String {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.address);
        if let Some(key) = &self.key {
            head += &format!("authorization: Bearer {key}\r\n");
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head + "\r\n"
    }

    /// A submit as bytes on the wire.
    pub(crate) fn submit_bytes(&self, changes: Value) -> String {
        let body = body(changes).to_string();
        let length = body.len().to_string();
        let headers = [("content-type", "application/json"), ("content-length", length.as_str())];
        self.head("POST", "/v1/llm/generations", &headers) + &body
    }

    /// Sends these bytes on a connection of their own; whoever holds it may leave.
    pub(crate) fn send_raw(&self, bytes: &[u8]) -> TcpStream {
        let mut socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(bytes).unwrap();
        socket
    }

    /// Sends these bytes and reads what comes back until the program closes.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Reply {
        let mut socket = self.send_raw(bytes);
        let mut reply = Vec::new();
        socket.read_to_end(&mut reply).unwrap();
        let _ = socket.shutdown(Shutdown::Both);
        self.check(Reply::parse(&reply))
    }

    pub(crate) fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Reply {
        let length = body.map(|body| body.len().to_string());
        let length = length.as_deref().map(|length| ("content-length", length));
        let headers: Vec<_> = headers.iter().copied().chain(length).collect();
        let head = self.head(method, path, &headers);
        let request = [head.as_bytes(), body.unwrap_or_default()].concat();
        let exchange = || {
            let mut connection = Connection::open(self.address)?;
            let reply = connection.upload(&request)?;
            let (status, headers) = (reply.status, reply.headers.to_pairs());
            Ok(Reply { status, headers, body: reply.body.to_vec() })
        };
        let reply: Outcome<Reply> = exchange();
        self.check(reply.unwrap_or_else(|err| panic!("{method} {path}: {err}")))
    }

    fn check(&self, reply: Reply) -> Reply {
        let shown = reply.to_string();
        for secret in self.secrets.iter() {
            assert!(!shown.contains(secret), "a reply tells {secret}: {shown}");
        }
        reply
    }
}
