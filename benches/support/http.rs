//! A client as cheap as one can be: whole requests, made before, over a connection that stays.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::time::{Duration, Instant};

use super::Outcome;

/// A server that says nothing for this long hangs.
const PATIENCE: Duration = Duration::from_secs(90);
/// A large request is sent in pieces of this size, with a look for the reply before each, and when none went out for
/// so long.
const PIECE_BYTES: usize = 1 << 20;
const GLANCE: Duration = Duration::from_millis(100);

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

/// A reply.
#[derive(Debug)]
pub(crate) struct Reply<'a> {
    pub(crate) status: u16,
    /// When to come back, as far as it says so.
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: &'a [u8],
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Outcome<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, received: Vec::new() })
    }

    /// Sends a whole request and reads the reply, whose length its head must tell.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> Outcome<Reply<'_>> {
        self.stream.write_all(request)?;
        self.reply()
    }

    /// The same with a request that is so large that the reply may come before its end: then the rest is not sent,
    /// and the connection is of no further use.
    pub(crate) fn upload(&mut self, request: &[u8]) -> Outcome<Reply<'_>> {
        self.stream.set_write_timeout(Some(GLANCE))?;
        let mut rest = request;
        let mut moved = Instant::now();
        while !rest.is_empty() && !self.is_answered()? {
            match self.stream.write(&rest[..rest.len().min(PIECE_BYTES)]) {
                Ok(length) => {
                    rest = &rest[length..];
                    moved = Instant::now();
                }
                Err(err) if err.kind() == ErrorKind::Interrupted => {}
                Err(err) if err.kind() == ErrorKind::WouldBlock && moved.elapsed() < PATIENCE => {}
                Err(err) => return Err(err.into()),
            }
        }
        self.reply()
    }

    fn is_answered(&self) -> Outcome<bool> {
        self.stream.set_nonblocking(true)?;
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false)?;
        match peeked {
            Ok(_) => Ok(true),
            Err(err) if err.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(err) => Err(err.into()),
        }
    }

    fn reply(&mut self) -> Outcome<Reply<'_>> {
        self.received.clear();
        let head = loop {
            if let Some(head) = head(&self.received)? {
                break head;
            }
            self.receive()?;
        };
        while self.received.len() < head.body.end {
            self.receive()?;
        }
        let Head { status, retry_after, body } = head;
        Ok(Reply { status, retry_after, body: &self.received[body] })
    }

    fn receive(&mut self) -> Outcome<()> {
        let mut piece = [0; 16 * 1024];
        match self.stream.read(&mut piece)? {
            0 => Err("the server closed a connection".into()),
            length => {
                self.received.extend_from_slice(&piece[..length]);
                Ok(())
            }
        }
    }
}

/// The head of a reply.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    retry_after: Option<Duration>,
    /// Where the body is.
    pub(crate) body: Range<usize>,
}

/// `None` while the head is not whole.
pub(crate) fn head(received: &[u8]) -> Outcome<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut reply = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(start) = reply.parse(received)? else { return Ok(None) };
    let number = |name: &str| {
        let header = reply.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        header.and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok())
    };
    let length = number("content-length").ok_or("a reply does not tell its length")?;
    Ok(Some(Head {
        status: reply.code.unwrap_or_default(),
        retry_after: number("retry-after").map(|seconds| Duration::from_secs(seconds as u64)),
        body: start..start + length,
    }))
}
