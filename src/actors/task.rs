//! [`TaskActor`]: owns one task's state, its upstream stream and its chunk log.
//!
//! What a task may do next is decided by [`Life`], a pure function; this actor carries out its effects. When the end
//! has been announced it goes, and leaves the chunks to the registry; the rest is told by the store.

mod ahead;
mod calls;
mod durable;
mod measure;
mod parts;

use std::convert::Infallible;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};

use super::Presence;
use super::dispatcher::{Admission, Permit};
use crate::audio::Audio;
use crate::channel::Channel;
use crate::channel::course::Course;
use crate::error::{ErrorCode, Failure};
use crate::store::{EndResult, Ending, Journal};
use crate::task::answer::{Answer, TextKind};
use crate::task::cold_log::ColdLog;
use crate::task::life::{Effect, Event, Life, Outcome};
use crate::task::progress::Progress;
use crate::task::recovery::{interrupted_caller, interrupted_stream};
use crate::task::snapshot::{Snapshot, State};
use crate::task::timeline::Timeline;
use crate::task::{Task, Timestamp};
use crate::trace::EndedTask;
use crate::upstream::{UpstreamError, UpstreamEvent};
use crate::wire::completion::{CompletionEnd, FinishReason, Usage};

use ahead::CallAhead;
pub use ahead::Verdict;
use durable::record;
use measure::Measured;
pub use parts::{Job, RunRecord, TaskAudio, TaskParts, TaskSettings, Work};

/// Tell the task's state.
#[derive(Debug, Message)]
#[rtype(result = "Snapshot")]
pub struct Describe;

/// End the task as cancelled, unless it has ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Cancel;

/// The server begins to drain: a caller who waits for a task that will not start here need not wait.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Draining;

/// The server stops: a task of which something was seen ends, any other is left to the next start.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Stop;

/// What a task's actor leaves behind when it goes.
#[derive(Debug)]
pub enum Departure {
    /// Nothing: the task has no stream.
    Traceless,
    /// Its chunks, which stay readable.
    Stream(ColdLog),
    /// It did not go as planned: it panicked. What had happened until then.
    Crashed(Box<Timeline>),
}

/// The actor of one task.
#[derive(Debug)]
pub struct TaskActor {
    task: Arc<Task>,
    key_name: String,
    settings: Arc<TaskSettings>,
    life: Life,
    answer: Answer,
    /// Where chunks are written before they are published; `None` for a task without a stream.
    journal: Option<Journal>,
    /// Has a run begun, in this process or an earlier one? From then on the task is `processing`.
    begun: bool,
    /// Is the run of this process in the store already?
    run_recorded: bool,
    progress: Progress,
    timeline: Timeline,
    /// Who can still be asked; `None` for a task that is not to be run.
    course: Option<Course>,
    /// Who is asked, or was asked last.
    channel: Option<Arc<Channel>>,
    /// How many tasks of its key may run at once.
    most_running: Option<NonZeroU32>,
    /// Held until the run begins.
    audio: Option<TaskAudio>,
    /// From then on until something of an answer was seen: each call sends it.
    at_hand: Option<Audio>,
    /// How long it lasts, once that is known.
    audio_duration: Option<Duration>,
    admission: Option<Admission>,
    /// Whether the task is accepted, where that has yet to be said.
    verdict: Option<Verdict>,
    /// The first call, where it was put on its way before that.
    ahead: Option<CallAhead>,
    /// Was it? Then the upstream may have been asked although the task waits.
    asked_ahead: bool,
    /// With what the task ends as soon as it begins: it is not to be run.
    doomed: Option<Failure>,
    presence: Option<Presence>,
    /// Is there a caller who waits?
    awaited: bool,
    /// Is it one for whom nobody can stand in, so that the next start will not run the task?
    leashed: bool,
    /// Waits for that caller to leave.
    leaving: Option<SpawnHandle>,
    /// The place in the line for a permit.
    line: Option<SpawnHandle>,
    /// The upstream call, or what prepares it, or the pause before the next one.
    call: Option<SpawnHandle>,
    /// Is what is heard of the call still of interest?
    listening: bool,
    /// Calls of this process so far.
    calls: u32,
    /// Has anything of an answer come from the last of them, be it something that nobody wants to see?
    spoke: bool,
    permit: Option<Permit>,
    /// What the upstream said at its end.
    finish: Option<(FinishReason, Usage)>,
    completion: Option<Arc<RawValue>>,
    /// Where a running task takes its token from; it has none to give once the server drains.
    running: Option<mpsc::WeakSender<Infallible>>,
    /// Held while the task runs and records its end: a drain waits for it.
    token: Option<mpsc::Sender<Infallible>>,
    measured: Measured,
    /// Tells the registry how this actor went.
    departing: Option<oneshot::Sender<Departure>>,
}

impl TaskActor {
    /// Makes the actor; called on the thread where it will live.
    #[must_use]
    pub fn new(
        parts: TaskParts,
        settings: Arc<TaskSettings>,
        running: Option<mpsc::WeakSender<Infallible>>,
        departing: oneshot::Sender<Departure>,
    ) -> Self {
        let TaskParts { task, key_name, answer, job, presence, timeline, progress, begun, leashed } = parts;
        let (work, doomed) = match job {
            Job::Run(work) => (Some(work), None),
            Job::End(failure) => (None, Some(failure)),
        };
        let (audio, course, most_running, admission, record) = match work {
            Some(Work { audio, candidates, most_running, admission, record }) => {
                let course = Course::new(candidates, settings.retry_budget);
                (Some(audio), Some(course), most_running, Some(admission), record)
            }
            None => (None, None, None, None, RunRecord::Due),
        };
        let (run_recorded, verdict) = match record {
            RunRecord::Due => (false, None),
            RunRecord::Done => (true, None),
            RunRecord::UnderWay(verdict) => (true, Some(verdict)),
        };
        Self {
            measured: Measured::from(answer.log()),
            journal: task.stream.then(|| settings.store.journal(&task.id)),
            begun,
            run_recorded,
            progress: Progress::new(progress, begun, answer.log().len(), task.stream),
            timeline,
            task,
            key_name,
            settings,
            life: Life::Waiting,
            answer,
            course,
            channel: None,
            most_running,
            audio,
            at_hand: None,
            audio_duration: None,
            admission,
            verdict,
            ahead: None,
            asked_ahead: false,
            doomed,
            awaited: presence.is_some(),
            leashed,
            presence,
            leaving: None,
            line: None,
            call: None,
            listening: false,
            calls: 0,
            spoke: false,
            permit: None,
            finish: None,
            completion: None,
            running,
            token: None,
            departing: Some(departing),
        }
    }

    fn apply(&mut self, event: Event, ctx: &mut Context<Self>) {
        // A state is taken out to be replaced; what stands in meanwhile is never seen.
        let life = std::mem::replace(&mut self.life, Life::Waiting);
        let (life, effects) = life.on(event);
        self.life = life;
        for effect in effects {
            match effect {
                Effect::StartUpstream => self.start_upstream(ctx),
                Effect::Release => self.release(ctx),
                Effect::Record => self.record(ctx),
                Effect::Announce => self.announce(ctx),
                Effect::LetGo => self.let_go(),
            }
        }
    }

    fn fail(&mut self, failure: impl Into<Failure>, ctx: &mut Context<Self>) {
        self.apply(Event::End(Outcome::Failed(failure.into())), ctx);
    }

    /// The task is accepted: from here on it is known.
    fn accepted(&mut self, ctx: &mut Context<Self>) {
        if let Some(presence) = self.presence.take() {
            let leaving = presence.into_actor(self).map(|_, task, ctx| {
                // Who was told that the server stops leaves as well, and that cancels nothing.
                if task.life != Life::Parked {
                    task.fail(cancelled(), ctx);
                }
            });
            self.leaving = Some(ctx.spawn(leaving));
        }
        self.begin(ctx);
    }

    fn begin(&mut self, ctx: &mut Context<Self>) {
        match self.admission.take() {
            Some(Admission::Now(permit)) => self.permit_granted(permit, Duration::ZERO, ctx),
            Some(Admission::Line(turn)) => {
                // Not since its acceptance, which may be an earlier process': that would count how long none was there.
                let joined = Instant::now();
                let waiting = turn.into_actor(self).map(move |permit, task, ctx: &mut Context<Self>| {
                    // No permit: the server drains, and the task stays as it is for the next start.
                    if let Some(permit) = permit {
                        task.permit_granted(permit, joined.elapsed(), ctx);
                    }
                });
                self.line = Some(ctx.spawn(waiting));
            }
            None => {
                let failure = self.doomed.take().unwrap_or_else(Failure::internal);
                self.fail(failure, ctx);
            }
        }
    }

    fn permit_granted(&mut self, permit: Permit, waited: Duration, ctx: &mut Context<Self>) {
        if self.life != Life::Waiting {
            return;
        }
        // Without a token the server drains: what has not started does not start any more.
        self.token = self.running.as_ref().and_then(mpsc::WeakSender::upgrade);
        if self.token.is_some() {
            self.hold(permit);
            // A run of an earlier process had the first slot.
            if !self.begun || self.asked_ahead {
                self.settings.metrics.started(waited);
            }
            self.apply(Event::SlotGranted, ctx);
        } else {
            self.ahead = None;
        }
    }

    fn release(&mut self, ctx: &mut Context<Self>) {
        // Closes the upstream connection, and leaves the line with both places in it.
        // Whoever waits may leave from here on.
        for running in [self.call.take(), self.line.take(), self.leaving.take()].into_iter().flatten() {
            ctx.cancel_future(running);
        }
        self.listening = false;
        self.ahead = None;
        self.audio = None;
        self.at_hand = None;
        self.admission = None;
        self.permit = None;
    }

    fn take(&mut self, event: UpstreamEvent, ctx: &mut Context<Self>) {
        match event {
            // It shows that the upstream works on it; nobody asked to see it.
            UpstreamEvent::Text(TextKind::Reasoning, _) if !self.task.question.reasoning => {}
            UpstreamEvent::Text(kind, text) => {
                self.timeline.first_answered.get_or_insert_with(Timestamp::now);
                self.answer.push(kind, &text);
                let step = self.progress.piece();
                self.remember(step);
                if self.answer.held_bytes() > self.settings.max_answer_bytes {
                    let most = self.settings.max_answer_bytes;
                    self.fail(UpstreamError::Invalid(format!("an answer of more than {most} bytes")), ctx);
                }
            }
            UpstreamEvent::Progress(percent) => {
                let step = self.progress.reach(percent);
                self.remember(step);
            }
            UpstreamEvent::Finished { reason, usage } => {
                let completion = self.answer.completion(reason, usage).and_then(RawValue::from_string);
                match completion {
                    Ok(completion) => {
                        self.completion = Some(completion.into());
                        self.finish = Some((reason, usage));
                        self.apply(Event::End(Outcome::Completed), ctx);
                    }
                    Err(err) => {
                        tracing::error!(task_id = %self.task.id, %err, "the answer cannot be written as JSON");
                        self.fail(Failure::internal(), ctx);
                    }
                }
            }
        }
    }

    fn remember(&self, progress: Option<u8>) {
        if let Some(progress) = progress {
            self.settings.store.mark_progress(self.task.id.clone(), progress);
        }
    }

    /// Shows readers what has come, once the journal has it: what was seen must outlive this process. Says whether it
    /// was shown.
    ///
    /// A journal that ends in mid-stream keeps nobody from going on: it says that something was seen. One that does not
    /// even begin would let the next process answer the task anew, and a reader would get parts of two answers.
    fn publish(&mut self) -> bool {
        let mut is_first = false;
        if let Some(journal) = &mut self.journal {
            is_first = self.answer.is_unseen() && self.answer.unpublished().next().is_some();
            if !journal.append(self.answer.unpublished()) && is_first {
                return false;
            }
        }
        self.answer.publish();
        self.measure_published();
        if is_first {
            // Afterwards: whoever waits for the first chunk need not wait until the writer is awake.
            self.settings.store.mark_published(self.task.id.clone());
        }
        true
    }

    fn record(&mut self, ctx: &mut Context<Self>) {
        // What a crash kept from being published is part of the stream, too. What cannot be shown yet is shown with the
        // end, which is durable.
        let _ = self.publish();
        let failed = self.failure().map(|failure| failure.code);
        self.measure_attempt(failed);
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
        let chunks = self.task.stream.then(|| self.answer.log().len());
        let ending = Ending { result, timeline: self.timeline.clone(), chunks };
        let recorded = record(self.settings.store.clone(), self.task.id.clone(), ending);
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

    fn announce(&mut self, ctx: &mut Context<Self>) {
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
    fn leave_to_next_start(&mut self, ctx: &mut Context<Self>) {
        let was_asked = match self.life {
            Life::Waiting => self.asked_ahead,
            _ => self.life == Life::Running,
        };
        if self.leashed && was_asked {
            // The caller is told what the next start would find: a repeat may pay for the same work again.
            self.fail(interrupted_caller(), ctx);
        } else {
            self.apply(Event::Park, ctx);
        }
    }

    fn let_go(&mut self) {
        tracing::debug!(task_id = %self.task.id, key = self.key_name, "task left for the next start");
        self.answer.park();
        self.token = None;
    }

    /// Goes as planned. Not in `Actor::stopped`: that is also called for an actor that panicked.
    fn retire(&mut self, ctx: &mut Context<Self>) {
        if let Some(departing) = self.departing.take() {
            let stream = self.task.stream;
            let left =
                if stream { Departure::Stream(self.answer.log().cold()) } else { Departure::Traceless };
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
            channel = self.channel.as_ref().map(|channel| channel.name.as_str()),
            model = self.task.question.model,
            candidates = self.course.as_ref().map(Course::count),
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
    fn failure(&self) -> Option<&Failure> {
        match self.life.outcome() {
            Some(Outcome::Failed(failure)) => Some(failure),
            Some(Outcome::Completed) | None => None,
        }
    }

    fn trace_end(&self) {
        self.settings.traces.task_ended(EndedTask {
            task: &self.task,
            timeline: &self.timeline,
            channel: self.channel.as_ref().map(|channel| channel.name.as_str()),
            failure: self.failure(),
            finish: self.finish,
            audio: self.audio_duration,
        });
    }

    fn state(&self) -> State {
        match (&self.life, &self.completion) {
            (Life::Waiting | Life::Parked, _) if !self.begun => State::Pending,
            // An end that is not durable yet is not told.
            (Life::Waiting | Life::Running | Life::Ending(_) | Life::Parked, _) => {
                State::Processing { progress: self.progress.percent() }
            }
            (Life::Ended(Outcome::Completed), Some(completion)) => {
                State::Completed { completion: Arc::clone(completion) }
            }
            (Life::Ended(Outcome::Completed), None) => {
                State::Failed { failure: Failure::internal(), progress: self.progress.percent() }
            }
            (Life::Ended(Outcome::Failed(failure)), _) => {
                State::Failed { failure: failure.clone(), progress: self.progress.percent() }
            }
        }
    }
}

impl Actor for TaskActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        match self.verdict.take() {
            Some(verdict) => self.call_ahead(verdict, ctx),
            None => self.accepted(ctx),
        }
    }
}

impl Drop for TaskActor {
    fn drop(&mut self) {
        if let Some(departing) = self.departing.take() {
            // The registry is gone only when the process is.
            let _ = departing.send(Departure::Crashed(Box::new(self.timeline.clone())));
        }
    }
}

fn cancelled() -> Failure {
    Failure::new(ErrorCode::TaskCancelled, "The task was cancelled before it had ended").with_retryable(false)
}

impl Handler<Describe> for TaskActor {
    type Result = MessageResult<Describe>;

    fn handle(&mut self, _: Describe, _: &mut Self::Context) -> Self::Result {
        MessageResult(Snapshot {
            id: self.task.id.clone(),
            model: self.task.question.model.clone(),
            created: self.task.created.seconds(),
            stream: self.task.stream,
            state: self.state(),
            timeline: self.timeline.clone(),
        })
    }
}

impl Handler<Cancel> for TaskActor {
    type Result = ();

    fn handle(&mut self, _: Cancel, ctx: &mut Self::Context) {
        self.fail(cancelled(), ctx);
    }
}

impl Handler<Draining> for TaskActor {
    type Result = ();

    fn handle(&mut self, _: Draining, ctx: &mut Self::Context) {
        if self.awaited && self.life == Life::Waiting {
            self.leave_to_next_start(ctx);
        }
    }
}

impl Handler<Stop> for TaskActor {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        if self.answer.is_unseen() {
            self.leave_to_next_start(ctx);
        } else {
            self.fail(interrupted_stream(), ctx);
        }
    }
}
