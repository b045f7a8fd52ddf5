//! A response that is received piece by piece: its head is judged, what frames its body is taken off.

use super::Outcome;
use super::chunked::Chunked;

/// A head is not longer than this.
const MOST_HEAD: usize = 16 * 1024;

/// How far a response has come.
#[derive(Debug)]
pub(crate) struct Response(State);

#[derive(Debug)]
enum State {
    /// So much of its head.
    Head(Vec<u8>),
    Chunked(Chunked),
    /// It ends with the connection.
    Bare,
}

impl Response {
    pub(crate) fn new() -> Self {
        Self(State::Head(Vec::new()))
    }

    /// Has the whole head come?
    pub(crate) fn has_begun(&self) -> bool {
        !matches!(self.0, State::Head(_))
    }

    /// Has it come to a good end?
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.0, State::Chunked(chunked) if chunked.is_over())
    }

    /// Takes what was received and hands on what of it is the body's. Any status but 200 is an error.
    pub(crate) fn take(&mut self, bytes: &[u8], mut on_data: impl FnMut(&[u8])) -> Outcome<()> {
        match &mut self.0 {
            State::Chunked(chunked) => chunked.take(bytes, on_data),
            State::Bare => {
                on_data(bytes);
                Ok(())
            }
            State::Head(head) => {
                head.extend_from_slice(bytes);
                let Some((state, begin)) = body(head)? else { return Ok(()) };
                let rest = head.split_off(begin);
                self.0 = state;
                if rest.is_empty() { Ok(()) } else { self.take(&rest, on_data) }
            }
        }
    }
}

/// What follows a head, and where; `None` while it is not whole.
fn body(head: &[u8]) -> Outcome<Option<(State, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut reply = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(begin) = reply.parse(head)? else {
        return if head.len() > MOST_HEAD { Err("a response's head has no end".into()) } else { Ok(None) };
    };
    if reply.code != Some(200) {
        return Err(format!("a stream is refused: {}", String::from_utf8_lossy(head)).into());
    }
    let is_chunked = reply.headers.iter().any(|header| {
        header.name.eq_ignore_ascii_case("transfer-encoding") && header.value.eq_ignore_ascii_case(b"chunked")
    });
    Ok(Some((if is_chunked { State::Chunked(Chunked::new()) } else { State::Bare }, begin)))
}
