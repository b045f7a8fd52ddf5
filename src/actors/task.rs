//! [`TaskActor`]: owns one task's state, its upstream stream and its chunk log.
//!
//! [`Life`], a pure function, decides what a task may do next. This actor passes events to it and carries out the
//! effects. The phase of the [calls] shows what a running task is doing. When the end has been announced, the actor
//! stops and hands the chunks to the registry. From then on the store answers all other requests.

mod calls;
mod durable;
mod ending;
mod measure;
mod parts;
mod preparation;
mod publication;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use tokio::sync::{mpsc, oneshot};

use super::dispatcher::{Admission, Permit};
use super::submit::{Answered, CallerGone};
use crate::error::Failure;
use crate::task::{
    Answer, Effect, EndedStream, Event, Life, Outcome, Progress, Recipient, Snapshot, Task, TextKind,
    Timeline, Timestamp,
};
use crate::upstream::{UpstreamError, UpstreamEvent};

use calls::{Calls, Start};
use measure::Measured;
pub use parts::TaskSettings;
pub(super) use parts::{Job, RunRecord, TaskAudio, TaskParts, Work};
use publication::Publication;

/// Returns the task's state.
#[derive(Debug, Message)]
#[rtype(result = "Snapshot")]
pub struct Describe;

/// Ends the task as cancelled, unless it has ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Cancel;

/// Signals that the server begins to drain. A caller that waits for a task that will not start in this process gets an
/// error.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Draining;

/// Signals that the server stops. A task of whose answer a client has seen a part ends; any other task is left to the
/// next start.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Stop;

/// The result that a task's actor leaves behind when it stops.
#[derive(Debug)]
pub enum Departure {
    /// Nothing: the task has no stream.
    NoStream,
    /// The task's chunks, which stay readable.
    Stream(EndedStream),
    /// The actor panicked. The timeline holds what had happened until then.
    Crashed(Box<Timeline>),
}

/// The actor of one task.
#[derive(Debug)]
pub struct TaskActor {
    task: Arc<Task>,
    key_name: String,
    settings: Arc<TaskSettings>,
    life: Life,
    calls: Calls,
    answer: Answer,
    publication: Publication,
    progress: Progress,
    timeline: Timeline,
    measured: Measured,
    recipient: Recipient,
    /// The future that waits until the caller disconnects or is answered, if a caller waits.
    leaving: Option<SpawnHandle>,
    /// The sender that a running task clones as its token. It is gone once the server drains.
    running: Option<mpsc::WeakSender<Infallible>>,
    /// The token that the task holds while it runs and records its end. A drain waits until the token is dropped.
    token: Option<mpsc::Sender<Infallible>>,
    /// The sender that notifies the registry how this actor ended.
    departing: Option<oneshot::Sender<Departure>>,
}

impl TaskActor {
    /// Creates the actor and begins its job. Must be called on the thread where the actor will live.
    #[must_use]
    pub fn begin(
        parts: TaskParts,
        settings: Arc<TaskSettings>,
        running: Option<mpsc::WeakSender<Infallible>>,
        departing: oneshot::Sender<Departure>,
        ctx: &mut Context<Self>,
    ) -> Self {
        let TaskParts { task, key_name, answer, job, recipient, caller_gone, timeline, progress } = parts;
        let mut actor = Self {
            life: Life::Waiting,
            calls: Calls::of(&job, settings.retry_budget),
            publication: Publication::of(&task, &job, &settings.store),
            measured: Measured::from(answer.log()),
            leaving: None,
            token: None,
            departing: Some(departing),
            task,
            key_name,
            settings,
            answer,
            progress,
            timeline,
            recipient,
            running,
        };
        actor.leaving = caller_gone.map(|caller_gone| actor.watch_caller(caller_gone, ctx));
        match job {
            Job::Run(work) => actor.await_permit(work, ctx),
            Job::End(failure) => actor.fail(failure, ctx),
        }
        actor
    }

    fn watch_caller(&self, caller_gone: CallerGone, ctx: &mut Context<Self>) -> SpawnHandle {
        let gone = caller_gone.into_actor(self);
        ctx.spawn(gone.map(|answered, task, ctx| match answered {
            // The recipient stays, because the store still has this caller on record. So a stop ends the task as the
            // next start would.
            Ok(Answered) => {}
            Err(_) => task.apply(Event::CallerDisconnected, ctx),
        }))
    }

    /// Runs the task when it has a permit.
    fn await_permit(&mut self, Work { admission, audio, record, .. }: Work, ctx: &mut Context<Self>) {
        match admission {
            Admission::Granted(permit) => self.permit_granted(permit, audio, record, Duration::ZERO, ctx),
            Admission::Queued(turn) => {
                // The wait is counted from here and not from the acceptance, which may have been in an earlier process.
                // Otherwise it would include the time when no process ran.
                let joined = Instant::now();
                let waiting = turn.into_actor(self).map(move |permit, task, ctx: &mut Context<Self>| {
                    // Without a permit the server drains, and the task stays as it is for the next start.
                    if let Some(permit) = permit {
                        task.permit_granted(permit, audio, record, joined.elapsed(), ctx);
                    }
                });
                self.calls.wait(ctx.spawn(waiting));
            }
        }
    }

    fn permit_granted(
        &mut self,
        permit: Permit,
        audio: Vec<TaskAudio>,
        record: RunRecord,
        waited: Duration,
        ctx: &mut Context<Self>,
    ) {
        // Without a token the server drains: a task that has not started does not start any more.
        if let Some(token) = self.running.as_ref().and_then(mpsc::WeakSender::upgrade) {
            self.apply(Event::SlotGranted(Start { permit, token, audio, record, waited }), ctx);
        }
    }

    fn apply(&mut self, event: Event<Start>, ctx: &mut Context<Self>) {
        // The state is taken out to be replaced. No code sees the placeholder.
        let (life, effect) = std::mem::replace(&mut self.life, Life::Parked).on(event);
        self.life = life;
        match effect {
            Effect::None => {}
            Effect::Start(start) => self.start(start, ctx),
            Effect::End(outcome) => {
                self.release(ctx);
                self.record(outcome, ctx);
            }
            Effect::Announce(outcome) => self.announce(&outcome, ctx),
            Effect::Park => {
                self.release(ctx);
                self.leave_to_next_start();
            }
        }
    }

    fn fail(&mut self, failure: impl Into<Failure>, ctx: &mut Context<Self>) {
        self.apply(Event::End(Outcome::Failed(failure.into())), ctx);
    }

    /// Closes the upstream connection, or leaves the queue. The caller may disconnect from here on.
    fn release(&mut self, ctx: &mut Context<Self>) {
        for running in [self.calls.end(), self.leaving.take()].into_iter().flatten() {
            ctx.cancel_future(running);
        }
    }

    /// Processes an event of the upstream. Returns the outcome if the event ends the task.
    fn take(&mut self, event: UpstreamEvent, ctx: &mut Context<Self>) -> Option<Outcome> {
        match event {
            // The reasoning shows that the upstream works on the task, but the client did not request it.
            UpstreamEvent::Text(TextKind::Reasoning, _) if !self.task.question.reasoning => None,
            UpstreamEvent::Text(kind, text) => {
                self.timeline.first_answered.get_or_insert_with(Timestamp::now);
                self.answer.push(kind, text);
                let step = self.progress.piece();
                self.record_progress(step, ctx);
                self.too_large()
            }
            UpstreamEvent::Segment(segment) => {
                self.answer.push_segment(segment);
                self.too_large()
            }
            UpstreamEvent::Progress(percent) => {
                let step = self.progress.reach(percent);
                self.record_progress(step, ctx);
                None
            }
            UpstreamEvent::Finished { reason, usage } => {
                Some(Outcome::Completed(self.answer.complete(reason, usage).into()))
            }
        }
    }

    /// Returns the failure of an answer that is larger than the limit.
    fn too_large(&self) -> Option<Outcome> {
        let most = self.settings.max_answer_bytes;
        let failure = || UpstreamError::Invalid(format!("an answer of more than {most} bytes"));
        (self.answer.held_bytes() > most).then(|| Outcome::Failed(failure().into()))
    }

    /// Shows a step of progress once it is durable. A step that cannot be recorded is not shown; the next one may be.
    fn record_progress(&self, step: Option<u8>, ctx: &mut Context<Self>) {
        let Some(step) = step else { return };
        let (store, id) = (self.settings.store.clone(), self.task.id.clone());
        let recorded = async move { store.progress(id, step).await }.into_actor(self);
        ctx.spawn(recorded.map(move |recorded, task, _| {
            if recorded.is_ok() {
                task.progress.recorded(step);
            }
        }));
    }
}

impl Actor for TaskActor {
    type Context = Context<Self>;
}

impl Drop for TaskActor {
    fn drop(&mut self) {
        if let Some(departing) = self.departing.take() {
            // The registry is gone only when the process ends.
            let _ = departing.send(Departure::Crashed(Box::new(self.timeline.clone())));
        }
    }
}

impl Handler<Describe> for TaskActor {
    type Result = MessageResult<Describe>;

    fn handle(&mut self, _: Describe, _: &mut Self::Context) -> Self::Result {
        MessageResult(Snapshot {
            id: self.task.id.clone(),
            model: self.task.question.model.clone(),
            created: self.task.created.seconds(),
            stream: self.task.stream.is_some(),
            state: self.life.state(self.progress),
            timeline: self.timeline.clone(),
        })
    }
}

impl Handler<Cancel> for TaskActor {
    type Result = ();

    fn handle(&mut self, _: Cancel, ctx: &mut Self::Context) {
        self.apply(Event::Cancel, ctx);
    }
}

impl Handler<Draining> for TaskActor {
    type Result = ();

    fn handle(&mut self, _: Draining, ctx: &mut Self::Context) {
        self.apply(Event::Drain(self.recipient), ctx);
    }
}

impl Handler<Stop> for TaskActor {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        // After a restart the journal may hold chunks that this process had not shown yet.
        let is_seen = !self.answer.is_unseen() || self.publication.is_waiting();
        self.apply(Event::Stop { recipient: self.recipient, is_seen }, ctx);
    }
}
