//! Sends the request of a call to the upstream, and returns the events of the call.

use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};

use crate::actors::dispatcher::Permit;
use crate::actors::task::TaskActor;
use crate::audio::Audio;
use crate::task::SpanPart;
use crate::upstream::{Batch, Terms, Timeouts, UpstreamError, UpstreamRequest, with_deadlines};
use crate::wire::trace_context::TraceContext;

impl TaskActor {
    /// Makes a call. It begins when the stream is polled, and ends with the first error. A stream that ends without a
    /// final event is an error, too.
    pub(super) fn open_call(
        &self,
        permit: &Permit,
        audio: &[Audio],
    ) -> impl Stream<Item = Result<Batch, UpstreamError>> + use<> {
        let channel = permit.channel();
        let request = UpstreamRequest {
            question: self.task.question.clone(),
            audio: audio.to_vec(),
            terms: Terms {
                connect_timeout: channel.timeouts.connect,
                idle_timeout: channel.timeouts.idle,
                trace: self.call_span(),
            },
            slot: permit.hold(),
        };
        let total = channel.timeouts.total_for(total_duration(audio.iter().map(Audio::plausible_duration)));
        let timeouts = Timeouts { total, ..channel.timeouts };
        let silence = stream::once(std::future::ready(Err(UpstreamError::Disconnected)));
        let events = with_deadlines(channel.upstream.call(request), timeouts).chain(silence);
        events.scan(false, |has_failed, said| {
            let next = (!*has_failed).then_some(said);
            *has_failed |= matches!(next, Some(Err(_)));
            std::future::ready(next)
        })
    }

    /// Returns the trace context for the upstream: the span of the call that is about to be made, which is the last one
    /// in the timeline. If that span is not recorded, this is the submitter's context: below a span that is not
    /// exported, the upstream's own spans would be orphans.
    fn call_span(&self) -> Option<TraceContext> {
        let trace = self.task.trace.as_ref();
        if !self.settings.traces.record(trace) {
            return trace.cloned();
        }
        let attempts = &self.timeline.attempts;
        let started = attempts.last()?.started;
        self.task.span(SpanPart::Call { number: attempts.len(), started })
    }
}

/// Adds up the known durations of the audio. Returns `None` if no duration is known.
pub(super) fn total_duration(durations: impl Iterator<Item = Option<Duration>>) -> Option<Duration> {
    durations.flatten().reduce(Duration::saturating_add)
}
