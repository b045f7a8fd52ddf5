//! Follows a task's stream to its end, over as many connections as needed, without lost or repeated chunks.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::{Instant, sleep};

use super::patience::Patience;
use super::problem::Problem;
use super::replies::{Chunk, ErrorBody, TaskError};
use super::server::{Server, StreamBody};
use crate::deadline::timeout;
use crate::wire::event_stream::{EventStreamDecoder, Piece};

/// Largest event that is accepted, in bytes.
const MAX_EVENT_BYTES: usize = 64 << 20;
/// Longest silence of a connection. A server sends a keep-alive at least every 15 s, so a silent one is unreachable.
const SILENCE: Duration = Duration::from_secs(60);
/// How long a lost stream is retried while no connection lasts and no chunk arrives.
const BOUND: Duration = Duration::from_secs(300);

/// An event of a task, as its follower sees it.
#[derive(Debug)]
pub enum Heard {
    /// The next chunk.
    Chunk(Chunk),
    /// The connection is lost, and will be opened again after this pause.
    Lost(Problem, Duration),
    /// A lost connection is open again.
    Back,
    /// The stream is not available: it never existed, or is no longer kept. The task can be requested instead.
    NoStream,
    /// The task ended before the requested chunk. The task can be requested for its outcome.
    Ended,
    /// The task has completed.
    Done,
    /// The task has failed.
    Failed(TaskError),
}

/// A reader of one task's stream.
#[derive(Debug)]
pub struct Following<'a> {
    server: &'a Server,
    task: &'a str,
    /// The number of the next chunk. Chunks are numbered without gaps, so they are counted.
    next: u64,
    connection: Connection,
    patience: Patience,
}

enum Connection {
    /// No connection; the pause before the next one.
    Lost(Duration),
    /// An open connection, since this time.
    Open { since: Instant, body: StreamBody, decoder: Box<EventStreamDecoder>, found: VecDeque<Piece> },
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lost(pause) => write!(f, "Lost({pause:?})"),
            Self::Open { found, .. } => write!(f, "Open({} unread)", found.len()),
        }
    }
}

impl<'a> Following<'a> {
    /// Creates a reader that begins with this chunk.
    #[must_use]
    pub fn new(server: &'a Server, task: &'a str, from: u64) -> Self {
        let (connection, patience) = (Connection::Lost(Duration::ZERO), Patience::of(BOUND));
        Self { server, task, next: from, connection, patience }
    }

    /// Returns the number of the next chunk, where another reader would continue.
    #[must_use]
    pub fn next_chunk(&self) -> u64 {
        self.next
    }

    /// Returns the next event.
    ///
    /// # Errors
    /// When no event will follow: the server refuses the request, or was unreachable for too long.
    pub async fn hear(&mut self) -> Result<Heard, Problem> {
        loop {
            match &mut self.connection {
                Connection::Lost(pause) => {
                    sleep(*pause).await;
                    let again = !pause.is_zero();
                    match self.server.stream(self.task, self.next).await {
                        Ok(None) => return Ok(Heard::Ended),
                        Ok(Some(body)) => {
                            let decoder = Box::new(EventStreamDecoder::new(MAX_EVENT_BYTES));
                            self.connection = Connection::Open {
                                since: Instant::now(),
                                body,
                                decoder,
                                found: VecDeque::new(),
                            };
                            if again {
                                return Ok(Heard::Back);
                            }
                        }
                        Err(problem)
                            if matches!(problem.code(), Some("stream_expired" | "stream_not_enabled")) =>
                        {
                            return Ok(Heard::NoStream);
                        }
                        Err(problem) => return self.lost(problem),
                    }
                }
                Connection::Open { since, body, decoder, found } => {
                    if let Some(piece) = found.pop_front() {
                        if let Some(heard) = self.read(piece)? {
                            return Ok(heard);
                        }
                        continue;
                    }
                    let cut = match timeout(SILENCE, body.next()).await {
                        Ok(Some(Ok(bytes))) => {
                            self.patience.put_off(*since);
                            let mut pieces = Vec::new();
                            let fed = decoder.feed(&bytes, &mut pieces);
                            found.extend(pieces);
                            fed.map_err(|err| Problem::Strange(err.to_string()))?;
                            continue;
                        }
                        // A stream that ends without an end event was cut. A half-received event is read again.
                        Ok(Some(Err(_)) | None) => "the connection broke".to_owned(),
                        Err(_) => format!("nothing was received for {} s", SILENCE.as_secs()),
                    };
                    return self.lost(Problem::Cut(cut));
                }
            }
        }
    }

    fn lost(&mut self, problem: Problem) -> Result<Heard, Problem> {
        let pause = if problem.may_pass() { self.patience.pause(problem.retry_after()) } else { None };
        let Some(pause) = pause else { return Err(problem) };
        self.connection = Connection::Lost(pause);
        Ok(Heard::Lost(problem, pause))
    }

    fn read(&mut self, piece: Piece) -> Result<Option<Heard>, Problem> {
        let Piece::Event { name, data } = piece else { return Ok(None) };
        let strange = |_| Problem::Strange(format!("it sends {name:?} events that are not hearken's"));
        Ok(match name.as_str() {
            "chunk" => {
                let chunk = serde_json::from_str(&data).map_err(strange)?;
                self.next += 1;
                self.patience.renew();
                Some(Heard::Chunk(chunk))
            }
            "done" => Some(Heard::Done),
            "error" => Some(Heard::Failed(serde_json::from_str::<ErrorBody>(&data).map_err(strange)?.error)),
            // A newer server may send events that this version does not know.
            _ => None,
        })
    }
}
