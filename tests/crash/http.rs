//! HTTP as the simulation needs it: one request per connection, and an exact word on whether an answer came
//! whole or broke off.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest silence before an answer counts as broken.
const PATIENCE: Duration = Duration::from_secs(70);

/// The connection broke, or never was; the text says where.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) String);

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    head: String,
    body: String,
}

/// The head of an answer.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) head: Head,
    pub(crate) body: String,
}

/// The body of an answer as it comes.
#[derive(Debug)]
pub(crate) struct Body {
    socket: TcpStream,
    unread: Vec<u8>,
    framing: Framing,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Framing {
    /// So many bytes are to come.
    Length(usize),
    Chunked,
    Ended,
}

impl Request {
    pub(crate) fn new(method: &str, path: &str, key: &str) -> Self {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: hearken\r\nauthorization: Bearer {key}\r\nconnection: close\r\n"
        );
        Self { head, body: String::new() }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.head += &format!("{name}: {value}\r\n");
        self
    }

    pub(crate) fn json(self, body: String) -> Self {
        Self { body, ..self }.header("content-type", "application/json")
    }

    fn bytes(&self) -> Vec<u8> {
        format!("{}content-length: {}\r\n\r\n{}", self.head, self.body.len(), self.body).into_bytes()
    }
}

impl Head {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// Sends a request and reads the head of its answer.
pub(crate) async fn open(address: SocketAddr, request: &Request) -> Result<(Head, Body), Broken> {
    let broken = |what: &str, err: std::io::Error| Broken(format!("{what}: {err}"));
    let mut socket = TcpStream::connect(address).await.map_err(|err| broken("connect", err))?;
    let _ = socket.set_nodelay(true);
    socket.write_all(&request.bytes()).await.map_err(|err| broken("send", err))?;
    let mut body = Body { socket, unread: Vec::new(), framing: Framing::Ended };
    loop {
        body.fill().await?;
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(&body.unread).map_err(|err| Broken(format!("a bad head: {err}")))?;
        let httparse::Status::Complete(length) = parsed else { continue };
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let headers = response.headers.iter().map(|header| (header.name.to_owned(), text(header.value)));
        let head = Head { status: response.code.unwrap_or_default(), headers: headers.collect() };
        body.unread.drain(..length);
        body.framing = match head.header("content-length") {
            Some(length) => Framing::Length(length.parse().map_err(|_| Broken("a bad length".to_owned()))?),
            None if head.header("transfer-encoding") == Some("chunked") => Framing::Chunked,
            None => Framing::Ended,
        };
        return Ok((head, body));
    }
}

/// Sends a request and reads its whole answer.
pub(crate) async fn call(address: SocketAddr, request: &Request) -> Result<Reply, Broken> {
    let (head, body) = open(address, request).await?;
    rest(head, body).await
}

/// Reads the rest of an answer.
pub(crate) async fn rest(head: Head, mut body: Body) -> Result<Reply, Broken> {
    let mut bytes = Vec::new();
    while let Some(piece) = body.next().await? {
        bytes.extend(piece);
    }
    let body = String::from_utf8(bytes).map_err(|_| Broken("a body that is no text".to_owned()))?;
    Ok(Reply { head, body })
}

impl Body {
    /// The next piece; `None` at the end that the framing tells.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        match self.framing {
            Framing::Ended => Ok(None),
            Framing::Length(0) => {
                self.framing = Framing::Ended;
                Ok(None)
            }
            Framing::Length(left) => {
                if self.unread.is_empty() {
                    self.fill().await?;
                }
                let taken = left.min(self.unread.len());
                self.framing = Framing::Length(left - taken);
                Ok(Some(self.unread.drain(..taken).collect()))
            }
            Framing::Chunked => self.chunk().await,
        }
    }

    async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        loop {
            let parsed = httparse::parse_chunk_size(&self.unread)
                .map_err(|_| Broken("a bad chunk size".to_owned()))?;
            if let httparse::Status::Complete((start, size)) = parsed {
                let end = start + usize::try_from(size).map_err(|_| Broken("a huge chunk".to_owned()))?;
                if self.unread.len() >= end + 2 {
                    let chunk = self.unread[start..end].to_vec();
                    self.unread.drain(..end + 2);
                    if chunk.is_empty() {
                        self.framing = Framing::Ended;
                        return Ok(None);
                    }
                    return Ok(Some(chunk));
                }
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<(), Broken> {
        match timeout(PATIENCE, self.socket.read_buf(&mut self.unread)).await {
            Ok(Ok(0)) => Err(Broken("closed in the middle".to_owned())),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(err)) => Err(Broken(format!("read: {err}"))),
            Err(_) => Err(Broken("nothing comes".to_owned())),
        }
    }
}
