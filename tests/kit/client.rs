//! A blocking client as cheap as one can be: whole requests, made before, over a connection that stays.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::Outcome;
use super::head::Headers;
use super::response::Response;

/// A server that says nothing for this long hangs.
const PATIENCE: Duration = Duration::from_secs(90);
/// A large request is sent in pieces of this size, with a look for the reply before each, and when none went out for
/// so long.
const PIECE_BYTES: usize = 1 << 20;
const GLANCE: Duration = Duration::from_millis(100);

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: TcpStream,
    response: Response,
    body: Vec<u8>,
}

/// A reply.
#[derive(Debug)]
pub(crate) struct Reply<'a> {
    pub(crate) status: u16,
    pub(crate) headers: Headers<'a>,
    pub(crate) body: &'a [u8],
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Outcome<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { socket, response: Response::new(), body: Vec::new() })
    }

    /// Sends a whole request and reads the whole reply.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> Outcome<Reply<'_>> {
        self.socket.write_all(request)?;
        self.reply(request)
    }

    /// The same with a request that is so large that the reply may come before its end: then the rest is not sent,
    /// and the connection is of no further use.
    pub(crate) fn upload(&mut self, request: &[u8]) -> Outcome<Reply<'_>> {
        self.socket.set_write_timeout(Some(GLANCE))?;
        let mut rest = request;
        let mut moved = Instant::now();
        while !rest.is_empty() && !self.is_answered()? {
            match self.socket.write(&rest[..rest.len().min(PIECE_BYTES)]) {
                Ok(length) => {
                    rest = &rest[length..];
                    moved = Instant::now();
                }
                Err(err) if err.kind() == ErrorKind::Interrupted => {}
                Err(err) if err.kind() == ErrorKind::WouldBlock && moved.elapsed() < PATIENCE => {}
                Err(err) => return Err(err.into()),
            }
        }
        self.reply(request)
    }

    fn is_answered(&self) -> Outcome<bool> {
        self.socket.set_nonblocking(true)?;
        let peeked = self.socket.peek(&mut [0]);
        self.socket.set_nonblocking(false)?;
        match peeked {
            Ok(_) => Ok(true),
            Err(err) if err.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(err) => Err(err.into()),
        }
    }

    fn reply(&mut self, request: &[u8]) -> Outcome<Reply<'_>> {
        let mut piece = [0; 16 * 1024];
        let Self { socket, response, body, .. } = self;
        response.begin(request.starts_with(b"HEAD "));
        body.clear();
        while !response.has_ended() {
            match socket.read(&mut piece)? {
                0 => response.close()?,
                length => response.take(&piece[..length], |data| body.extend_from_slice(data))?,
            }
        }
        let head = self.response.head()?;
        Ok(Reply { status: head.status, headers: head.headers, body: &self.body })
    }
}
