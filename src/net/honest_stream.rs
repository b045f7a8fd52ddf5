//! A TCP connection that tells awc the truth about how a plain HTTP/1.1 response ends, and lets it read one that came
//! early.
//!
//! Three things that awc 3.11 over actix-http 3.20 hides, all of which make a failure look like a success:
//!
//! - When the connection closes in the middle of a chunked or counted body, awc ends the body as if it were
//!   whole. Here such a close is an error, because those bodies never need one to end.
//! - A response with neither length nor chunks ends with its connection (RFC 9112, section 6.3, case 8), but for
//!   HTTP/1.1 it is read as empty. Here its version is written as 1.0, for which it is read rightly.
//! - A body that is longer than its `Content-Length` is cut off there. Here a response with more behind it is an error,
//!   if that is there when its end is read: one of the two is wrong, and nobody knows which.
//!
//! And three that it gives up on:
//!
//! - Lines of a head may end without a carriage return (RFC 9112, section 2.2). Here such a head is whole at its empty line.
//!
//! - Whoever refuses a large request may answer before all of it was sent, and close or take no more of it. awc takes
//!   the failing write for the outcome, or waits for ever, though the refusal lies there to be read. Here what cannot be
//!   written any more is swallowed, and the reading decides.
//! - A response may be announced by others of the class 1xx (RFC 9110, section 15.2), which awc takes for the answer. Here
//!   they are passed over.
//!
//! It relies on one request being under way at a time, all of which is written before its response is read:
//! so awc does it. What is read of encrypted connections passes through untouched: there TLS itself tells a
//! cut from an end, and upstreams that speak HTTP/2 frame their bodies.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_rt::net::{ActixStream, Ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::metered::Metered;

/// Longest response head that is waited for, in bytes; a longer one is passed on as it came, for awc to judge.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Most header fields that are looked through.
const MAX_HEADERS: usize = 128;
/// As much of a head as is read at once, in bytes.
const HEAD_PIECE: usize = 4096;

/// The connection.
#[derive(Debug)]
pub struct HonestStream {
    tcp: Metered,
    state: State,
    /// Does the other side take nothing any more?
    is_deaf: bool,
}

#[derive(Debug)]
enum State {
    /// Encrypted: not looked into.
    Opaque,
    /// Since the request began, this much of the response's head has come.
    Head(Vec<u8>),
    /// The head, and what came with it, is being handed out.
    HandingOut { bytes: Vec<u8>, at: usize, end: End },
    /// The body.
    Body { end: End },
}

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// With the connection, and only so.
    Close,
    /// After so many bytes more.
    Length(u64),
    /// By itself.
    Itself,
}

/// A response goes on behind its `Content-Length`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than the Content-Length says")]
pub struct Surplus;

/// A response states its length more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than one Content-Length")]
pub struct Lengths;

impl HonestStream {
    /// Wraps a connection; `plain` where HTTP/1.1 is spoken on it without encryption.
    #[must_use]
    pub fn new(tcp: Metered, plain: bool) -> Self {
        Self { tcp, state: if plain { State::Head(Vec::new()) } else { State::Opaque }, is_deaf: false }
    }
}

impl AsyncRead for HonestStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::Opaque => return Pin::new(&mut this.tcp).poll_read(cx, buf),
                State::Head(head) => {
                    pass_over_interim(head);
                    if end_of_head(head).is_some() || head.len() > MAX_HEAD_BYTES || !is_http(head) {
                        let mut bytes = std::mem::take(head);
                        let end = end_of_body(&bytes)?;
                        if let Some(minor_version) = bytes.get_mut(7).filter(|_| end == End::Close) {
                            *minor_version = b'0';
                        }
                        this.state = State::HandingOut { bytes, at: 0, end };
                        continue;
                    }
                    if ready!(read_piece(&mut this.tcp, head, cx))? == 0 {
                        return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                    }
                }
                State::HandingOut { bytes, at, end } => {
                    let rest = bytes.get(*at..).unwrap_or_default();
                    let some = rest.get(..rest.len().min(buf.remaining())).unwrap_or_default();
                    buf.put_slice(some);
                    *at += some.len();
                    if *at >= bytes.len() {
                        this.state = State::Body { end: *end };
                    }
                    return Poll::Ready(Ok(()));
                }
                State::Body { end } => {
                    let before = buf.filled().len();
                    ready!(Pin::new(&mut this.tcp).poll_read(cx, buf))?;
                    let count = buf.filled().len() - before;
                    if let End::Length(left) = end {
                        *left = left.checked_sub(count as u64).ok_or_else(surplus)?;
                    }
                    let closed = count == 0 && buf.remaining() > 0;
                    return Poll::Ready(if closed && *end != End::Close {
                        Err(io::ErrorKind::UnexpectedEof.into())
                    } else {
                        Ok(())
                    });
                }
            }
        }
    }
}

impl AsyncWrite for HonestStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        // A request is on its way: what is read next is the head of its response.
        if matches!(this.state, State::Body { .. }) {
            if this.is_deaf {
                // The request before was not sent to its end: nobody would understand another one.
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            this.state = State::Head(Vec::new());
        }
        if this.is_deaf {
            return Poll::Ready(Ok(buf.len()));
        }
        match Pin::new(&mut this.tcp).poll_write(cx, buf) {
            Poll::Ready(Err(err)) if is_closed(&err) => {}
            Poll::Ready(written) => return Poll::Ready(written),
            Poll::Pending => {
                // Nothing more is taken at present: is there an answer already?
                let State::Head(head) = &mut this.state else { return Poll::Pending };
                match read_piece(&mut this.tcp, head, cx) {
                    Poll::Pending => return Poll::Pending,
                    // What went wrong, if something did, is found again by who reads.
                    Poll::Ready(_) => pass_over_interim(head),
                }
                if head.is_empty() {
                    return Pin::new(&mut this.tcp).poll_write(cx, buf);
                }
            }
        }
        this.is_deaf = true;
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.tcp).poll_flush(cx)) {
            Err(err) if is_closed(&err) => Poll::Ready(Ok(())),
            flushed => Poll::Ready(flushed),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

impl ActixStream for HonestStream {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_read_ready(&self.tcp, cx)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_write_ready(&self.tcp, cx)
    }
}

/// Reads what there is of a head; returns how much that is.
fn read_piece(tcp: &mut Metered, head: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let mut piece = [0; HEAD_PIECE];
    let mut piece = ReadBuf::new(&mut piece);
    ready!(Pin::new(tcp).poll_read(cx, &mut piece))?;
    head.extend_from_slice(piece.filled());
    Poll::Ready(Ok(piece.filled().len()))
}

/// Takes off the heads of responses that only announce another one. A switch of protocols is none of them.
fn pass_over_interim(head: &mut Vec<u8>) {
    let is_interim = |head: &[u8]| {
        let code = head.get(9..12).unwrap_or_default();
        is_http(head) && code.first() == Some(&b'1') && code != b"101"
    };
    while is_interim(head)
        && let Some(end) = end_of_head(head)
    {
        head.drain(..end);
    }
}

/// Has the other side closed the connection, as far as writing is concerned?
fn is_closed(err: &io::Error) -> bool {
    matches!(err.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// May this become the head of a response? What is none is passed on for awc to refuse.
fn is_http(head: &[u8]) -> bool {
    head.iter().zip(b"HTTP/").all(|(byte, letter)| byte == letter)
}

/// Where the head that these bytes begin ends: behind the first empty line.
fn end_of_head(head: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'\n', head).find_map(|at| {
        let rest = head.get(at + 1..)?;
        let empty = if rest.starts_with(b"\r\n") { 2 } else { usize::from(rest.starts_with(b"\n")) };
        (empty > 0).then_some(at + 1 + empty)
    })
}

/// How the body ends that begins behind this head; `bytes` are the head and what came with it.
fn end_of_body(bytes: &[u8]) -> io::Result<End> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(head)) = response.parse(bytes) else { return Ok(End::Itself) };
    let named = |name: &'static str| {
        response.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name))
    };
    let header = |name: &'static str| named(name).next();
    if response.code.is_none_or(|code| code < 200 || code == 204 || code == 304)
        || header("transfer-encoding").is_some()
    {
        return Ok(End::Itself);
    }
    let Some(length) = header("content-length") else { return Ok(End::Close) };
    if named("content-length").count() > 1 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, Lengths));
    }
    // What is no number is for awc to refuse.
    let Some(length) =
        std::str::from_utf8(length.value).ok().and_then(|text| text.trim().parse::<u64>().ok())
    else {
        return Ok(End::Itself);
    };
    length.checked_sub((bytes.len() - head) as u64).map(End::Length).ok_or_else(surplus)
}

fn surplus() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, Surplus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_announces_a_response_is_passed_over() {
        let finale = "HTTP/1.1 200 OK\r\n\r\ndata: x";
        for before in [
            "",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 100 Continue\n\n",
            "HTTP/1.1 102 P\r\nA: b\r\n\r\nHTTP/1.1 103 H\r\n\r\n",
        ] {
            let mut head = format!("{before}{finale}").into_bytes();
            pass_over_interim(&mut head);
            assert_eq!(head, finale.as_bytes(), "{before:?}");
        }
        for whole in ["HTTP/1.1 101 Switching\r\n\r\n", "HTTP/1.1 100 Cont", "HTTP/1.1 1", "garbage"] {
            let mut head = whole.as_bytes().to_vec();
            pass_over_interim(&mut head);
            assert_eq!(head, whole.as_bytes());
        }
    }

    #[test]
    fn a_head_tells_how_its_body_ends() {
        for (response, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n", Some(End::Close)),
            ("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\ndata: x", Some(End::Close)),
            ("HTTP/1.0 200 OK\r\n\r\n", Some(End::Close)),
            ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n", Some(End::Length(3))),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3 \r\n\r\nabc", Some(End::Length(0))),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd", None),
            ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", Some(End::Itself)),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\ncontent-length: 4\r\n\r\n", None),
            ("HTTP/1.1 200 OK\nContent-Length: 3\n\nabc", Some(End::Length(0))),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Some(End::Itself)),
            ("HTTP/1.1 204 No Content\r\n\r\n", Some(End::Itself)),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", Some(End::Itself)),
            ("HTTP/1.1 200 OK\r\nContent-", Some(End::Itself)),
            ("garbage\r\n\r\n", Some(End::Itself)),
        ] {
            assert_eq!(end_of_body(response.as_bytes()).ok(), expected, "{response:?}");
        }
    }
}
