//! A blocking client that costs as little as possible: requests are prepared beforehand, and replies are read in place.

use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::Outcome;
use super::head::ReplyHead;
use super::response::Response;

/// A server that sends nothing for this long hangs.
const PATIENCE: Duration = Duration::from_secs(90);
/// The number of bytes that are read at once.
const READ_BYTES: usize = 16 * 1024;
/// A large request is sent in pieces of this size. The client looks for the reply before each piece, and whenever it
/// could send nothing for the time of [`GLANCE`].
const PIECE_BYTES: usize = 1 << 20;
const GLANCE: Duration = Duration::from_millis(100);

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: TcpStream,
    response: Response,
    body: Vec<u8>,
}

/// A whole reply, read in place in its connection.
#[derive(Debug)]
pub(crate) struct ReplyRef<'a> {
    pub(crate) head: ReplyHead<'a>,
    pub(crate) body: &'a [u8],
}

/// Connects to a server.
pub(crate) fn connect(address: SocketAddr) -> Outcome<TcpStream> {
    let socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Outcome<Self> {
        Ok(Self::of(connect(address)?))
    }

    /// Takes over a connection on which a response is expected.
    pub(crate) fn of(socket: TcpStream) -> Self {
        Self { socket, response: Response::new(), body: Vec::new() }
    }

    /// Sends a whole request.
    pub(crate) fn send(&mut self, request: &[u8]) -> Outcome<()> {
        self.response.begin(request.starts_with(b"HEAD "));
        Ok(self.socket.write_all(request)?)
    }

    /// Reads once, and passes on the bytes of the body.
    pub(crate) fn receive(&mut self, on_data: impl FnMut(&[u8])) -> Outcome<()> {
        let mut piece = [0; READ_BYTES];
        match self.socket.read(&mut piece)? {
            0 => self.response.close(),
            length => self.response.take(&piece[..length], on_data),
        }
    }

    /// Returns how much of the response has arrived.
    pub(crate) fn response(&self) -> &Response {
        &self.response
    }

    /// Reads everything until the server closes the connection, without parsing it.
    pub(crate) fn read_to_end(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        self.socket.read_to_end(bytes)
    }

    /// Sends a whole request and reads the whole reply.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> Outcome<ReplyRef<'_>> {
        self.send(request)?;
        self.reply()
    }

    /// Sends a request that is so large that the reply may come before its end, and reads the whole reply. If the reply
    /// comes before, the rest is not sent, and the connection cannot be used again.
    pub(crate) fn upload(&mut self, request: &[u8]) -> Outcome<ReplyRef<'_>> {
        self.response.begin(request.starts_with(b"HEAD "));
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
        self.reply()
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

    fn reply(&mut self) -> Outcome<ReplyRef<'_>> {
        let mut body = mem::take(&mut self.body);
        body.clear();
        while !self.response.has_ended() {
            self.receive(|data| body.extend_from_slice(data))?;
        }
        self.body = body;
        Ok(ReplyRef { head: self.response.head()?, body: &self.body })
    }
}
