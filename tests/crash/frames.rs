//! Frames of an event stream, byte for byte as the contract writes them.

use crate::http::{Body, Broken};

const COMMENT: &str = ": keep-alive\n";
const RETRY: &str = "retry: 2000\n";

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) event: String,
    pub(crate) id: u64,
    pub(crate) data: String,
}

impl Frame {
    /// Is it the one that ends a stream?
    pub(crate) fn is_last(&self) -> bool {
        self.event != "chunk"
    }
}

/// What stands next in a stream.
#[derive(Debug)]
pub(crate) enum Next {
    Frame(Frame),
    /// The body has ended as its framing tells.
    End,
    /// The connection broke; a frame of which only a part came does not count.
    Broken(Broken),
    /// No stream of ours.
    Malformed(String),
}

/// Reads a stream.
#[derive(Debug)]
pub(crate) struct Frames {
    body: Body,
    unread: String,
    bytes: Vec<u8>,
    seen: bool,
}

impl Frames {
    pub(crate) fn new(body: Body) -> Self {
        Self { body, unread: String::new(), bytes: Vec::new(), seen: false }
    }

    pub(crate) async fn next(&mut self) -> Next {
        loop {
            while let Some(rest) = self.unread.strip_prefix(COMMENT) {
                self.unread = rest.to_owned();
            }
            if !self.unread.starts_with(':')
                && let Some(end) = self.unread.find("\n\n")
            {
                let block: String = self.unread.drain(..end + 2).collect();
                return self.block(&block);
            }
            match self.body.next().await {
                Ok(Some(piece)) => self.take(&piece),
                Ok(None) if self.unread.is_empty() && self.bytes.is_empty() => return Next::End,
                Ok(None) => return Next::Malformed(format!("ends within {:?}", self.unread)),
                Err(broken) => return Next::Broken(broken),
            }
        }
    }

    /// A character may come in two pieces.
    fn take(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
        let whole = match std::str::from_utf8(&self.bytes) {
            Ok(text) => text.len(),
            Err(err) => err.valid_up_to(),
        };
        let text: Vec<u8> = self.bytes.drain(..whole).collect();
        self.unread += &String::from_utf8_lossy(&text);
    }

    fn block(&mut self, block: &str) -> Next {
        let first = !std::mem::replace(&mut self.seen, true);
        let told = if first { block.strip_prefix(RETRY) } else { Some(block) };
        match told.and_then(parse) {
            Some(frame) => Next::Frame(frame),
            None => Next::Malformed(format!("{block:?}")),
        }
    }
}

fn parse(block: &str) -> Option<Frame> {
    let mut lines = block.strip_suffix("\n\n")?.split('\n');
    let event = lines.next()?.strip_prefix("event: ")?.to_owned();
    let id = lines.next()?.strip_prefix("id: ")?.parse().ok()?;
    let data = lines.next()?.strip_prefix("data: ")?.to_owned();
    let known = ["chunk", "done", "error"].contains(&event.as_str());
    (known && lines.next().is_none()).then_some(Frame { event, id, data })
}
