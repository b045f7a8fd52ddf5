//! hearken's own event streams, byte for byte as the contract specifies them. Anything else is an error.

use memchr::{memchr, memmem};
use serde_json::Value;

const COMMENT: &str = ": keep-alive\n";
const RETRY: &str = "retry: 2000\n";
/// The end of a frame.
const BLANK_LINE: &[u8] = b"\n\n";

/// A frame of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) event: String,
    pub(crate) id: u64,
    pub(crate) data: String,
}

/// The next item of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    Comment,
    Frame(Frame),
}

/// A stream that is being received.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// The bytes that have arrived and were not read.
    unread: Vec<u8>,
    /// The search for the blank line has reached this position.
    searched: usize,
    has_begun: bool,
    /// The id that the next frame must have.
    next_id: Option<u64>,
    is_over: bool,
}

impl Frame {
    /// Returns true for the frame that ends a stream.
    pub(crate) fn is_last(&self) -> bool {
        self.event != "chunk"
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|err| panic!("{err}: {self:?}"))
    }

    /// Returns the delta of a chunk.
    pub(crate) fn delta(&self) -> Value {
        self.json()["choices"][0]["delta"].clone()
    }

    /// Returns the answer's text in a chunk.
    pub(crate) fn content(&self) -> String {
        self.delta()["content"].as_str().unwrap_or_default().to_owned()
    }

    /// Returns the frame as it is sent.
    pub(crate) fn bytes(&self) -> String {
        format!("event: {}\nid: {}\ndata: {}\n\n", self.event, self.id, self.data)
    }

    fn parse(block: &str) -> Option<Self> {
        let (event, rest) = block.strip_prefix("event: ")?.split_once('\n')?;
        let (id, rest) = rest.strip_prefix("id: ")?.split_once('\n')?;
        let data = rest.strip_prefix("data: ")?.strip_suffix("\n\n")?;
        let frame = Self { event: event.to_owned(), id: id.parse().ok()?, data: data.to_owned() };
        let is_known = ["chunk", "done", "error"].contains(&event);
        (is_known && frame.bytes() == block && !data.contains('\n')).then_some(frame)
    }
}

impl Stream {
    /// Returns a stream whose first frame must have this id.
    pub(crate) fn from(id: u64) -> Self {
        Self { next_id: Some(id), ..Self::default() }
    }

    /// Returns true once the frame that ends a stream has been read.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Returns the bytes that have arrived and were not read.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.unread
    }

    /// Takes received bytes.
    pub(crate) fn take(&mut self, data: &[u8]) {
        self.unread.extend_from_slice(data);
    }

    /// Reads the next comment or frame; `None` while it is not complete.
    pub(crate) fn next(&mut self) -> Result<Option<Item>, String> {
        if self.is_over && !self.unread.is_empty() {
            return Err(format!("{:?} behind the last frame", String::from_utf8_lossy(&self.unread)));
        }
        if self.unread.first() == Some(&b':') {
            let Some(end) = memchr(b'\n', &self.unread) else { return Ok(None) };
            let line = self.text_up_to(end + 1)?;
            return if line == COMMENT {
                Ok(Some(Item::Comment))
            } else {
                Err(format!("a comment: {line:?}"))
            };
        }
        let Some(at) = memmem::find(&self.unread[self.searched..], BLANK_LINE) else {
            self.searched = self.unread.len().saturating_sub(1);
            return Ok(None);
        };
        let block = self.text_up_to(self.searched + at + BLANK_LINE.len())?;
        // The first block contains the reconnection time.
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        let frame = if is_first { block.strip_prefix(RETRY) } else { Some(block.as_str()) };
        let frame = frame.and_then(Frame::parse).ok_or_else(|| format!("no frame: {block:?}"))?;
        if let Some(expected) = self.next_id.filter(|expected| *expected != frame.id) {
            return Err(format!("{frame:?} where {expected} follows"));
        }
        self.next_id = Some(frame.id + 1);
        self.is_over = frame.is_last();
        Ok(Some(Item::Frame(frame)))
    }

    fn text_up_to(&mut self, end: usize) -> Result<String, String> {
        self.searched = 0;
        String::from_utf8(self.unread.drain(..end).collect()).map_err(|err| err.to_string())
    }
}
