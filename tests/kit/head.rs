//! Heads of requests and replies, read where they lie: nothing is allocated.

use httparse::{EMPTY_HEADER, Header, Status};

use super::Outcome;

/// A head has at most so many headers.
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
    /// Reads a head and the count of its bytes; `None` while it is not whole.
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
    /// Reads a head and the count of its bytes; `None` while it is not whole.
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
    /// The value of a header, if it is there and is text.
    pub(crate) fn get(&self, name: &str) -> Option<&'a str> {
        let header = self.all[..self.count].iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok()
    }

    /// The number in a header, if it is there.
    pub(crate) fn number(&self, name: &str) -> Outcome<Option<u64>> {
        let number = self.get(name).map(|value| value.parse().map_err(|_| format!("{name}: {value}")));
        Ok(number.transpose()?)
    }

    /// Copies all of them, with names in lower case.
    pub(crate) fn to_pairs(self) -> Vec<(String, String)> {
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let pairs = self.all[..self.count].iter();
        pairs.map(|header| (header.name.to_ascii_lowercase(), text(header.value))).collect()
    }
}
