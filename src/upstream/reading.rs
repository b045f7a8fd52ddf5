//! The loop that reads a response: it turns bytes into batches of events, for every provider's dialect.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use awc::error::PayloadError;
use bytes::Bytes;
use futures_util::stream::LocalBoxStream;
use futures_util::{Stream, StreamExt};

use super::client::broken_off;
use super::surrogates::Joiner;
use super::{Batch, UpstreamError, UpstreamEvent};
use crate::deadline::Deadline;
use crate::wire::event_stream::{EventStreamDecoder, Piece};

/// Largest event that is accepted, in bytes. Real events exceed 16 KiB (signatures, grounding), but none reaches a MiB.
/// Parsed as JSON, an event may take many times as much memory.
const MAX_EVENT_BYTES: usize = 4 << 20;

/// The longest wait after a complete answer for its counts, an error, or the end of the body.
const LONGEST_WAIT_AFTER_END: Duration = Duration::from_secs(5);

/// Whether the upstream has declared its answer complete. The end of the body is checked separately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerEnd {
    /// The answer was not declared complete. If the connection breaks or stays silent now, the answer is cut.
    NotDeclared,
    /// The answer was declared complete, but in words that some models also send earlier. If the connection breaks now,
    /// or stays silent for nearly as long as the idle limit allows, the answer has ended.
    Tentative,
    /// The answer was declared complete: only counts or an error may follow. A connection that breaks now loses
    /// nothing.
    Declared,
}

impl AnswerEnd {
    /// Returns how long silence must last to be the end of the answer. This is shorter than the idle limit.
    fn silence_limit(self, idle_timeout: Duration) -> Option<Duration> {
        match self {
            Self::NotDeclared => None,
            Self::Tentative => Some(idle_timeout.mul_f64(0.8)),
            Self::Declared => Some(LONGEST_WAIT_AFTER_END.min(idle_timeout.mul_f64(0.5))),
        }
    }
}

/// The body of a response.
pub(super) type ResponseBody = LocalBoxStream<'static, Result<Bytes, PayloadError>>;

/// Reads a body. The answer is complete once the batch holds [`UpstreamEvent::Finished`]; the rest of the body is
/// ignored.
pub trait BodyReader {
    /// Takes the bytes of one read.
    ///
    /// # Errors
    /// The failure that the upstream reports, or that the bytes are not in the provider's dialect. Events that were put
    /// into the batch before count all the same.
    fn take(&mut self, bytes: &[u8], batch: &mut Batch) -> Result<(), UpstreamError>;

    /// Decides at the end of the body whether the answer is complete.
    ///
    /// # Errors
    /// If the body is not an answer.
    fn finish(&mut self, batch: &mut Batch) -> Result<(), UpstreamError>;

    /// Decides whether the part that arrived before the connection broke is a whole answer.
    ///
    /// # Errors
    /// If it was not a whole answer.
    fn cut(&mut self, batch: &mut Batch) -> Result<(), UpstreamError>;

    /// Returns whether the answer was declared complete.
    fn answer_end(&self) -> AnswerEnd;
}

/// Reads a body that is an event stream.
pub(super) trait EventReader {
    /// Takes an event, or a line that is not an event.
    ///
    /// # Errors
    /// The errors of [`BodyReader::take`].
    fn take(&mut self, piece: Piece, batch: &mut Batch) -> Result<(), UpstreamError>;

    /// Decides at the end of the body whether the answer is complete.
    ///
    /// # Errors
    /// The errors of [`BodyReader::finish`].
    fn finish(&mut self, batch: &mut Batch) -> Result<(), UpstreamError>;

    /// Returns whether the answer was declared complete, as [`BodyReader::answer_end`] does.
    fn answer_end(&self) -> AnswerEnd;
}

/// Reads a body as an event stream.
#[derive(Debug)]
pub(super) struct EventBody<R> {
    decoder: EventStreamDecoder,
    pieces: Vec<Piece>,
    reader: R,
}

impl<R: EventReader> EventBody<R> {
    /// Returns a reader that passes the events to `reader`.
    pub(super) fn new(reader: R) -> Self {
        Self { decoder: EventStreamDecoder::new(MAX_EVENT_BYTES), pieces: Vec::new(), reader }
    }

    fn take_pieces(&mut self, batch: &mut Batch) -> Result<(), UpstreamError> {
        self.pieces
            .drain(..)
            .try_for_each(|piece| if is_finished(batch) { Ok(()) } else { self.reader.take(piece, batch) })
    }

    /// Takes the last event or line of the body, which may be cut.
    fn take_last_pieces(&mut self, batch: &mut Batch) -> Result<(), UpstreamError> {
        self.decoder.finish(&mut self.pieces);
        let may_be_ignored =
            self.reader.answer_end() == AnswerEnd::Declared && !self.pieces.iter().any(may_be_error);
        match self.take_pieces(batch) {
            // The answer was complete before. The cut part is something that follows it, such as the counts.
            Err(UpstreamError::Invalid(_)) if may_be_ignored => Ok(()),
            // The body ends in the middle of an event or line: it was cut. If the end of the connection ends the body,
            // this is the only sign of a cut.
            Err(UpstreamError::Invalid(_)) => Err(UpstreamError::Disconnected),
            taken => taken,
        }
    }
}

/// Returns true if an event or a line, which may be cut, may report an error.
fn may_be_error(piece: &Piece) -> bool {
    match piece {
        Piece::Event { name, data } => name == "error" || data.contains("error"),
        Piece::Stray(_) => true,
    }
}

impl<R: EventReader> BodyReader for EventBody<R> {
    fn take(&mut self, bytes: &[u8], batch: &mut Batch) -> Result<(), UpstreamError> {
        let fed = self.decoder.feed(bytes, &mut self.pieces);
        self.take_pieces(batch)?;
        fed.map_err(|err| UpstreamError::Invalid(err.to_string()))
    }

    fn finish(&mut self, batch: &mut Batch) -> Result<(), UpstreamError> {
        self.take_last_pieces(batch)?;
        if is_finished(batch) { Ok(()) } else { self.reader.finish(batch) }
    }

    fn cut(&mut self, batch: &mut Batch) -> Result<(), UpstreamError> {
        self.take_last_pieces(batch)?;
        if is_finished(batch) {
            Ok(())
        } else if self.reader.answer_end() == AnswerEnd::NotDeclared {
            Err(UpstreamError::Disconnected)
        } else {
            self.reader.finish(batch)
        }
    }

    fn answer_end(&self) -> AnswerEnd {
        self.reader.answer_end()
    }
}

struct ResponseReading<R> {
    /// `None` once the body is read to its end or no longer needed.
    body: Option<ResponseBody>,
    reader: R,
    joiner: Joiner,
    /// The error that ends the call after the texts before it were returned.
    failed: Option<UpstreamError>,
    idle_timeout: Duration,
    /// The end of the wait for what follows a complete answer, and the kind of ending. Data that follows does not
    /// extend the wait: it may be endless comments.
    wait_after_end: Option<(AnswerEnd, Deadline)>,
}

/// The reader is never pinned.
impl<R> Unpin for ResponseReading<R> {}

/// Reads a body to the end of its answer. `idle_timeout` is the idle limit of the call.
pub(super) fn events<R: BodyReader>(
    body: ResponseBody,
    reader: R,
    idle_timeout: Duration,
) -> impl Stream<Item = Result<Batch, UpstreamError>> {
    let joiner = Joiner::default();
    ResponseReading { body: Some(body), reader, joiner, failed: None, idle_timeout, wait_after_end: None }
}

/// This stream is written by hand and not as an async block, which would be moved in memory together with everything
/// that it holds. It runs for each chunk of each task.
impl<R: BodyReader> Stream for ResponseReading<R> {
    type Item = Result<Batch, UpstreamError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some(err) = this.failed.take() {
            this.body = None;
            return Poll::Ready(Some(Err(err)));
        }
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let next = match body.poll_next_unpin(cx) {
            Poll::Ready(next) => next,
            // A server that keeps the connection open after a complete answer sends nothing more.
            Poll::Pending => {
                let answer_end = this.reader.answer_end();
                let Some(silence_limit) = answer_end.silence_limit(this.idle_timeout) else {
                    this.wait_after_end = None;
                    return Poll::Pending;
                };
                let (_, deadline) = match &mut this.wait_after_end {
                    Some(wait_after_end) if wait_after_end.0 == answer_end => wait_after_end,
                    wait_after_end => wait_after_end.insert((answer_end, Deadline::after(silence_limit))),
                };
                ready!(deadline.poll_passed(cx));
                None
            }
        };
        let mut batch = Batch::new();
        let taken = match next {
            Some(Ok(bytes)) => {
                let taken = this.reader.take(&bytes, &mut batch);
                if taken.is_ok() && is_finished(&batch) {
                    // A connection can serve the next call if its body was read to the end. The end usually arrives
                    // with the last bytes, so this does not wait for it.
                    let _ = body.poll_next_unpin(cx);
                    this.body = None;
                }
                taken
            }
            Some(Err(err)) => {
                let why = match err {
                    PayloadError::Io(err) | PayloadError::Incomplete(Some(err)) => broken_off(&err),
                    _ => UpstreamError::Disconnected,
                };
                this.body = None;
                this.reader.cut(&mut batch).map_err(|err| match err {
                    UpstreamError::Disconnected => why,
                    err => err,
                })
            }
            // The body must not be polled after its end: awc panics.
            None => {
                this.body = None;
                this.reader.finish(&mut batch)
            }
        };
        this.joiner.settle(&mut batch);
        Poll::Ready(Some(match taken {
            Ok(()) => Ok(batch),
            Err(err) if batch.is_empty() => {
                this.body = None;
                Err(err)
            }
            // One read may bring a text and an error. Whether the text is published must not depend on how the network
            // cut the bytes.
            Err(err) => {
                this.failed = Some(err);
                Ok(batch)
            }
        }))
    }
}

fn is_finished(batch: &Batch) -> bool {
    matches!(batch.last(), Some(UpstreamEvent::Finished { .. }))
}
