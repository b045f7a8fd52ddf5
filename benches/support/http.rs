//! A client as cheap as one can be: whole requests, made before, over a connection that stays.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::Outcome;

/// A server that says nothing for this long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

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
        self.received.clear();
        let (status, body) = loop {
            if let Some(head) = head(&self.received)? {
                break head;
            }
            self.receive()?;
        };
        while self.received.len() < body.end {
            self.receive()?;
        }
        Ok(Reply { status, body: &self.received[body] })
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

/// The status, and where the body is; `None` while the head is not whole.
fn head(received: &[u8]) -> Outcome<Option<(u16, std::ops::Range<usize>)>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut reply = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(start) = reply.parse(received)? else { return Ok(None) };
    let length = reply.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok());
    let length = length.ok_or("a reply does not tell its length")?;
    Ok(Some((reply.code.unwrap_or_default(), start..start + length)))
}
