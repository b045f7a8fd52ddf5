//! The server of the fakes: a listener, and connections on which requests are read and answers are written.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Outcome;
use super::chunked::{LAST, chunk};
use super::head::RequestHead;

const READ_BYTES: usize = 64 * 1024;
/// How often a waiting connection checks whether it may continue.
const GLANCE: Duration = Duration::from_millis(2);
const CLOSE: (&str, &str) = ("connection", "close");

/// A listener. It listens until it is closed, or until the process ends.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    is_closed: Arc<AtomicBool>,
}

/// One connection, as its server holds it.
#[derive(Debug)]
pub(crate) struct Line {
    /// How many connections came before.
    pub(crate) number: usize,
    reader: BufReader<TcpStream>,
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// Names are in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// Listens on a free port; each connection is served on a thread of its own.
pub(crate) fn listen(at: Ipv4Addr, serve: impl Fn(Line) + Send + Sync + 'static) -> Outcome<Listener> {
    let listener = TcpListener::bind((at, 0))?;
    let (address, is_closed) = (listener.local_addr()?, Arc::new(AtomicBool::new(false)));
    let (theirs, serve) = (Arc::clone(&is_closed), Arc::new(serve));
    thread::spawn(move || {
        for (number, socket) in listener.incoming().map_while(Result::ok).enumerate() {
            if theirs.load(Ordering::Acquire) {
                return;
            }
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(Line::new(number, socket)));
        }
    });
    Ok(Listener { address, is_closed })
}

impl Listener {
    /// Stops accepting connections.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        // This wakes the thread, which then sees that the listener is closed.
        let _ = TcpStream::connect(self.address);
    }
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|err| panic!("{err}: {self:?}"))
    }
}

impl Line {
    pub(crate) fn new(number: usize, socket: TcpStream) -> Self {
        // This fails on a socket that is closed already. The first read reports that.
        let _ = socket.set_nodelay(true);
        Self { number, reader: BufReader::with_capacity(READ_BYTES, socket) }
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        self.reader.get_ref()
    }

    /// Returns the socket. Bytes that were read but not used are lost.
    pub(crate) fn into_socket(self) -> TcpStream {
        self.reader.into_inner()
    }

    /// Returns the reader of the bodies.
    pub(crate) fn reader(&mut self) -> &mut impl BufRead {
        &mut self.reader
    }

    /// Reads the head of a request; `None` if the connection ends.
    pub(crate) fn head(&mut self) -> Outcome<Option<Vec<u8>>> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if self.reader.read_until(b'\n', &mut head)? == 0 {
                return if head.is_empty() { Ok(None) } else { Err("a request ends within its head".into()) };
            }
        }
        Ok(Some(head))
    }

    /// Reads a whole request; `None` if the connection ends.
    pub(crate) fn request(&mut self) -> Outcome<Option<Request>> {
        let Some(head) = self.head()? else { return Ok(None) };
        let (head, _) = RequestHead::parse(&head)?.ok_or("a request without a head")?;
        if head.headers.get("transfer-encoding").is_some() {
            return Err("a request does not tell its length".into());
        }
        let mut body = vec![0; usize::try_from(head.headers.number("content-length")?.unwrap_or(0))?];
        self.reader.read_exact(&mut body)?;
        let (method, target) = (head.method.to_owned(), head.target.to_owned());
        Ok(Some(Request { method, target, headers: head.headers.to_pairs(), body }))
    }

    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes.as_ref())
    }

    /// Answers with JSON, and announces the end of the connection.
    pub(crate) fn json(&mut self, status: u16, body: &Value) -> io::Result<()> {
        let body = body.to_string();
        let length = body.len().to_string();
        let headers = [("content-type", "application/json"), ("content-length", &length), CLOSE];
        self.write(reply_head(status, &headers) + &body)
    }

    /// Begins to answer with events, and announces the end of the connection.
    pub(crate) fn begin_events(&mut self) -> io::Result<()> {
        let headers = [("content-type", "text/event-stream"), ("transfer-encoding", "chunked"), CLOSE];
        self.write(reply_head(200, &headers))
    }

    /// Writes bytes of a chunked body as one chunk.
    pub(crate) fn chunk(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let mut framed = Vec::new();
        chunk(bytes.as_ref(), &mut framed);
        self.write(framed)
    }

    /// Ends a chunked body.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        self.write(LAST)
    }

    /// Waits for this long. Returns an error as soon as the other side disconnects.
    pub(crate) fn rest(&self, time: Duration) -> io::Result<()> {
        let (socket, began) = (self.socket(), Instant::now());
        while let Some(left) = time.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) {
            socket.set_read_timeout(Some(left))?;
            match socket.peek(&mut [0]) {
                // No client sends more before it has its answer, so anything that arrives ends the connection.
                Ok(_) => return Err(ErrorKind::ConnectionAborted.into()),
                Err(err) if matches!(err.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(err) => return Err(err),
            }
        }
        socket.set_read_timeout(None)
    }

    /// Waits until this connection may continue. Returns an error as soon as the other side disconnects.
    pub(crate) fn until(&self, mut may_go_on: impl FnMut() -> bool) -> io::Result<()> {
        while !may_go_on() {
            self.rest(GLANCE)?;
        }
        Ok(())
    }
}

/// Returns the head of a reply.
pub(crate) fn reply_head(status: u16, headers: &[(&str, &str)]) -> String {
    let headers = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
    format!("HTTP/1.1 {status} Whatever\r\n{}\r\n", headers.collect::<String>())
}
