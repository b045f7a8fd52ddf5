//! Heads of requests and replies, read in place and without allocation.

use httparse::{EMPTY_HEADER, Header, Status};

use super::Outcome;

/// The most headers that a head may have.
const MOST_HEADERS: usize = 32;
/// A head has fewer bytes than this.
const MOST_BYTES: usize = 64 * 1024;

/// The headers of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Headers<'a> {
    all: [Header<'a>; MOST_HEADERS],
    count: usize,
}

/// The head of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestHead<'a> {
    pub(crate) method: &'a str,
    /// Path and query.
    pub(crate) target: &'a str,
    pub(crate) headers: Headers<'a>,
}

/// The head of a reply.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReplyHead<'a> {
    pub(crate) status: u16,
    pub(crate) headers: Headers<'a>,
}

impl<'a> RequestHead<'a> {
    /// Reads a head and returns it with its length in bytes; `None` while it is not complete.
    pub(crate) fn parse(bytes: &'a [u8]) -> Outcome<Option<(Self, usize)>> {
        let mut all = [EMPTY_HEADER; MOST_HEADERS];
        let mut request = httparse::Request::new(&mut all);
        let Status::Complete(length) = request.parse(bytes)? else { return unfinished(bytes) };
        let (method, target) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
        let count = request.headers.len();
        Ok(Some((Self { method, target, headers: Headers { all, count } }, length)))
    }
}

impl<'a> ReplyHead<'a> {
    /// Reads a head and returns it with its length in bytes; `None` while it is not complete.
    pub(crate) fn parse(bytes: &'a [u8]) -> Outcome<Option<(Self, usize)>> {
        let mut all = [EMPTY_HEADER; MOST_HEADERS];
        let mut reply = httparse::Response::new(&mut all);
        let Status::Complete(length) = reply.parse(bytes)? else { return unfinished(bytes) };
        let (status, count) = (reply.code.unwrap_or_default(), reply.headers.len());
        Ok(Some((Self { status, headers: Headers { all, count } }, length)))
    }
}

fn unfinished<T>(bytes: &[u8]) -> Outcome<Option<T>> {
    if bytes.len() < MOST_BYTES { Ok(None) } else { Err("a head has no end".into()) }
}

impl<'a> Headers<'a> {
    /// Returns the value of a header, if the header exists and is text.
    pub(crate) fn get(&self, name: &str) -> Option<&'a str> {
        let header = self.all[..self.count].iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok()
    }

    /// Returns the number in a header, if the header exists.
    pub(crate) fn number(&self, name: &str) -> Outcome<Option<u64>> {
        let number = self.get(name).map(|value| value.parse().map_err(|_| format!("{name}: {value}")));
        Ok(number.transpose()?)
    }

    /// Copies all headers, with names in lower case.
    pub(crate) fn to_pairs(self) -> Vec<(String, String)> {
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let pairs = self.all[..self.count].iter();
        pairs.map(|header| (header.name.to_ascii_lowercase(), text(header.value))).collect()
    }
}
