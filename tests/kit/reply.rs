//! A complete reply: its head, and its body once that has arrived.

use std::fmt;

use super::head::ReplyHead;

/// A reply.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Names are in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// Copies a head.
    pub(crate) fn new(head: &ReplyHead<'_>, body: Vec<u8>) -> Self {
        Self { status: head.status, headers: head.headers.to_pairs(), body }
    }

    /// Reads a reply from its bytes on the wire; the body is what follows the head, undecoded.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        match ReplyHead::parse(bytes) {
            Ok(Some((head, length))) => Self::new(&head, bytes[length..].to_vec()),
            Ok(None) => panic!("no whole head: {:?}", String::from_utf8_lossy(bytes)),
            Err(err) => panic!("{err}: {:?}", String::from_utf8_lossy(bytes)),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns the body, which must be text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap_or_else(|err| panic!("{err}: {self}"))
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {}", self.status, self.headers, String::from_utf8_lossy(&self.body))
    }
}
