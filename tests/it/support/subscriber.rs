//! Reads event streams as the contract writes them, byte for byte: what deviates is a panic. It can stop
//! reading, and it can leave.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use super::PATIENCE;
use super::http::Reply;

/// A frame of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) event: String,
    pub(crate) id: usize,
    pub(crate) data: String,
}

impl Frame {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|err| panic!("{err}: {self:?}"))
    }

    /// The delta of a chunk.
    pub(crate) fn delta(&self) -> Value {
        self.json()["choices"][0]["delta"].clone()
    }

    /// The answer's text in a chunk.
    pub(crate) fn content(&self) -> String {
        self.delta()["content"].as_str().unwrap_or_default().to_owned()
    }

    /// The frame as it stands on the wire.
    pub(crate) fn bytes(&self) -> String {
        format!("event: {}\nid: {}\ndata: {}\n\n", self.event, self.id, self.data)
    }
}

/// What stands between two reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    Comment,
    Frame(Frame),
}

/// A reader of one stream.
#[derive(Debug)]
pub(crate) struct Subscriber {
    /// The reply, without its body.
    pub(crate) head: Reply,
    socket: BufReader<TcpStream>,
    chunked: bool,
    /// Bytes that were read and not looked at.
    unread: Vec<u8>,
    frames: usize,
    next_id: Option<usize>,
    terminal: bool,
}

impl Subscriber {
    /// Sends a request and reads the head of its reply.
    pub(crate) fn open(address: SocketAddr, request: &str) -> Self {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        Self::of(socket)
    }

    /// Reads the head of the reply to a request that was sent.
    pub(crate) fn of(socket: TcpStream) -> Self {
        let mut socket = BufReader::new(socket);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert!(socket.read_until(b'\n', &mut head).unwrap() > 0, "closed within the head");
        }
        let head = Reply::parse(&head);
        let chunked = head.header("transfer-encoding") == Some("chunked");
        Self { head, socket, chunked, unread: Vec::new(), frames: 0, next_id: None, terminal: false }
    }

    /// Reads more; false at the end of the body.
    fn fill(&mut self) -> bool {
        if self.chunked {
            let mut size = String::new();
            self.socket.read_line(&mut size).expect("nothing comes");
            let size = usize::from_str_radix(size.trim_end(), 16).unwrap();
            let mut piece = vec![0; size + 2];
            self.socket.read_exact(&mut piece).expect("nothing comes");
            assert!(piece.ends_with(b"\r\n"));
            self.unread.extend_from_slice(&piece[..size]);
            size > 0
        } else {
            let piece = self.socket.fill_buf().expect("nothing comes").to_vec();
            self.socket.consume(piece.len());
            self.unread.extend_from_slice(&piece);
            !piece.is_empty()
        }
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return Some(String::from_utf8(line).unwrap());
            }
            if !self.fill() {
                assert!(self.unread.is_empty(), "ends within a line: {:?}", self.unread);
                return None;
            }
        }
    }

    fn field(&mut self, name: &str) -> String {
        let line = self.line().unwrap_or_default();
        let value = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(": "));
        value
            .and_then(|value| value.strip_suffix('\n'))
            .unwrap_or_else(|| panic!("not {name}: {line:?}"))
            .to_owned()
    }

    /// The next comment or frame; `None` at the end of the stream, which must come after a terminal frame.
    pub(crate) fn next(&mut self) -> Option<Item> {
        let Some(mut line) = self.line() else {
            assert!(self.terminal, "the stream ends without a terminal frame");
            return None;
        };
        assert!(!self.terminal, "{line:?} after the terminal frame");
        if line == ": keep-alive\n" {
            return Some(Item::Comment);
        }
        if self.frames == 0 {
            assert_eq!(line, "retry: 2000\n", "the first block tells when to come back");
            line = self.line().unwrap();
        }
        let event = line.strip_prefix("event: ").and_then(|rest| rest.strip_suffix('\n'));
        let event = event.unwrap_or_else(|| panic!("not an event: {line:?}")).to_owned();
        assert!(["chunk", "done", "error"].contains(&event.as_str()), "{event}");
        let id = self.field("id").parse().unwrap();
        let data = self.field("data");
        assert_eq!(self.line().as_deref(), Some("\n"));
        assert!(self.next_id.is_none_or(|expected| expected == id), "{id} where {:?} follows", self.next_id);
        self.next_id = Some(id + 1);
        self.frames += 1;
        self.terminal = event != "chunk";
        Some(Item::Frame(Frame { event, id, data }))
    }

    /// The next frame, whatever comments come before it.
    pub(crate) fn frame(&mut self) -> Frame {
        loop {
            match self.next() {
                Some(Item::Frame(frame)) => return frame,
                Some(Item::Comment) => {}
                None => panic!("the stream has ended"),
            }
        }
    }

    /// The next item, which must be a comment.
    pub(crate) fn comment(&mut self) {
        assert_eq!(self.next(), Some(Item::Comment));
    }

    /// All that is to come.
    pub(crate) fn rest(mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(item) = self.next() {
            if let Item::Frame(frame) = item {
                frames.push(frame);
            }
        }
        self.closed();
        frames
    }

    /// The server closes the connection.
    pub(crate) fn closed(&mut self) {
        let mut rest = Vec::new();
        self.socket.read_to_end(&mut rest).expect("the connection stays open");
        assert!(rest.is_empty(), "{:?} behind the body", String::from_utf8_lossy(&rest));
    }

    /// The connection breaks off, before the body has ended and with nothing more in it.
    pub(crate) fn breaks_off(mut self) {
        assert!(self.unread.is_empty() && !self.terminal);
        let mut rest = Vec::new();
        // A reset is one way to break off.
        let _ = self.socket.read_to_end(&mut rest);
        assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
    }

    /// All bytes of the body that are to come.
    pub(crate) fn bytes(mut self) -> Vec<u8> {
        while self.fill() {}
        self.unread
    }
}

/// The texts of a stream's chunks, joined.
pub(crate) fn content(frames: &[Frame]) -> String {
    frames.iter().filter(|frame| frame.event == "chunk").map(Frame::content).collect()
}
