//! HTTP as the simulation needs it: one request per connection, and an exact report of whether an answer was complete
//! or broke off.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub(crate) use crate::kit::reply::Reply;
pub(crate) use crate::kit::request::Request;
use crate::kit::response::Response;
use crate::kit::stream::{Frame, Item, Stream};

/// An answer counts as broken after this silence.
const PATIENCE: Duration = Duration::from_secs(70);
const READ_BYTES: usize = 16 * 1024;

/// The connection broke, or was never established. The text says where.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) String);

/// The body of an answer as it arrives.
#[derive(Debug)]
pub(crate) struct Body {
    socket: TcpStream,
    response: Response,
    unread: Vec<u8>,
}

/// The reader of a stream.
#[derive(Debug)]
pub(crate) struct Frames {
    body: Body,
    stream: Stream,
}

/// The next item of a stream.
#[derive(Debug)]
pub(crate) enum Next {
    Frame(Frame),
    /// The body has ended as its framing requires.
    End,
    /// The connection broke. A frame that was received only in part does not count.
    Broken(Broken),
    /// This is not a stream of hearken's.
    Malformed(String),
}

/// Begins a request on a connection of its own.
pub(crate) fn request(method: &str, path: &str, key: &str) -> Request {
    Request::new(method, path, "hearken").key(key).header("connection", "close")
}

/// Sends a request and reads the head of its answer: a reply without a body.
pub(crate) async fn open(address: SocketAddr, request: &Request) -> Result<(Reply, Body), Broken> {
    let broken = |what: &str, err: std::io::Error| Broken(format!("{what}: {err}"));
    let mut socket = TcpStream::connect(address).await.map_err(|err| broken("connect", err))?;
    let _ = socket.set_nodelay(true);
    socket.write_all(&request.bytes()).await.map_err(|err| broken("send", err))?;
    let mut body = Body { socket, response: Response::new(), unread: Vec::new() };
    while !body.response.has_begun() {
        body.fill().await?;
    }
    let head = body.response.head().map_err(|err| Broken(err.to_string()))?;
    let head = Reply::new(&head, Vec::new());
    Ok((head, body))
}

/// Sends a request and reads its whole answer.
pub(crate) async fn call(address: SocketAddr, request: &Request) -> Result<Reply, Broken> {
    let (head, body) = open(address, request).await?;
    rest(head, body).await
}

/// Reads the rest of an answer.
pub(crate) async fn rest(head: Reply, mut body: Body) -> Result<Reply, Broken> {
    while !body.response.has_ended() {
        body.fill().await?;
    }
    if str::from_utf8(&body.unread).is_err() {
        return Err(Broken("a body that is no text".to_owned()));
    }
    Ok(Reply { body: body.unread, ..head })
}

impl Body {
    /// Reads more of the answer.
    async fn fill(&mut self) -> Result<(), Broken> {
        let mut piece = Vec::with_capacity(READ_BYTES);
        let Self { socket, response, unread } = self;
        let taken = match timeout(PATIENCE, socket.read_buf(&mut piece)).await {
            Ok(Ok(0)) => response.close(),
            Ok(Ok(_)) => response.take(&piece, |data| unread.extend_from_slice(data)),
            Ok(Err(err)) => Err(err.into()),
            Err(_) => Err("nothing arrives".into()),
        };
        taken.map_err(|err| Broken(format!("read: {err}")))
    }
}

impl Frames {
    /// Reads a stream whose first frame has this id.
    pub(crate) fn new(mut body: Body, first: u64) -> Self {
        let mut stream = Stream::from(first);
        stream.take(&std::mem::take(&mut body.unread));
        Self { body, stream }
    }

    pub(crate) async fn next(&mut self) -> Next {
        loop {
            match self.stream.next() {
                Ok(Some(Item::Frame(frame))) => return Next::Frame(frame),
                Ok(Some(Item::Comment)) => continue,
                Ok(None) => {}
                Err(text) => return Next::Malformed(text),
            }
            if self.body.response.has_ended() {
                let unread = String::from_utf8_lossy(self.stream.unread());
                return if unread.is_empty() {
                    Next::End
                } else {
                    Next::Malformed(format!("ends within {unread:?}"))
                };
            }
            if let Err(broken) = self.body.fill().await {
                return Next::Broken(broken);
            }
            self.stream.take(&std::mem::take(&mut self.body.unread));
        }
    }
}
