//! A client of the program. It keeps whole replies, and fails when one contains what only the operator may know.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;

use serde_json::Value;

use super::subscriber::Subscriber;
use super::{PATIENCE, body};
use crate::kit::Outcome;
use crate::kit::client::{Connection, ReplyRef, connect};
pub(crate) use crate::kit::reply::Reply;
use crate::kit::request::Request;

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|err| panic!("{err}: {self}"))
    }

    /// Returns the reply, which must have this status.
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self}");
        self
    }

    /// Returns the `error` object of a reply, which must have this status, this code and the type of this code. Checks
    /// what all errors have in common.
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
        // Only errors of failed tasks say whether a retry may succeed, not those of refused requests.
        assert_eq!(error["retryable"].is_boolean(), self.header("x-task-id").is_some(), "{self}");
        error.clone()
    }
}

/// A client of the program, with or without a key.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) key: Option<String>,
    /// The texts that no reply may contain.
    pub(crate) secrets: Arc<Vec<String>>,
}

impl Client {
    /// Returns the same client with another key.
    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self.clone() }
    }

    /// Returns the same client without a key.
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

    /// Returns the task as it is now.
    pub(crate) fn task(&self, id: &str) -> Value {
        self.get(&format!("/v1/tasks/{id}")).expect(200).json()
    }

    /// Returns the task once it has ended.
    pub(crate) fn wait(&self, id: &str) -> Value {
        let task = self.get(&format!("/v1/tasks/{id}?wait={}", PATIENCE.as_secs())).expect(200).json();
        assert!(
            matches!(task["status"].as_str(), Some("completed" | "failed")),
            "the task never ended: {task}"
        );
        task
    }

    pub(crate) fn cancel(&self, id: &str) -> Value {
        self.try_cancel(id).expect(200).json()
    }

    /// Returns the reply to a cancel.
    pub(crate) fn try_cancel(&self, id: &str) -> Reply {
        self.call("POST", &format!("/v1/tasks/{id}/cancel"), &[], Some(b""))
    }

    /// Opens the task's stream, which must exist.
    pub(crate) fn stream(&self, id: &str) -> Subscriber {
        self.stream_from(id, "", &[])
    }

    /// Opens the task's stream with this query and these headers. The stream must exist.
    pub(crate) fn stream_from(&self, id: &str, query: &str, headers: &[(&str, &str)]) -> Subscriber {
        let path = format!("/v1/llm/generations/{id}/stream{query}");
        let subscriber = Subscriber::open(self.address, &self.head("GET", &path, headers));
        assert_eq!(subscriber.head.status, 200, "{}", subscriber.head);
        subscriber
    }

    /// Returns a request's head with the key in it.
    pub(crate) fn head(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> String {
        self.request(method, path, headers).head()
    }

    fn request(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Request {
        let request = Request::new(method, path, self.address);
        match &self.key {
            Some(key) => request.key(key),
            None => request,
        }
        .headers(headers)
    }

    /// Returns a submit as bytes on the wire.
    pub(crate) fn submit_bytes(&self, changes: Value) -> String {
        let submit = self.request("POST", "/v1/llm/generations", &[]).json(body(changes).to_string());
        String::from_utf8(submit.bytes()).unwrap()
    }

    /// Sends these bytes on a connection of their own. The caller may drop the connection.
    pub(crate) fn send_raw(&self, bytes: &[u8]) -> TcpStream {
        let mut socket = connect(self.address).unwrap();
        socket.write_all(bytes).unwrap();
        socket
    }

    /// Sends these bytes, and reads the reply until the program closes the connection.
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
        let request = self.request(method, path, headers);
        let request = match body {
            Some(body) => request.body(body),
            None => request,
        };
        let exchange = || -> Outcome<Reply> {
            let mut connection = Connection::open(self.address)?;
            let ReplyRef { head, body } = connection.upload(&request.bytes())?;
            Ok(Reply::new(&head, body.to_vec()))
        };
        self.check(exchange().unwrap_or_else(|err| panic!("{method} {path}: {err}")))
    }

    fn check(&self, reply: Reply) -> Reply {
        let shown = reply.to_string();
        for secret in self.secrets.iter() {
            assert!(!shown.contains(secret), "a reply contains {secret}: {shown}");
        }
        reply
    }
}
