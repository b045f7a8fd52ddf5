//! Enforces the time limits of an upstream call: first chunk, idle, total. The HTTP client enforces the connect limit.
//!
//! An empty batch counts for the idle limit, but it is not a first chunk. Each limit is a [`Deadline`]: data that waits
//! in the socket is read before the limit is checked, and a freeze of this process extends the limit.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::{Stream, StreamExt};

use super::{Batch, CallStage, UpstreamError, UpstreamEvent, UpstreamStream};
use crate::deadline::{Deadline, Moment};

/// The time limits for the stages of an upstream call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timeouts {
    /// The limit for name look-up, TCP and TLS.
    pub connect: Duration,
    /// The limit from the start of the call to the first event of the answer.
    pub first_chunk: Duration,
    /// The limit between two pieces of a stream.
    pub idle: Duration,
    /// The limit of the whole call, for short audio or audio of unknown duration.
    pub total: Duration,
    /// The limit of the whole call, in seconds per second of audio. Used if the duration is known and this limit is
    /// longer than `total`; 0 to 1000.
    pub total_audio_factor: f64,
}

impl Timeouts {
    /// Returns the limit of the whole call for audio of this duration, if it is known.
    #[must_use]
    pub fn total_for(&self, audio: Option<Duration>) -> Duration {
        let seconds = audio.map_or(0.0, |audio| audio.as_secs_f64() * self.total_audio_factor);
        self.total.max(Duration::try_from_secs_f64(seconds).unwrap_or(self.total))
    }
}

/// Returns the stream with time limits: it fails when a stage exceeds its limit. The clock starts with the first poll.
#[must_use]
pub fn with_deadlines(events: UpstreamStream, timeouts: Timeouts) -> UpstreamStream {
    Box::pin(Limited { events: Some(events), timeouts, clock: None })
}

struct Limited {
    /// `None` after the end.
    events: Option<UpstreamStream>,
    timeouts: Timeouts,
    clock: Option<CallClock>,
}

struct CallClock {
    /// The end of the total limit.
    end: Moment,
    /// The end of the present stage's limit.
    until: Moment,
    answered: bool,
    /// The earlier of the two ends. One timer serves the whole call: resetting it is far cheaper than making one for
    /// each chunk.
    deadline: Deadline,
}

impl CallClock {
    fn start(timeouts: &Timeouts) -> Self {
        let deadline = Deadline::after(timeouts.first_chunk.min(timeouts.total));
        let now = deadline.now();
        Self { end: now + timeouts.total, until: now + timeouts.first_chunk, answered: false, deadline }
    }

    /// Returns true if the batch came in time. The timer never fires if an upstream never pauses, even if it sends only
    /// empty batches, so the time is checked here, too. The end of an answer always counts as in time.
    fn is_in_time(&mut self, batch: &Batch, timeouts: &Timeouts) -> bool {
        self.answered |= !batch.is_empty();
        if self.answered {
            self.until = self.deadline.now() + timeouts.idle;
            self.deadline.reset(self.until.min(self.end));
        }
        !self.deadline.is_passed() || matches!(batch.last(), Some(UpstreamEvent::Finished { .. }))
    }

    /// Returns the error for the limit that has passed.
    fn passed(&self, timeouts: &Timeouts) -> UpstreamError {
        if self.end < self.until {
            UpstreamError::Timeout(CallStage::Total, timeouts.total)
        } else if self.answered {
            UpstreamError::Timeout(CallStage::Idle, timeouts.idle)
        } else {
            UpstreamError::Timeout(CallStage::FirstChunk, timeouts.first_chunk)
        }
    }
}

impl Stream for Limited {
    type Item = Result<Batch, UpstreamError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { events, timeouts, clock } = &mut *self;
        let Some(stream) = events else { return Poll::Ready(None) };
        let clock = clock.get_or_insert_with(|| CallClock::start(timeouts));
        let next = match stream.poll_next_unpin(cx) {
            Poll::Ready(Some(Ok(batch))) if clock.is_in_time(&batch, timeouts) => Some(Ok(batch)),
            Poll::Ready(Some(Ok(_))) => Some(Err(clock.passed(timeouts))),
            Poll::Ready(next) => next,
            Poll::Pending => {
                ready!(clock.deadline.poll_passed(cx));
                Some(Err(clock.passed(timeouts)))
            }
        };
        if !matches!(next, Some(Ok(_))) {
            // This is the last item. The connection is closed now, even if the caller drops this stream later.
            *events = None;
        }
        Poll::Ready(next)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::stream;

    use super::*;
    use crate::task::TextKind;

    const LIMITS: Timeouts = Timeouts {
        connect: Duration::from_secs(1),
        first_chunk: Duration::from_secs(10),
        idle: Duration::from_secs(4),
        total: Duration::from_secs(30),
        total_audio_factor: 0.0,
    };

    /// Returns the outcome of batches that come after the given seconds each, followed by silence.
    async fn outcome(script: Vec<(u64, Batch)>) -> (usize, Option<UpstreamError>) {
        let events = stream::iter(script)
            .then(|(seconds, batch)| async move {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                Ok(batch)
            })
            .chain(stream::pending())
            .boxed_local();
        let mut limited = with_deadlines(events, LIMITS);
        let mut batches = 0;
        while let Some(item) = limited.next().await {
            match item {
                Ok(_) => batches += 1,
                Err(err) => return (batches, Some(err)),
            }
        }
        (batches, None)
    }

    fn text() -> Batch {
        vec![UpstreamEvent::Text(TextKind::Content, "x".into())]
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_at_the_first_chunk_limit() {
        assert_eq!(
            outcome(vec![]).await,
            (0, Some(UpstreamError::Timeout(CallStage::FirstChunk, LIMITS.first_chunk)))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_that_came_during_a_freeze_is_in_time() {
        for (is_answered, limits) in
            [(false, LIMITS), (true, LIMITS), (true, Timeouts { total: LIMITS.idle / 2, ..LIMITS })]
        {
            let (sender, mut receiver) = tokio::sync::mpsc::channel(4);
            let events = stream::poll_fn(move |cx| receiver.poll_recv(cx)).boxed_local();
            let mut limited = with_deadlines(events, limits);
            if is_answered {
                sender.send(Ok(text())).await.unwrap();
                assert!(limited.next().await.unwrap().is_ok());
            }
            assert!(futures_util::poll!(limited.next()).is_pending());
            tokio::time::advance(LIMITS.total * 2).await;
            // The timers fire before the event loop has looked at its sockets.
            assert!(futures_util::poll!(limited.next()).is_pending());
            sender.send(Ok(text())).await.unwrap();
            assert_eq!(limited.next().await, Some(Ok(text())), "{is_answered}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn signs_of_life_are_not_a_first_chunk() {
        let (batches, end) = outcome(vec![(4, vec![]), (4, vec![]), (4, vec![])]).await;
        assert_eq!(
            (batches, end),
            (2, Some(UpstreamError::Timeout(CallStage::FirstChunk, LIMITS.first_chunk)))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn signs_of_life_renew_the_idle_limit() {
        let (batches, end) = outcome(vec![(9, text()), (3, vec![]), (3, text()), (5, text())]).await;
        assert_eq!((batches, end), (3, Some(UpstreamError::Timeout(CallStage::Idle, LIMITS.idle))));
    }

    #[tokio::test(start_paused = true)]
    async fn an_endless_answer_ends_at_the_total_limit() {
        let (batches, end) = outcome((0..100).map(|_| (1, text())).collect()).await;
        assert!((29..=30).contains(&batches), "{batches}");
        assert_eq!(end, Some(UpstreamError::Timeout(CallStage::Total, LIMITS.total)));
    }

    #[tokio::test]
    async fn an_upstream_that_never_pauses_still_has_limits() {
        let short = Duration::from_millis(30);
        let limits = Timeouts { first_chunk: short, ..LIMITS };
        let mut nothing = with_deadlines(stream::repeat(Ok(vec![])).boxed_local(), limits);
        while let Some(Ok(_)) = nothing.next().await {}
        let limits = Timeouts { total: short, ..LIMITS };
        let mut endless = with_deadlines(stream::repeat(Ok(text())).boxed_local(), limits);
        let end = loop {
            if let Err(err) = endless.next().await.unwrap() {
                break err;
            }
        };
        assert_eq!(end, UpstreamError::Timeout(CallStage::Total, short));
        assert!(nothing.next().await.is_none() && endless.next().await.is_none());
    }
}
