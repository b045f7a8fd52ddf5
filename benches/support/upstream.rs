//! A fake Gemini that reads large requests without keeping them, and compares their audio with the audio that was sent,
//! byte by byte.

use std::io::{BufRead, Read as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::Outcome;
use super::kit::gemini::{finish_event, framed, text_event};
use super::kit::head::RequestHead;
use super::kit::server::{Line, listen, reply_head};

/// How long the fake waits after the head of a request: a real upstream is farther away, and hearken must hold the
/// unsent bytes somewhere.
pub(crate) const HOLD: Duration = Duration::from_secs(2);
/// The bytes in front of the audio.
const MARK: &[u8] = br#""data":""#;
/// The most bytes in front of the mark; a mark further away is not found.
const MOST_BEFORE: usize = 64 * 1024;

/// A running fake; it runs until the process ends.
#[derive(Debug)]
pub(crate) struct FakeGemini {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

/// The requests that the fake received.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen {
    /// The number of requests whose audio was right.
    pub(crate) right: usize,
    /// The errors of the other requests.
    pub(crate) wrong: Vec<String>,
}

impl FakeGemini {
    /// Starts a fake that expects this base64 text in each request.
    pub(crate) fn start(expected: Arc<str>) -> Outcome<Self> {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let theirs = Arc::clone(&seen);
        let listener = listen(Ipv4Addr::LOCALHOST, move |mut line| {
            if let Err(err) = serve(&mut line, expected.as_bytes(), &theirs) {
                note(&theirs, |seen| seen.wrong.push(err.to_string()));
            }
        })?;
        Ok(Self { address: listener.address, seen })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the requests that were received so far.
    pub(crate) fn seen(&self) -> Seen {
        note(&self.seen, |seen| seen.clone())
    }
}

fn note<T>(seen: &Mutex<Seen>, with: impl FnOnce(&mut Seen) -> T) -> T {
    with(&mut seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// Serves one request after the other.
fn serve(line: &mut Line, expected: &[u8], seen: &Mutex<Seen>) -> Outcome<()> {
    while let Some(head) = line.head()? {
        let (head, _) = RequestHead::parse(&head)?.ok_or("a request without a head")?;
        let length = head.headers.number("content-length")?.ok_or("a request has no content-length")?;
        thread::sleep(HOLD);
        let mut body = line.reader().take(length);
        let right = is_right(&mut body, expected)?;
        if std::io::copy(&mut body, &mut std::io::sink())? == 0 && right {
            return Err("a request ends with its audio".into());
        }
        note(seen, |seen| match right {
            true => seen.right += 1,
            false => seen.wrong.push("other audio than was sent".to_owned()),
        });
        let body = framed(&text_event("Silence.")) + &framed(&finish_event("STOP"));
        let length = body.len().to_string();
        let headers = [("content-type", "text/event-stream"), ("content-length", length.as_str())];
        line.write(reply_head(200, &headers) + &body)?;
    }
    Ok(())
}

/// Returns true if the body contains the expected text, up to a quotation mark.
fn is_right(body: &mut impl BufRead, expected: &[u8]) -> Outcome<bool> {
    let mut before = Vec::new();
    while !before.ends_with(MARK) {
        if body.read_until(b'"', &mut before)? == 0 || before.len() > MOST_BEFORE {
            return Err("a request without audio".into());
        }
    }
    let mut left = expected;
    while !left.is_empty() {
        let piece = body.fill_buf()?;
        let length = piece.len().min(left.len());
        if length == 0 || piece[..length] != left[..length] {
            return Ok(false);
        }
        body.consume(length);
        left = &left[length..];
    }
    Ok(body.fill_buf()?.first() == Some(&b'"'))
}
