//! Reads a task's stream to its end, over as many connections as needed, without lost or repeated chunks.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::{Instant, sleep};

use super::backoff::Backoff;
use super::call_error::CallError;
use super::replies::{Chunk, ErrorBody, TaskError};
use super::server::{Server, StreamBody};
use crate::deadline::timeout;
use crate::wire::event_stream::{EventStreamDecoder, Piece};

/// Largest event that is accepted, in bytes.
const MAX_EVENT_BYTES: usize = 64 << 20;
/// Longest silence of a connection. By default, a server sends a keep-alive at least every 15 s, so a longer silence
/// means that the connection is lost.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a lost stream is retried while no connection lasts and no chunk arrives.
const RETRY_LIMIT: Duration = Duration::from_secs(300);

/// An event while a task's stream is read.
#[derive(Debug)]
pub enum StreamEvent {
    /// The next chunk.
    Chunk(Chunk),
    /// The connection is lost. It is opened again after this pause.
    Lost(CallError, Duration),
    /// A lost connection is open again.
    Resumed,
    /// The task has no stream: it was submitted without one, or its chunks are no longer stored. The whole task can be
    /// requested.
    NoStream,
    /// The task ended before the requested chunk. The whole task can be requested.
    EndedBefore,
    /// The task has completed.
    Completed,
    /// The task has failed.
    Failed(TaskError),
}

/// A reader of one task's stream.
#[derive(Debug)]
pub struct StreamReader<'a> {
    server: &'a Server,
    task: &'a str,
    /// The number of the next chunk. Chunks are numbered without gaps, so they are counted.
    next: u64,
    connection: Connection,
    backoff: Backoff,
}

enum Connection {
    /// There is no connection. The next one is opened after this pause.
    Lost(Duration),
    /// The connection is open since this time.
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

impl<'a> StreamReader<'a> {
    /// Creates a reader that begins with this chunk.
    #[must_use]
    pub fn new(server: &'a Server, task: &'a str, from: u64) -> Self {
        let (connection, backoff) = (Connection::Lost(Duration::ZERO), Backoff::of(RETRY_LIMIT));
        Self { server, task, next: from, connection, backoff }
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
    pub async fn next_event(&mut self) -> Result<StreamEvent, CallError> {
        loop {
            match &mut self.connection {
                Connection::Lost(pause) => {
                    sleep(*pause).await;
                    let again = !pause.is_zero();
                    match self.server.stream(self.task, self.next).await {
                        Ok(None) => return Ok(StreamEvent::EndedBefore),
                        Ok(Some(body)) => {
                            let decoder = Box::new(EventStreamDecoder::new(MAX_EVENT_BYTES));
                            self.connection = Connection::Open {
                                since: Instant::now(),
                                body,
                                decoder,
                                found: VecDeque::new(),
                            };
                            if again {
                                return Ok(StreamEvent::Resumed);
                            }
                        }
                        Err(problem)
                            if matches!(problem.code(), Some("stream_expired" | "stream_not_enabled")) =>
                        {
                            return Ok(StreamEvent::NoStream);
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
                    let cut = match timeout(SILENCE_TIMEOUT, body.next()).await {
                        Ok(Some(Ok(bytes))) => {
                            self.backoff.extend_if_lasting(*since);
                            let mut pieces = Vec::new();
                            let fed = decoder.feed(&bytes, &mut pieces);
                            found.extend(pieces);
                            fed.map_err(|err| CallError::NotHearken(err.to_string()))?;
                            continue;
                        }
                        // A stream that ends without a last event was cut off. A half-received event is requested
                        // again.
                        Ok(Some(Err(_)) | None) => "the connection broke".to_owned(),
                        Err(_) => format!("nothing was received for {} s", SILENCE_TIMEOUT.as_secs()),
                    };
                    return self.lost(CallError::Disconnected(cut));
                }
            }
        }
    }

    fn lost(&mut self, problem: CallError) -> Result<StreamEvent, CallError> {
        let pause =
            if problem.may_succeed_later() { self.backoff.pause(problem.retry_after()) } else { None };
        let Some(pause) = pause else { return Err(problem) };
        self.connection = Connection::Lost(pause);
        Ok(StreamEvent::Lost(problem, pause))
    }

    fn read(&mut self, piece: Piece) -> Result<Option<StreamEvent>, CallError> {
        let Piece::Event { name, data } = piece else { return Ok(None) };
        let strange = |_| CallError::NotHearken(format!("it sends {name:?} events that are not hearken's"));
        Ok(match name.as_str() {
            "chunk" => {
                let chunk = serde_json::from_str(&data).map_err(strange)?;
                self.next += 1;
                self.backoff.reset();
                Some(StreamEvent::Chunk(chunk))
            }
            "done" => Some(StreamEvent::Completed),
            "error" => {
                Some(StreamEvent::Failed(serde_json::from_str::<ErrorBody>(&data).map_err(strange)?.error))
            }
            // A newer server may send events that this version does not know.
            _ => None,
        })
    }
}
