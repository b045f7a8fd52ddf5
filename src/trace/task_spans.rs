//! The spans of a task that has ended: the whole task, and below it the wait for a slot, the download of its audio and
//! each upstream call.

use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::otlp::{Parent, event, fail, flag, fraction, list_of, number, span, text};
use super::{Recorder, Traces};
use crate::task::{Attempt, Outcome, SpanPart, Task, Timeline, Timestamp};
use crate::upstream::{Callee, Server};
use crate::wire::completion::FinishReason;
use crate::wire::trace_context::TraceContext;

/// The outcome of a completed task or attempt, as the timeline names it.
const COMPLETED: &str = "completed";

/// A task that has ended, with its timeline and its outcome.
#[derive(Debug, Clone, Copy)]
pub struct EndedTask<'a> {
    /// The task.
    pub task: &'a Task,
    /// The times of the task's steps.
    pub timeline: &'a Timeline,
    /// The outcome of the task.
    pub outcome: &'a Outcome,
    /// Duration of the audio, if known.
    pub audio: Option<Duration>,
}

impl Traces {
    /// Records a task that has ended, if its trace is recorded.
    pub fn task_ended(&self, ended: EndedTask<'_>) {
        if let Some(recorder) = self.recorder(ended.task.trace.as_ref()) {
            recorder.queue.push(recorder.spans(ended));
        }
    }
}

impl Recorder {
    fn spans(&self, ended: EndedTask<'_>) -> Vec<Span> {
        let EndedTask { task, timeline, .. } = ended;
        let until = timeline.ended.unwrap_or_else(Timestamp::now);
        let Some(place) = task.span(SpanPart::Whole) else { return Vec::new() };
        let mut spans = vec![whole(ended, &place, until)];
        let below = Parent::Local(place.span_id);
        let child = |part, name: &str, moments| {
            task.span(part).map(|place| span(&place, below, SpanKind::Internal, name, moments))
        };
        let begun = [timeline.fetch_started, timeline.attempts.first().map(|attempt| attempt.started)];
        let begun = begun.into_iter().flatten().min().unwrap_or(until);
        spans.extend(child(SpanPart::Queue, "queue", (timeline.queued, begun)));
        if let Some(started) = timeline.fetch_started {
            let mut fetch =
                child(SpanPart::Fetch, "fetch audio", (started, timeline.fetched.unwrap_or(until)));
            if let (Some(fetch), None, Some(failure)) =
                (&mut fetch, timeline.fetched, ended.outcome.failure())
            {
                fail(fetch, failure.code.as_str());
            }
            spans.extend(fetch);
        }
        for (attempt, number) in timeline.attempts.iter().zip(1..) {
            spans.extend(self.call(ended, attempt, number, below, until));
        }
        // Only the last call can have answered, because no call follows an answer.
        if let (Some(at), Some(last)) = (timeline.first_answered, spans.last_mut()) {
            last.events.push(event("first chunk", at));
        }
        spans
    }

    fn call(
        &self,
        ended: EndedTask<'_>,
        attempt: &Attempt,
        number_of_call: usize,
        parent: Parent,
        until: Timestamp,
    ) -> Option<Span> {
        let EndedTask { task, .. } = ended;
        let model = &task.question.model;
        let place = task.span(SpanPart::Call { number: number_of_call, started: attempt.started })?;
        let moments = (attempt.started, attempt.ended.unwrap_or(until));
        // If the channel was removed from the configuration, only its name is known.
        let callee = self.callees.get(&attempt.channel);
        let (kind, name) = match callee {
            Some(Callee { operation, server: Some(_) }) => (SpanKind::Client, format!("{operation} {model}")),
            Some(Callee { operation, server: None }) => (SpanKind::Internal, format!("{operation} {model}")),
            None => (SpanKind::Client, format!("call {model}")),
        };
        let mut call = span(&place, parent, kind, name, moments);
        let outcome = attempt.outcome.as_deref().unwrap_or(COMPLETED);
        let mut attributes =
            vec![text("hearken.channel", &attempt.channel), number("hearken.call", number_of_call as u64)];
        if let Some(Callee { operation, server: Some(Server { provider, host, port }) }) = callee {
            attributes.extend([
                text("gen_ai.operation.name", *operation),
                text("gen_ai.provider.name", *provider),
                text("gen_ai.request.model", model),
                text("server.address", host),
            ]);
            attributes.extend(port.map(|port| number("server.port", port.into())));
            attributes.extend(task.question.max_tokens.map(|most| number("gen_ai.request.max_tokens", most)));
            let temperature = task.question.temperature;
            attributes.extend(temperature.map(|value| fraction("gen_ai.request.temperature", value)));
            if let (Outcome::Completed(completed), COMPLETED) = (ended.outcome, outcome) {
                attributes.extend([
                    number("gen_ai.usage.input_tokens", completed.usage.prompt_tokens),
                    number("gen_ai.usage.output_tokens", completed.usage.completion_tokens),
                    list_of("gen_ai.response.finish_reasons", finish_reason(completed.reason)),
                ]);
            }
        }
        let status = attempt.upstream_status;
        attributes.extend(status.map(|status| number("http.response.status_code", status.into())));
        call.attributes = attributes;
        if outcome != COMPLETED {
            fail(&mut call, outcome);
        }
        Some(call)
    }
}

fn whole(ended: EndedTask<'_>, place: &TraceContext, until: Timestamp) -> Span {
    let EndedTask { task, timeline, outcome, audio } = ended;
    let failure = outcome.failure();
    let parent = task.trace.as_ref().map_or(Parent::None, |trace| Parent::Local(trace.span_id));
    let mut whole = span(place, parent, SpanKind::Internal, "task", (timeline.queued, until));
    whole.attributes = vec![
        text("hearken.task.id", task.id.as_str()),
        text("hearken.task.model", &task.question.model),
        flag("hearken.task.stream", task.stream.is_some()),
        text("hearken.task.outcome", if failure.is_none() { COMPLETED } else { "failed" }),
        number("hearken.task.calls", timeline.attempts.len() as u64),
    ];
    // These attributes have names of hearken's own, so that a sum over the tokens of a trace counts only its calls.
    whole.attributes.extend(timeline.channel().map(|channel| text("hearken.task.channel", channel)));
    if let Some(usage) = outcome.usage() {
        whole.attributes.extend([
            number("hearken.task.prompt_tokens", usage.prompt_tokens),
            number("hearken.task.completion_tokens", usage.completion_tokens),
        ]);
    }
    whole.attributes.extend(audio.map(|audio| fraction("hearken.task.audio_seconds", audio.as_secs_f64())));
    if let Some(failure) = failure {
        fail(&mut whole, failure.code.as_str());
    }
    whole
}

fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::ContentFilter => "content_filter",
    }
}
