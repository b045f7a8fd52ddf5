//! How a task ends: it is recorded, then announced, logged, counted and traced, and its actor goes. Or it does not, and
//! is left to the server's next start.

use std::sync::Arc;

use actix::prelude::*;

use super::durable::record;
use super::{Departure, TaskActor};
use crate::error::{ErrorCode, Failure};
use crate::metrics::Cause;
use crate::store::{Chunks, EndResult, Ending, Journal};
use crate::task::Timestamp;
use crate::task::life::{Event, Life, Outcome};
use crate::task::recovery::interrupted_caller;
use crate::task::snapshot::State;
use crate::trace::EndedTask;
use crate::wire::completion::CompletionEnd;

impl TaskActor {
    /// Has the end made durable.
    pub(super) fn record(&mut self, ctx: &mut Context<Self>) {
        // What a crash kept from being published is part of the stream, too. What cannot be shown yet is shown with the
        // end, which is durable.
        self.publish();
        let failed = self.failure().map(|failure| failure.code);
        self.measure_attempt(failed.map(Cause::Code));
        self.timeline.end(failed.map_or("completed", ErrorCode::as_str), Timestamp::now());
        let result = match (self.life.outcome(), &self.completion) {
            (Some(Outcome::Completed), Some(completion)) => EndResult::Completed(Arc::clone(completion)),
            (Some(Outcome::Failed(failure)), _) => {
                EndResult::Failed { failure: failure.clone(), progress: self.progress.percent() }
            }
            (Some(Outcome::Completed) | None, _) => {
                EndResult::Failed { failure: Failure::internal(), progress: self.progress.percent() }
            }
        };
        let chunks = self.task.stream.then(|| Chunks::of(self.answer.log().frames()));
        let ending = Ending { result, timeline: self.timeline.clone(), chunks };
        let log = self.answer.log().handle();
        // What stalled until now was given up for this.
        log.stall(false);
        let recorded = record(self.settings.store.clone(), self.task.id.clone(), log, ending);
        ctx.spawn(recorded.into_actor(self).map(|before, task, ctx| task.recorded(before, ctx)));
    }

    /// `before`: the end that the task had already, if it had one; then that is the one to announce.
    fn recorded(&mut self, before: Option<State>, ctx: &mut Context<Self>) {
        let event = match before {
            None | Some(State::Pending | State::Processing { .. }) => Event::Recorded,
            Some(State::Failed { failure, progress }) => {
                self.progress.settle(progress);
                Event::RecordedBefore(Outcome::Failed(failure))
            }
            Some(State::Completed { completion }) => {
                if let Ok(CompletionEnd { head, reason, usage }) = CompletionEnd::of(completion.get()) {
                    self.answer.go_on_as(head);
                    self.finish = Some((reason, usage));
                }
                self.completion = Some(completion);
                Event::RecordedBefore(Outcome::Completed)
            }
        };
        self.apply(event, ctx);
    }

    /// The end is durable: tells everybody, and goes.
    pub(super) fn announce(&mut self, ctx: &mut Context<Self>) {
        self.log_end();
        self.trace_end();
        self.measure_end();
        match (self.life.outcome(), self.finish) {
            (Some(Outcome::Failed(failure)), _) => self.answer.end_failed(failure),
            (_, Some((reason, usage))) => self.answer.end_completed(reason, usage),
            (_, None) => self.answer.end_failed(&Failure::internal()),
        }
        self.measure_published();
        self.token = None;
        self.retire(ctx);
    }

    /// Leaves a task of which nothing was seen to the next start, unless that would not run it.
    pub(super) fn leave_to_next_start(&mut self, ctx: &mut Context<Self>) {
        if self.caller.is_leashed && self.life == Life::Running {
            // The caller is told what the next start would find: a repeat may pay for the same work again.
            self.fail(interrupted_caller(), ctx);
        } else {
            self.apply(Event::Park, ctx);
        }
    }

    /// Tells who waits that nothing follows in this process.
    pub(super) fn let_go(&mut self) {
        tracing::debug!(task_id = %self.task.id, key = self.key_name, "task left for the next start");
        self.answer.park();
        self.token = None;
    }

    /// Goes as planned. Not in `Actor::stopped`: that is also called for an actor that panicked.
    pub(super) fn retire(&mut self, ctx: &mut Context<Self>) {
        if let Some(departing) = self.departing.take() {
            let stream = self.task.stream;
            let kept = self.journal.as_ref().and_then(Journal::kept);
            let left =
                if stream { Departure::Stream(self.answer.log().cold(kept)) } else { Departure::Traceless };
            // The registry is gone only when the process is.
            let _ = departing.send(left);
        }
        ctx.stop();
    }

    fn log_end(&self) {
        let failure = self.failure();
        let usage = self.finish.map(|(_, usage)| usage);
        tracing::info!(
            task_id = %self.task.id,
            trace_id = self.task.trace_id().map(display),
            key = self.key_name,
            channel = self.channel_name(),
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

    /// Why it failed, once it has.
    pub(super) fn failure(&self) -> Option<&Failure> {
        match self.life.outcome() {
            Some(Outcome::Failed(failure)) => Some(failure),
            Some(Outcome::Completed) | None => None,
        }
    }

    fn trace_end(&self) {
        self.settings.traces.task_ended(EndedTask {
            task: &self.task,
            timeline: &self.timeline,
            channel: self.channel_name(),
            failure: self.failure(),
            finish: self.finish,
            audio: self.measured.audio,
        });
    }

    /// Who is asked, or was asked last.
    fn channel_name(&self) -> Option<&str> {
        self.calls.channel().map(|channel| channel.name.as_str())
    }
}
