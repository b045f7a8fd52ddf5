//! A request that is written before it is sent.

use std::fmt::{Display, Write as _};

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    head: String,
    body: Vec<u8>,
}

impl Request {
    /// Begins a request without a body.
    pub(crate) fn new(method: &str, path: &str, host: impl Display) -> Self {
        Self { head: format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n"), body: Vec::new() }
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: &str, value: impl Display) -> Self {
        // A write to a String cannot fail.
        let _ = write!(self.head, "{name}: {value}\r\n");
        self
    }

    /// Adds headers.
    pub(crate) fn headers(self, headers: &[(&str, &str)]) -> Self {
        headers.iter().fold(self, |request, (name, value)| request.header(name, value))
    }

    /// Adds an API key.
    pub(crate) fn key(self, key: &str) -> Self {
        self.header("authorization", format_args!("Bearer {key}"))
    }

    /// Adds a body of a known length.
    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        let length = self.body.len();
        self.header("content-length", length)
    }

    /// Adds JSON as the body.
    pub(crate) fn json(self, json: impl Into<Vec<u8>>) -> Self {
        self.header("content-type", "application/json").body(json)
    }

    /// Returns the head with the blank line that ends it.
    pub(crate) fn head(&self) -> String {
        format!("{}\r\n", self.head)
    }

    /// Returns the request as it is sent.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        [self.head.as_bytes(), b"\r\n", &self.body].concat()
    }
}
