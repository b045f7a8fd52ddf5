//! A response that is received piece by piece: its head is kept, and the framing of its body is removed.

use super::Outcome;
use super::chunked::Chunked;
use super::head::ReplyHead;

/// The state of a response that is being received.
#[derive(Debug)]
pub(crate) struct Response {
    /// The part of the head that has arrived.
    head: Vec<u8>,
    /// 0 while the head is not complete.
    status: u16,
    body: Body,
    /// True if the request was for the head alone.
    is_bodiless: bool,
}

#[derive(Debug, Clone, Copy)]
enum Body {
    /// The head is not complete.
    NotBegun,
    /// This many bytes are still to come.
    Length(u64),
    Chunked(Chunked),
    /// The body ends with the connection.
    Bare,
}

const ENDED: Body = Body::Length(0);

impl Response {
    /// Returns a response of which nothing has arrived.
    pub(crate) fn new() -> Self {
        Self { head: Vec::new(), status: 0, body: Body::NotBegun, is_bodiless: false }
    }

    /// Begins with the next response, whose request may be for the head alone.
    pub(crate) fn begin(&mut self, is_bodiless: bool) {
        self.head.clear();
        self.status = 0;
        self.body = Body::NotBegun;
        self.is_bodiless = is_bodiless;
    }

    /// Returns true if the whole head has arrived.
    pub(crate) fn has_begun(&self) -> bool {
        !matches!(self.body, Body::NotBegun)
    }

    /// Returns true if the response has ended properly.
    pub(crate) fn has_ended(&self) -> bool {
        match self.body {
            Body::Length(left) => left == 0,
            Body::Chunked(chunked) => chunked.is_over(),
            Body::NotBegun | Body::Bare => false,
        }
    }

    /// Returns true if a response that breaks off here ends between two chunks, not within one.
    pub(crate) fn is_between_chunks(&self) -> bool {
        match self.body {
            Body::Chunked(chunked) => chunked == Chunked::new(),
            Body::Length(_) | Body::Bare => true,
            Body::NotBegun => false,
        }
    }

    /// Returns the head, once it is complete.
    pub(crate) fn head(&self) -> Outcome<ReplyHead<'_>> {
        Ok(ReplyHead::parse(&self.head)?.ok_or("a response without a head")?.0)
    }

    /// Returns an error if the head has arrived with a status other than 200.
    pub(crate) fn must_be_ok(&self) -> Outcome<()> {
        match self.status {
            0 | 200 => Ok(()),
            _ => Err(format!("a stream is refused: {}", String::from_utf8_lossy(&self.head)).into()),
        }
    }

    /// Takes received bytes, and passes on those of the body.
    pub(crate) fn take(&mut self, bytes: &[u8], mut on_data: impl FnMut(&[u8])) -> Outcome<()> {
        match &mut self.body {
            Body::Chunked(chunked) => chunked.take(bytes, on_data),
            Body::Bare => {
                on_data(bytes);
                Ok(())
            }
            Body::Length(left) => {
                *left = left.checked_sub(bytes.len() as u64).ok_or("bytes behind a response")?;
                on_data(bytes);
                Ok(())
            }
            Body::NotBegun => {
                self.head.extend_from_slice(bytes);
                let Some((head, length)) = ReplyHead::parse(&self.head)? else { return Ok(()) };
                self.status = head.status;
                self.body = if self.is_bodiless || matches!(head.status, 204 | 304) {
                    ENDED
                } else if head
                    .headers
                    .get("transfer-encoding")
                    .is_some_and(|it| it.eq_ignore_ascii_case("chunked"))
                {
                    Body::Chunked(Chunked::new())
                } else {
                    head.headers.number("content-length")?.map_or(Body::Bare, Body::Length)
                };
                let rest = &bytes[bytes.len() - (self.head.len() - length)..];
                self.head.truncate(length);
                if rest.is_empty() { Ok(()) } else { self.take(rest, on_data) }
            }
        }
    }

    /// Handles the end of the connection, which may end the response.
    pub(crate) fn close(&mut self) -> Outcome<()> {
        if matches!(self.body, Body::Bare) {
            self.body = ENDED;
        }
        if self.has_ended() { Ok(()) } else { Err("the server closed a connection".into()) }
    }
}
