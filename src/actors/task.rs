//! [`TaskActor`]: owns one task's state, its upstream stream and its chunk log.
//!
//! What a task may do next is decided by [`Life`], a pure function; this actor carries out its effects. It
//! lives until the chunks' retention has passed; later questions are answered by the store.

mod parts;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};

use super::Presence;
use crate::audio::source::AudioSource;
use crate::channel::Channel;
use crate::channel::slots::Slot;
use crate::error::{ErrorCode, Failure};
use crate::store::Ending;
use crate::task::answer::Answer;
use crate::task::life::{Effect, Event, Life, Outcome};
use crate::task::snapshot::{Snapshot, State};
use crate::task::timeline::Timeline;
use crate::task::{Task, Timestamp};
use crate::upstream::deadlines::with_deadlines;
use crate::upstream::{Batch, UpstreamError, UpstreamEvent, UpstreamRequest};
use crate::wire::completion::{FinishReason, Usage};

use parts::Work;
pub use parts::{Admission, TaskParts, TaskSettings};

/// Tell the task's state.
#[derive(Debug, Message)]
#[rtype(result = "Snapshot")]
pub struct Describe;

/// End the task as cancelled, unless it has ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Cancel;

/// End the task because the service stops, if it runs.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Interrupt;

/// Progress of a task that runs and of which nothing else is known, in percent.
const STARTED: u8 = 5;
/// Progress when the first text has come.
const ANSWERING: u8 = 20;
/// Progress never passes this before the end.
const ALMOST: u8 = 99;
/// Pieces of text after which progress is half way from the first one to the end.
const HALF_WAY: f64 = 50.0;
/// Pauses before the store is asked again to record an end. Then it is given up.
const RECORD_PAUSES: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(5)];

/// Progress after so many pieces of text: how many there will be nobody knows, so it comes ever closer to
/// the end without reaching it.
fn answering(pieces: u32) -> u8 {
    let share = f64::from(pieces) / (f64::from(pieces) + HALF_WAY);
    (f64::from(ANSWERING) + share * f64::from(ALMOST - ANSWERING)) as u8
}

/// The actor of one task.
#[derive(Debug)]
pub struct TaskActor {
    task: Arc<Task>,
    key_name: String,
    channel: Option<Arc<Channel>>,
    settings: TaskSettings,
    life: Life,
    answer: Answer,
    progress: u8,
    /// Pieces of text that have come.
    pieces: u32,
    timeline: Timeline,
    /// Held until the upstream call takes it; the call lets go of it as it is sent.
    audio: Option<AudioSource>,
    admission: Option<Admission>,
    presence: Option<Presence>,
    /// The place in the line for a slot.
    line: Option<SpawnHandle>,
    /// The upstream call.
    call: Option<SpawnHandle>,
    slot: Option<Slot>,
    /// What the upstream said at its end.
    finish: Option<(FinishReason, Usage)>,
    completion: Option<Arc<RawValue>>,
    /// Where a running task takes its token from; it has none to give once the server drains.
    running: Option<mpsc::WeakSender<Infallible>>,
    /// Held while the task runs and records its end: a drain waits for it.
    token: Option<mpsc::Sender<Infallible>>,
    /// Tells the registry that this actor went as planned; dropped untold, it crashed.
    departing: Option<oneshot::Sender<()>>,
}

impl TaskActor {
    /// Makes the actor; called on the thread where it will live.
    #[must_use]
    pub fn new(
        parts: TaskParts,
        settings: TaskSettings,
        running: Option<mpsc::WeakSender<Infallible>>,
        departing: oneshot::Sender<()>,
    ) -> Self {
        let (audio, channel, admission) = match parts.work {
            Some(Work { audio, channel, admission }) => (Some(audio), Some(channel), Some(admission)),
            None => (None, None, None),
        };
        Self {
            timeline: Timeline::begun(parts.task.created),
            task: parts.task,
            key_name: parts.key_name,
            channel,
            settings,
            life: Life::Waiting,
            answer: parts.answer,
            progress: 0,
            pieces: 0,
            audio,
            admission,
            presence: parts.presence,
            line: None,
            call: None,
            slot: None,
            finish: None,
            completion: None,
            running,
            token: None,
            departing: Some(departing),
        }
    }

    fn apply(&mut self, event: Event, ctx: &mut Context<Self>) {
        let (life, effects) = std::mem::replace(&mut self.life, Life::Waiting).on(event);
        self.life = life;
        for effect in effects {
            match effect {
                Effect::StartUpstream => self.start_upstream(ctx),
                Effect::Release => self.release(ctx),
                Effect::Record => self.record(ctx),
                Effect::Announce => self.announce(ctx),
            }
        }
    }

    fn fail(&mut self, failure: impl Into<Failure>, ctx: &mut Context<Self>) {
        self.apply(Event::End(Outcome::Failed(failure.into())), ctx);
    }

    fn line_up(&mut self, ctx: &mut Context<Self>) {
        match self.admission.take() {
            Some(Admission::Now(slot)) => self.slot_granted(slot, ctx),
            Some(Admission::Line { turn, place }) => {
                let waiting = turn.into_actor(self).map(move |slot, task, ctx: &mut Context<Self>| {
                    drop(place);
                    // No slot: the server drains, and the task stays as it is for the next start.
                    if let Some(slot) = slot {
                        task.slot_granted(slot, ctx);
                    }
                });
                self.line = Some(ctx.spawn(waiting));
            }
            // What is left of a crash.
            None => self.fail(Failure::internal(), ctx),
        }
    }

    fn slot_granted(&mut self, slot: Slot, ctx: &mut Context<Self>) {
        if self.life.outcome().is_some() {
            return;
        }
        // Without a token the server drains: what has not started does not start any more.
        self.token = self.running.as_ref().and_then(mpsc::WeakSender::upgrade);
        if self.token.is_some() {
            self.slot = Some(slot);
            self.apply(Event::SlotGranted, ctx);
        }
    }

    fn start_upstream(&mut self, ctx: &mut Context<Self>) {
        self.progress = STARTED;
        let (Some(channel), Some(audio)) = (&self.channel, self.audio.take()) else {
            return self.fail(Failure::internal(), ctx);
        };
        let audio = match audio {
            AudioSource::Inline(audio) => audio,
            AudioSource::Url(_) => {
                let failure = Failure::new(
                    ErrorCode::AudioFetchFailed,
                    "This version does not download audio: send it inline, as data:audio/<type>;base64,<payload>",
                );
                return self.fail(failure.with_param("audio_url"), ctx);
            }
        };
        let request = UpstreamRequest {
            question: self.task.question.clone(),
            container: audio.container,
            base64: audio.base64,
            connect_timeout: channel.timeouts.connect,
        };
        self.timeline.attempt(&channel.name, Timestamp::now());
        let events = with_deadlines(channel.upstream.call(request), channel.timeouts);
        self.call = Some(ctx.add_stream(events));
    }

    fn release(&mut self, ctx: &mut Context<Self>) {
        // Closes the upstream connection, and leaves the line with both places in it.
        for running in [self.call.take(), self.line.take()].into_iter().flatten() {
            ctx.cancel_future(running);
        }
        self.audio = None;
        self.admission = None;
        self.slot = None;
        self.timeline.end(self.outcome_name(), Timestamp::now());
    }

    /// `completed` or the code of the failure.
    fn outcome_name(&self) -> &'static str {
        match self.life.outcome() {
            Some(Outcome::Failed(failure)) => failure.code.as_str(),
            Some(Outcome::Completed) | None => "completed",
        }
    }

    fn take(&mut self, event: UpstreamEvent, ctx: &mut Context<Self>) {
        match event {
            UpstreamEvent::Text(kind, text) => {
                self.timeline.first_answered.get_or_insert_with(Timestamp::now);
                self.pieces += 1;
                self.progress = self.progress.max(answering(self.pieces));
                self.answer.push(kind, &text);
                if self.answer.held_bytes() > self.settings.max_answer_bytes {
                    let most = self.settings.max_answer_bytes;
                    self.fail(UpstreamError::Invalid(format!("an answer of more than {most} bytes")), ctx);
                }
            }
            UpstreamEvent::Progress(percent) => self.progress = self.progress.max(percent.min(ALMOST)),
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

    fn record(&mut self, ctx: &mut Context<Self>) {
        let ending = match (self.life.outcome(), &self.completion) {
            (Some(Outcome::Completed), Some(completion)) => Ending::Completed(Arc::clone(completion)),
            (Some(Outcome::Failed(failure)), _) => {
                Ending::Failed { failure: failure.clone(), progress: self.progress }
            }
            (Some(Outcome::Completed) | None, _) => return self.apply(Event::Unrecordable, ctx),
        };
        let store = self.settings.store.clone();
        let id = self.task.id.clone();
        let timeline = self.timeline.clone();
        let recorded = async move {
            for pause in RECORD_PAUSES.into_iter().map(Some).chain([None]) {
                match store.end(id.clone(), ending.clone(), timeline.clone()).await {
                    Ok(()) => return Event::Recorded,
                    Err(err) => tracing::error!(task_id = %id, %err, "the end of a task cannot be recorded"),
                }
                if let Some(pause) = pause {
                    tokio::time::sleep(pause).await;
                }
            }
            Event::Unrecordable
        };
        ctx.spawn(recorded.into_actor(self).map(|event, task, ctx| task.apply(event, ctx)));
    }

    fn announce(&mut self, ctx: &mut Context<Self>) {
        self.log_end();
        match (self.life.outcome(), self.finish) {
            (Some(Outcome::Failed(failure)), _) => self.answer.end_failed(failure),
            (_, Some((reason, usage))) => self.answer.end_completed(reason, usage),
            (_, None) => self.answer.end_failed(&Failure::internal()),
        }
        self.answer.forget_texts();
        self.token = None;
        if self.task.stream {
            ctx.run_later(self.settings.chunk_retention, Self::retire);
        } else {
            self.retire(ctx);
        }
    }

    /// Goes as planned. Not in `Actor::stopped`: that is also called for an actor that panicked.
    fn retire(&mut self, ctx: &mut Context<Self>) {
        if let Some(departing) = self.departing.take() {
            // The registry is gone only when the process is.
            let _ = departing.send(());
        }
        ctx.stop();
    }

    fn log_end(&self) {
        let failure = match self.life.outcome() {
            Some(Outcome::Failed(failure)) => Some(failure),
            Some(Outcome::Completed) | None => None,
        };
        let usage = self.finish.map(|(_, usage)| usage);
        tracing::info!(
            task_id = %self.task.id,
            key = self.key_name,
            channel = self.channel.as_ref().map(|channel| channel.name.as_str()),
            model = self.task.question.model,
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

    fn state(&self) -> State {
        match (&self.life, &self.completion) {
            (Life::Waiting, _) => State::Pending,
            // An end that is not durable yet is not told.
            (Life::Running | Life::Ending(_), _) => State::Processing { progress: self.progress },
            (Life::Ended(Outcome::Completed), Some(completion)) => {
                State::Completed { completion: Arc::clone(completion) }
            }
            (Life::Ended(Outcome::Completed), None) => {
                State::Failed { failure: Failure::internal(), progress: self.progress }
            }
            (Life::Ended(Outcome::Failed(failure)), _) => {
                State::Failed { failure: failure.clone(), progress: self.progress }
            }
        }
    }
}

impl Actor for TaskActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(presence) = self.presence.take() {
            ctx.spawn(presence.into_actor(self).map(|_, task, ctx| task.fail(cancelled(), ctx)));
        }
        self.line_up(ctx);
    }
}

fn cancelled() -> Failure {
    Failure::new(ErrorCode::TaskCancelled, "The task was cancelled before it had ended").with_retryable(false)
}

impl StreamHandler<Result<Batch, UpstreamError>> for TaskActor {
    fn handle(&mut self, item: Result<Batch, UpstreamError>, ctx: &mut Self::Context) {
        // The end wins over whatever its upstream still says.
        if self.life != Life::Running {
            return;
        }
        match item {
            Ok(batch) => {
                let fresh = !batch.is_empty();
                for event in batch {
                    if self.life == Life::Running {
                        self.take(event, ctx);
                    }
                }
                if fresh {
                    self.answer.publish();
                }
            }
            Err(err) => {
                if let UpstreamError::Refused {
                    fault: crate::upstream::Fault::Credentials,
                    status,
                    message,
                    ..
                } = &err
                {
                    let channel = self.channel.as_ref().map(|channel| channel.name.as_str());
                    tracing::error!(
                        channel,
                        status,
                        message,
                        "the upstream refuses the channel's credentials"
                    );
                }
                self.fail(err, ctx);
            }
        }
    }

    /// Overridden because the default stops the actor.
    fn finished(&mut self, ctx: &mut Self::Context) {
        if self.life == Life::Running {
            self.fail(UpstreamError::Disconnected, ctx);
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

impl Handler<Interrupt> for TaskActor {
    type Result = ();

    fn handle(&mut self, _: Interrupt, ctx: &mut Self::Context) {
        if self.life == Life::Running {
            let failure = Failure::new(
                ErrorCode::TaskInterrupted,
                "The service stopped before the task had ended; submit it again",
            );
            self.fail(failure, ctx);
        }
    }
}
