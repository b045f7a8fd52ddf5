//! The loop that reads a response: bytes in, batches of events out, whatever the provider's dialect is.

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

/// Largest event that is taken, in bytes: real ones pass 16 KiB (signatures, grounding), none a MiB. Read as JSON it may
/// take many times as much memory.
const MAX_EVENT_BYTES: usize = 4 << 20;

/// Longest time that is waited for what may follow a complete answer: counts, an error, the end of the body.
const AFTERWORD: Duration = Duration::from_secs(5);

/// Whether the upstream has said that its answer is complete. The end of the body is looked at apart from this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It has not: what breaks off or falls silent now is a cut.
    Unsaid,
    /// It has, in words that some models write before the end, too. A connection that breaks now, or stays silent nearly as
    /// long as the idle limit allows, is the end of the answer.
    Tentative,
    /// It has: only counts or an error may follow. A connection that breaks now takes nothing away.
    Said,
}

impl Ending {
    /// Returns how long silence is waited out before it is the end of the answer, which is before the idle limit passes.
    fn patience(self, idle_timeout: Duration) -> Option<Duration> {
        match self {
            Self::Unsaid => None,
            Self::Tentative => Some(idle_timeout.mul_f64(0.8)),
            Self::Said => Some(AFTERWORD.min(idle_timeout.mul_f64(0.5))),
        }
    }
}

/// The body of a response.
pub(super) type Body = LocalBoxStream<'static, Result<Bytes, PayloadError>>;

/// Makes sense of a body. The answer is complete once the batch holds [`UpstreamEvent::Finished`]; what the body
/// holds behind that is nobody's business.
pub trait BodyReader {
    /// Takes what one read brought.
    ///
    /// # Errors
    /// What the upstream says went wrong, or that it does not speak its provider's language. What was put into the
    /// batch before counts all the same.
    fn take(&mut self, bytes: &[u8], batch: &mut Batch) -> Result<(), UpstreamError>;

    /// The body has ended: says what it amounts to.
    ///
    /// # Errors
    /// When it amounts to no answer.
    fn finish(&mut self, batch: &mut Batch) -> Result<(), UpstreamError>;

    /// The connection broke: says what came before amounts to.
    ///
    /// # Errors
    /// When it was no whole answer.
    fn cut(&mut self, batch: &mut Batch) -> Result<(), UpstreamError>;

    /// Returns whether it was said that the answer is complete.
    fn ending(&self) -> Ending;
}

/// Makes sense of a body that is an event stream.
pub(super) trait EventReader {
    /// Takes an event, or a line that is none.
    ///
    /// # Errors
    /// As [`BodyReader::take`].
    fn take(&mut self, piece: Piece, batch: &mut Batch) -> Result<(), UpstreamError>;

    /// The body has ended.
    ///
    /// # Errors
    /// As [`BodyReader::finish`].
    fn finish(&mut self, batch: &mut Batch) -> Result<(), UpstreamError>;

    /// As [`BodyReader::ending`].
    fn ending(&self) -> Ending;
}

/// Reads a body as an event stream.
#[derive(Debug)]
pub(super) struct EventBody<R> {
    decoder: EventStreamDecoder,
    pieces: Vec<Piece>,
    reader: R,
}

impl<R: EventReader> EventBody<R> {
    /// Gives the events to `reader`.
    pub(super) fn new(reader: R) -> Self {
        Self { decoder: EventStreamDecoder::new(MAX_EVENT_BYTES), pieces: Vec::new(), reader }
    }

    fn take_pieces(&mut self, batch: &mut Batch) -> Result<(), UpstreamError> {
        self.pieces
            .drain(..)
            .try_for_each(|piece| if is_finished(batch) { Ok(()) } else { self.reader.take(piece, batch) })
    }

    /// Nothing more comes: takes the last event or line, which may be half of one.
    fn take_last_pieces(&mut self, batch: &mut Batch) -> Result<(), UpstreamError> {
        self.decoder.finish(&mut self.pieces);
        let may_be_ignored = self.reader.ending() == Ending::Said && !self.pieces.iter().any(may_be_error);
        match self.take_pieces(batch) {
            // Half of what follows the end, such as the counts.
            Err(UpstreamError::Invalid(_)) if may_be_ignored => Ok(()),
            // What the body ends in the middle of was cut: where a body ends with its connection, nothing else says so.
            Err(UpstreamError::Invalid(_)) => Err(UpstreamError::Disconnected),
            taken => taken,
        }
    }
}

/// Returns true if an event or a line, which may be cut, may tell of an error.
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
        } else if self.reader.ending() == Ending::Unsaid {
            Err(UpstreamError::Disconnected)
        } else {
            self.reader.finish(batch)
        }
    }

    fn ending(&self) -> Ending {
        self.reader.ending()
    }
}

struct Reading<R> {
    /// `None` once it is read to its end, or of no further interest.
    body: Option<Body>,
    reader: R,
    joiner: Joiner,
    /// What ends the call once the texts that came before it have been handed out.
    failed: Option<UpstreamError>,
    idle_timeout: Duration,
    /// The end of the wait for what follows a complete answer, and what it follows. Whatever follows does not put it off: it
    /// may be comments without end.
    afterword: Option<(Ending, Deadline)>,
}

/// The reader is never pinned.
impl<R> Unpin for Reading<R> {}

/// Reads a body to the end of its answer. `idle_timeout` is the limit that is laid around the call.
pub(super) fn events<R: BodyReader>(
    body: Body,
    reader: R,
    idle_timeout: Duration,
) -> impl Stream<Item = Result<Batch, UpstreamError>> {
    let joiner = Joiner::default();
    Reading { body: Some(body), reader, joiner, failed: None, idle_timeout, afterword: None }
}

/// By hand, since this runs for each chunk of each task: as an async block it would be moved about with all that it
/// holds.
impl<R: BodyReader> Stream for Reading<R> {
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
            // A server that holds the connection open behind a complete answer has nothing more to say.
            Poll::Pending => {
                let ending = this.reader.ending();
                let Some(patience) = ending.patience(this.idle_timeout) else {
                    this.afterword = None;
                    return Poll::Pending;
                };
                let (_, deadline) = match &mut this.afterword {
                    Some(afterword) if afterword.0 == ending => afterword,
                    afterword => afterword.insert((ending, Deadline::after(patience))),
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
                    // A connection whose body was read to its end serves the next call; the end has mostly come
                    // with the last bytes, and is not waited for.
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
            // Not to be asked again after its end: awc panics.
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
            // One read may bring a text and an error: how the network cut the bytes must not decide whether
            // the text is published.
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
