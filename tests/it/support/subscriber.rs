//! A subscriber that panics when a stream deviates from the contract by a byte. It can stop reading, and it can leave.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;
use super::http::Reply;
use crate::kit::response::Response;
use crate::kit::stream::Stream;
pub(crate) use crate::kit::stream::{Frame, Item};

/// A reader of one stream.
#[derive(Debug)]
pub(crate) struct Subscriber {
    /// The reply, without its body.
    pub(crate) head: Reply,
    socket: TcpStream,
    response: Response,
    stream: Stream,
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
        let head = Reply { status: 0, headers: Vec::new(), body: Vec::new() };
        let mut subscriber = Self { head, socket, response: Response::new(), stream: Stream::default() };
        while !subscriber.response.has_begun() {
            subscriber.fill();
        }
        let head = subscriber.response.head().unwrap();
        subscriber.head = Reply { status: head.status, headers: head.headers.to_pairs(), body: Vec::new() };
        subscriber
    }

    /// Reads more.
    fn fill(&mut self) {
        let mut piece = [0; 16 * 1024];
        let length = self.socket.read(&mut piece).expect("nothing comes");
        let Self { response, stream, .. } = self;
        let taken = match length {
            0 => response.close(),
            length => response.take(&piece[..length], |data| stream.take(data)),
        };
        taken.unwrap();
    }

    /// The next comment or frame; `None` at the end of the stream, which must come after a terminal frame.
    pub(crate) fn next(&mut self) -> Option<Item> {
        loop {
            if let Some(item) = self.stream.next().unwrap() {
                return Some(item);
            }
            if self.response.has_ended() {
                assert!(self.stream.is_over(), "the stream ends without a terminal frame");
                return None;
            }
            self.fill();
        }
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
        assert!(
            self.response.is_between_chunks() && self.stream.unread().is_empty() && !self.stream.is_over()
        );
        let mut rest = Vec::new();
        // A reset is one way to break off.
        let _ = self.socket.read_to_end(&mut rest);
        assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
    }

    /// All bytes of the body that are to come.
    pub(crate) fn bytes(mut self) -> Vec<u8> {
        while !self.response.has_ended() {
            self.fill();
        }
        self.stream.unread().to_vec()
    }
}

/// The texts of a stream's chunks, joined.
pub(crate) fn content(frames: &[Frame]) -> String {
    frames.iter().filter(|frame| frame.event == "chunk").map(Frame::content).collect()
}
