//! The limits on an upstream's time, laid around any call: first chunk, idle, total. The connect limit is the
//! client's.
//!
//! A batch that says nothing is a sign of life: it counts against the idle limit, but it is no first chunk.

use futures_util::{StreamExt, stream};
use tokio::time::{Instant, timeout_at};

use super::{Stage, UpstreamError, UpstreamStream};
use crate::config::Timeouts;

struct Call {
    events: UpstreamStream,
    started: Instant,
    answered: bool,
}

/// The same stream, that fails when a stage passes its limit. The clock starts with the first poll.
#[must_use]
pub fn with_deadlines(events: UpstreamStream, timeouts: Timeouts) -> UpstreamStream {
    let start = move || Call { events, started: Instant::now(), answered: false };
    stream::once(async { start() })
        .flat_map(move |call| {
            stream::unfold(Some(call), move |call| async move {
                let mut call = call?;
                let now = Instant::now();
                let (stage, limit, until) = if call.answered {
                    (Stage::Idle, timeouts.idle, now + timeouts.idle)
                } else {
                    (Stage::FirstChunk, timeouts.first_chunk, call.started + timeouts.first_chunk)
                };
                let end = call.started + timeouts.total;
                match timeout_at(until.min(end), call.events.next()).await {
                    Ok(Some(Ok(batch))) => {
                        call.answered |= !batch.is_empty();
                        Some((Ok(batch), Some(call)))
                    }
                    Ok(Some(Err(err))) => Some((Err(err), None)),
                    Ok(None) => None,
                    Err(_) if end < until => {
                        Some((Err(UpstreamError::Timeout(Stage::Total, timeouts.total)), None))
                    }
                    Err(_) => Some((Err(UpstreamError::Timeout(stage, limit)), None)),
                }
            })
        })
        .boxed_local()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::task::answer::TextKind;
    use crate::upstream::{Batch, UpstreamEvent};

    const LIMITS: Timeouts = Timeouts {
        connect: Duration::from_secs(1),
        first_chunk: Duration::from_secs(10),
        idle: Duration::from_secs(4),
        total: Duration::from_secs(30),
        total_audio_factor: 0.0,
    };

    /// Batches that come after the given seconds each, then silence.
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
            (0, Some(UpstreamError::Timeout(Stage::FirstChunk, LIMITS.first_chunk)))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn signs_of_life_are_no_first_chunk() {
        let (batches, end) = outcome(vec![(4, vec![]), (4, vec![]), (4, vec![])]).await;
        assert_eq!((batches, end), (2, Some(UpstreamError::Timeout(Stage::FirstChunk, LIMITS.first_chunk))));
    }

    #[tokio::test(start_paused = true)]
    async fn signs_of_life_renew_the_idle_limit() {
        let (batches, end) = outcome(vec![(9, text()), (3, vec![]), (3, text()), (5, text())]).await;
        assert_eq!((batches, end), (3, Some(UpstreamError::Timeout(Stage::Idle, LIMITS.idle))));
    }

    #[tokio::test(start_paused = true)]
    async fn an_endless_answer_ends_at_the_total_limit() {
        let (batches, end) = outcome((0..100).map(|_| (1, text())).collect()).await;
        assert!((29..=30).contains(&batches), "{batches}");
        assert_eq!(end, Some(UpstreamError::Timeout(Stage::Total, LIMITS.total)));
    }
}
