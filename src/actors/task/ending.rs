//! Ends a task. The end is recorded, then announced, logged, counted and traced, and the actor stops. A task that does
//! not end is left to the server's next start.

use actix::prelude::*;

use super::durable::record;
use super::{Departure, TaskActor};
use crate::error::ErrorCode;
use crate::metrics::Cause;
use crate::store::Ending;
use crate::task::{Chunks, Event, Outcome, Timestamp};
use crate::trace::EndedTask;

impl TaskActor {
    /// Records the end durably, then announces it.
    pub(super) fn record(&mut self, outcome: Outcome, ctx: &mut Context<Self>) {
        // Chunks that were not published because an actor crashed are part of the stream, too. Chunks that cannot be
        // shown yet are shown together with the end, which is durable.
        self.publish(true, ctx);
        let Some(outcome) = self.delay_end(outcome, ctx) else { return };
        let failed = outcome.failure().map(|failure| failure.code);
        self.measure_attempt(failed.map(Cause::Code));
        self.timeline.end(failed.map_or("completed", ErrorCode::as_str), Timestamp::now());
        let log = self.answer.log();
        // If the journal is not complete, the number of entries in the log is recorded instead. It does not match the
        // journal, so the stream will not be read from the journal.
        let journalled = self.publication.close().filter(|chunks| chunks.count == log.len());
        let chunks = || journalled.unwrap_or_else(|| Chunks::of(log.entries()));
        let chunks = self.task.stream.map(|_| chunks());
        let (progress, timeline) = (self.progress.at_end(), self.timeline.clone());
        let ending = Ending { outcome, progress, timeline, chunks };
        let log = log.handle();
        // The end is recorded, so the task is no longer stalled.
        log.stall(false);
        let recorded = record(self.settings.store.clone(), self.task.id.clone(), log, ending);
        let recorded = recorded.into_actor(self);
        ctx.spawn(recorded.map(|outcome, task, ctx| task.apply(Event::Recorded(outcome), ctx)));
    }

    /// Announces the end, which is durable, and stops the actor.
    pub(super) fn announce(&mut self, outcome: &Outcome, ctx: &mut Context<Self>) {
        // From now on the store answers requests for this task.
        self.progress.recorded(self.progress.at_end());
        self.log_end(outcome);
        self.trace_end(outcome);
        self.measure_end(outcome);
        self.answer.end(outcome);
        self.measure_published();
        self.token = None;
        self.retire(ctx);
    }

    /// Leaves the task to the next start, and notifies waiting callers that nothing follows in this process.
    pub(super) fn leave_to_next_start(&mut self) {
        tracing::debug!(task_id = %self.task.id, key = self.key_name, "task left for the next start");
        self.answer.park();
        self.token = None;
    }

    /// Stops the actor as planned. This is not in `Actor::stopped`, because actix also calls that for an actor that
    /// panicked.
    fn retire(&mut self, ctx: &mut Context<Self>) {
        if let Some(departing) = self.departing.take() {
            let kept = self.publication.take_kept();
            let left = self.answer.log().cold(kept).map_or(Departure::NoStream, Departure::Stream);
            // The registry is gone only when the process ends.
            let _ = departing.send(left);
        }
        ctx.stop();
    }

    fn log_end(&self, outcome: &Outcome) {
        let (failure, usage) = (outcome.failure(), outcome.usage());
        tracing::info!(
            task_id = %self.task.id,
            trace_id = self.task.trace_id().map(display),
            key = self.key_name,
            channel = self.timeline.channel(),
            model = self.task.question.model,
            candidates = Some(self.calls.candidates()).filter(|&count| count > 0),
            calls = self.timeline.attempts.len(),
            outcome = if failure.is_none() { "completed" } else { "failed" },
            code = failure.map(|failure| failure.code.as_str()),
            upstream_status = failure.and_then(|failure| failure.upstream_status),
            reason = failure.map(|failure| failure.message.as_ref()),
            queued_ms = self.timeline.queued_ms(),
            first_chunk_ms = self.timeline.first_chunk_ms(),
            total_ms = self.timeline.total_ms(),
            chunks = self.answer.log().len(),
            prompt_tokens = usage.map(|usage| usage.prompt_tokens),
            completion_tokens = usage.map(|usage| usage.completion_tokens),
            "task ended"
        );
    }

    fn trace_end(&self, outcome: &Outcome) {
        self.settings.traces.task_ended(EndedTask {
            task: &self.task,
            timeline: &self.timeline,
            outcome,
            audio: self.measured.audio,
        });
    }
}
