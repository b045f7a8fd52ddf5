//! [`TaskActor`]: owns one task's state, its upstream stream and its chunk log.
//!
//! What a task may do next is decided by [`Life`], a pure function; this actor carries out its effects. When the end
//! has been announced it goes, and leaves the chunks to the registry; the rest is told by the store.

mod caller;
mod calls;
mod durable;
mod ending;
mod measure;
mod parts;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};

use super::dispatcher::{Admission, Permit};
use crate::error::{ErrorCode, Failure};
use crate::store::Journal;
use crate::task::answer::{Answer, TextKind};
use crate::task::cold_log::EndedStream;
use crate::task::life::{Effect, Event, Life, Outcome};
use crate::task::progress::Progress;
use crate::task::recovery::interrupted_stream;
use crate::task::snapshot::{Snapshot, State};
use crate::task::timeline::Timeline;
use crate::task::{Task, Timestamp};
use crate::upstream::{UpstreamError, UpstreamEvent};
use crate::wire::completion::{FinishReason, Usage};

use caller::Caller;
pub use caller::Draining;
use calls::Calls;
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
    Stream(EndedStream),
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
    progress: Progress,
    timeline: Timeline,
    caller: Caller,
    beginning: Beginning,
    /// The place in the line for a permit.
    line: Option<SpawnHandle>,
    calls: Calls,
    /// What the upstream said at its end.
    finish: Option<(FinishReason, Usage)>,
    completion: Option<Arc<RawValue>>,
    measured: Measured,
    /// Where a running task takes its token from; it has none to give once the server drains.
    running: Option<mpsc::WeakSender<Infallible>>,
    /// Held while the task runs and records its end: a drain waits for it.
    token: Option<mpsc::Sender<Infallible>>,
    /// Tells the registry how this actor went.
    departing: Option<oneshot::Sender<Departure>>,
}

/// How a task begins, once it is accepted.
#[derive(Debug)]
enum Beginning {
    /// It runs when it has its permit.
    Turn(Admission),
    /// It ends like this: it is not to be run.
    Doomed(Failure),
    /// It has.
    Over,
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
        let budget = settings.retry_budget;
        let (beginning, calls) = match job {
            Job::End(failure) => {
                (Beginning::Doomed(failure), Calls::new(Vec::new(), budget, None, Vec::new(), false))
            }
            Job::Run(Work { audio, candidates, most_running, admission, record }) => {
                let is_recorded = record == RunRecord::Done;
                let calls = Calls::new(candidates, budget, most_running, audio, is_recorded);
                (Beginning::Turn(admission), calls)
            }
        };
        Self {
            measured: Measured::from(answer.log()),
            journal: task.stream.then(|| settings.store.journal(&task.id)),
            begun,
            progress: Progress::new(progress, begun, answer.log().len(), task.stream),
            timeline,
            task,
            key_name,
            settings,
            life: Life::Waiting,
            answer,
            caller: Caller::new(presence, leashed),
            beginning,
            line: None,
            calls,
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

    /// Begins the task, as it was decided when it was accepted or taken up.
    fn begin(&mut self, ctx: &mut Context<Self>) {
        self.watch_caller(ctx);
        match std::mem::replace(&mut self.beginning, Beginning::Over) {
            Beginning::Turn(Admission::Now(permit)) => self.permit_granted(permit, Duration::ZERO, ctx),
            Beginning::Turn(Admission::Line(turn)) => {
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
            Beginning::Doomed(failure) => self.fail(failure, ctx),
            Beginning::Over => {}
        }
    }

    fn permit_granted(&mut self, permit: Permit, waited: Duration, ctx: &mut Context<Self>) {
        if self.life != Life::Waiting {
            return;
        }
        // Without a token the server drains: what has not started does not start any more.
        self.token = self.running.as_ref().and_then(mpsc::WeakSender::upgrade);
        if self.token.is_some() {
            self.calls.hold(permit);
            // A run of an earlier process had the first slot.
            if !self.begun {
                self.settings.metrics.started(waited);
            }
            self.apply(Event::SlotGranted, ctx);
        }
    }

    /// Closes the upstream connection, and leaves the line with both places in it.
    /// Whoever waits may leave from here on.
    fn release(&mut self, ctx: &mut Context<Self>) {
        let call = self.calls.release();
        for running in [call, self.line.take(), self.caller.leaving.take()].into_iter().flatten() {
            ctx.cancel_future(running);
        }
        self.beginning = Beginning::Over;
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

    /// Shows readers what has come, once the journal has it: what was seen must outlive this process.
    ///
    /// A journal that ends in mid-stream keeps no reader from going on: it says that something was seen. One that does not
    /// even begin would let the next process answer the task anew, and a reader would get parts of two answers. Then the
    /// answer is shown with its end, which is durable, and until then the task is stalled.
    fn publish(&mut self) {
        let mut is_first = false;
        if let Some(journal) = &mut self.journal {
            is_first = self.answer.is_unseen() && self.answer.unpublished().next().is_some();
            if !journal.append(self.answer.unpublished()) && is_first {
                self.answer.log().handle().stall(true);
                return;
            }
        }
        self.answer.publish();
        self.measure_published();
        if is_first {
            // Afterwards: whoever waits for the first chunk need not wait until the writer is awake.
            self.settings.store.mark_published(self.task.id.clone(), self.timeline.clone());
        }
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
        self.begin(ctx);
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
