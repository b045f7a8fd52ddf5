//! A fake Gemini that takes in large requests without keeping them, and compares the audio in them, byte by byte, with
//! what was sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::Outcome;

/// A request stands still for so long behind its head: the way to a real upstream is longer than this one, and what is
/// not sent yet must be somewhere.
pub(crate) const HOLD: Duration = Duration::from_secs(2);
/// What stands before the audio.
const MARK: &[u8] = br#""data":""#;
/// The mark stands within so many bytes, or nowhere.
const MOST_BEFORE: usize = 64 * 1024;
const BUFFER_BYTES: usize = 256 * 1024;

/// A running fake; it runs until the process ends.
#[derive(Debug)]
pub(crate) struct FakeGemini {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

/// What has come in.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen {
    /// Requests whose audio was what had been sent.
    pub(crate) right: usize,
    /// What was wrong with the others.
    pub(crate) wrong: Vec<String>,
}

impl FakeGemini {
    /// One that expects this base64 text in each request.
    pub(crate) fn start(expected: Arc<str>) -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (address, seen) = (listener.local_addr()?, Arc::new(Mutex::new(Seen::default())));
        let theirs = Arc::clone(&seen);
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (expected, seen) = (Arc::clone(&expected), Arc::clone(&theirs));
                thread::spawn(move || {
                    if let Err(err) = serve(&socket, expected.as_bytes(), &seen) {
                        note(&seen, |seen| seen.wrong.push(err.to_string()));
                    }
                });
            }
        });
        Ok(Self { address, seen })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has come in until now.
    pub(crate) fn seen(&self) -> Seen {
        note(&self.seen, |seen| seen.clone())
    }
}

fn note<T>(seen: &Mutex<Seen>, with: impl FnOnce(&mut Seen) -> T) -> T {
    with(&mut seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// Serves one request after the other.
fn serve(socket: &TcpStream, expected: &[u8], seen: &Mutex<Seen>) -> Outcome<()> {
    socket.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, socket);
    while let Some(length) = head(&mut reader)? {
        thread::sleep(HOLD);
        let mut body = reader.by_ref().take(length);
        let right = is_right(&mut body, expected)?;
        if std::io::copy(&mut body, &mut std::io::sink())? == 0 && right {
            return Err("a request ends with its audio".into());
        }
        note(seen, |seen| match right {
            true => seen.right += 1,
            false => seen.wrong.push("other audio than was sent".to_owned()),
        });
        answer(socket)?;
    }
    Ok(())
}

/// Reads a head; returns the length of what follows, or `None` where the connection ends.
fn head(reader: &mut impl BufRead) -> Outcome<Option<u64>> {
    let mut length = None;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 {
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = Some(value.parse()?)
            }
            _ if line == "\r\n" => return Ok(Some(length.ok_or("a request does not tell its length")?)),
            _ => {}
        }
        line.clear();
    }
    Ok(None)
}

/// Is the expected text what stands in the body, up to a quotation mark?
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

fn answer(mut socket: &TcpStream) -> Outcome<()> {
    let text = r#"{"candidates":[{"content":{"parts":[{"text":"Nobody."}],"role":"model"},"index":0}]}"#;
    let finish = r#"{"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"finishReason":"STOP","index":0}],
        "usageMetadata":{"promptTokenCount":11,"candidatesTokenCount":2,"totalTokenCount":13}}"#;
    let body = format!("data: {text}\r\n\r\ndata: {}\r\n\r\n", finish.replace('\n', ""));
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    Ok(socket.write_all([head, body].concat().as_bytes())?)
}
