//! A subscriber that panics when a stream deviates from the contract by a byte. It can stop reading, and it can
//! disconnect.

use std::net::{SocketAddr, TcpStream};

use super::http::Reply;
use crate::kit::client::Connection;
use crate::kit::stream::Stream;
pub(crate) use crate::kit::stream::{Frame, Item};

/// A reader of one stream.
#[derive(Debug)]
pub(crate) struct Subscriber {
    /// The reply, without its body.
    pub(crate) head: Reply,
    connection: Connection,
    stream: Stream,
}

impl Subscriber {
    /// Sends a request and reads the head of its reply.
    pub(crate) fn open(address: SocketAddr, request: &str) -> Self {
        let mut connection = Connection::open(address).unwrap();
        connection.send(request.as_bytes()).unwrap();
        Self::on(connection)
    }

    /// Reads the head of the reply to a request that was sent.
    pub(crate) fn of(socket: TcpStream) -> Self {
        Self::on(Connection::of(socket))
    }

    fn on(mut connection: Connection) -> Self {
        let mut stream = Stream::default();
        while !connection.response().has_begun() {
            connection.receive(|data| stream.take(data)).expect("nothing arrives");
        }
        let head = Reply::new(&connection.response().head().unwrap(), Vec::new());
        Self { head, connection, stream }
    }

    /// Reads more.
    fn fill(&mut self) {
        self.connection.receive(|data| self.stream.take(data)).expect("nothing arrives");
    }

    /// Returns the next comment or frame, or `None` at the end of the stream, which must come after a terminal frame.
    pub(crate) fn next(&mut self) -> Option<Item> {
        loop {
            if let Some(item) = self.stream.next().unwrap() {
                return Some(item);
            }
            if self.connection.response().has_ended() {
                assert!(self.stream.is_over(), "the stream ends without a terminal frame");
                return None;
            }
            self.fill();
        }
    }

    /// Returns the next frame, and ignores the comments before it.
    pub(crate) fn frame(&mut self) -> Frame {
        loop {
            match self.next() {
                Some(Item::Frame(frame)) => return frame,
                Some(Item::Comment) => {}
                None => panic!("the stream has ended"),
            }
        }
    }

    /// Reads the next item, which must be a comment.
    pub(crate) fn comment(&mut self) {
        assert_eq!(self.next(), Some(Item::Comment));
    }

    /// Returns all frames that are still to come.
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

    /// Asserts that the server closes the connection.
    pub(crate) fn closed(&mut self) {
        let mut rest = Vec::new();
        self.connection.read_to_end(&mut rest).expect("the connection stays open");
        assert!(rest.is_empty(), "{:?} after the body", String::from_utf8_lossy(&rest));
    }

    /// Asserts that the connection breaks off, before the body has ended and with nothing more in it.
    pub(crate) fn breaks_off(mut self) {
        assert!(
            self.connection.response().is_between_chunks()
                && self.stream.unread().is_empty()
                && !self.stream.is_over()
        );
        let mut rest = Vec::new();
        // A reset is one way to break off.
        let _ = self.connection.read_to_end(&mut rest);
        assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
    }

    /// Returns all bytes of the body that are still to come.
    pub(crate) fn bytes(mut self) -> Vec<u8> {
        while !self.connection.response().has_ended() {
            self.fill();
        }
        self.stream.unread().to_vec()
    }
}

/// Returns the joined texts of a stream's chunks.
pub(crate) fn content(frames: &[Frame]) -> String {
    frames.iter().filter(|frame| frame.event == "chunk").map(Frame::content).collect()
}
