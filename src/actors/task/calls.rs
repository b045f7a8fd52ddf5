//! The upstream calls of a task, from its permit to its end. [`start`](TaskActor::start) makes the first call; others
//! may follow it. What a call sends is handled in [`received`](TaskActor::received), a failed call in
//! [`call_failed`](TaskActor::call_failed).
//!
//! The [`RetryPolicy`], a pure value, decides what follows a failed call. While no part of an answer was seen, another
//! call may follow. Afterwards the task ends.

mod report;
mod request;

use std::convert::Infallible;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::fut::ready;
use actix::prelude::*;
use futures_util::future::OptionFuture;
use tokio::sync::mpsc;

use super::durable::record_run;
use super::preparation::{Preparation, prepare};
use super::{Job, RunRecord, TaskActor, TaskAudio};
use crate::actors::dispatcher::{self, Permit};
use crate::audio::{Audio, base64_len};
use crate::channel::{Applicant, NextCall, RetryBudget, RetryPolicy, Wanted};
use crate::error::Failure;
use crate::task::{Event, Timestamp};
use crate::upstream::{Batch, UpstreamError};

/// The input for the start of a task's run.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) permit: Permit,
    pub(super) token: mpsc::Sender<Infallible>,
    pub(super) audio: Vec<TaskAudio>,
    pub(super) record: RunRecord,
    /// How long the task waited in the queue.
    pub(super) waited: Duration,
}

/// The upstream calls of a task: the retry policy, and the current phase.
#[derive(Debug)]
pub(super) struct Calls {
    policy: RetryPolicy,
    /// How many tasks of the task's key may run at the same time.
    most_running: Option<NonZeroU32>,
    phase: Phase,
}

/// The phase of a task's calls. Each phase holds what it needs, and the future that ends it. actix may poll a cancelled
/// future once more. The phase has changed by then, so the result is dropped.
#[derive(Debug)]
enum Phase {
    /// The task waits in the queue for its permit.
    Waiting(SpawnHandle),
    /// The run is being recorded, and the audio fetched.
    Preparing { permit: Permit, preparing: SpawnHandle },
    /// A call to an upstream runs.
    Calling(Call),
    /// A call has failed. The same channel is called again after a pause.
    Pausing { permit: Permit, audio: Vec<Audio>, pausing: SpawnHandle },
    /// The task waits for a permit of another channel.
    Moving { audio: Vec<Audio>, moving: SpawnHandle },
    /// No call is made: the task has not begun, or no further one follows.
    Idle,
}

/// A call that runs.
#[derive(Debug)]
struct Call {
    permit: Permit,
    received: Received,
    reading: SpawnHandle,
}

/// The kinds of events that the upstream has sent in a call so far. The audio is held until a part of the answer
/// arrives, because another call may have to send it before.
#[derive(Debug)]
enum Received {
    /// No event yet.
    Nothing(Vec<Audio>),
    /// Events that show that the upstream works on the task. Clients do not see them.
    Signs(Vec<Audio>),
    /// A part of the answer. No other call follows this one, because its answer could differ.
    Answer,
}

impl Received {
    /// Records that a batch has arrived.
    fn more(&mut self, is_answered: bool) {
        *self = match std::mem::replace(self, Self::Answer) {
            Self::Nothing(audio) | Self::Signs(audio) if !is_answered => Self::Signs(audio),
            Self::Nothing(_) | Self::Signs(_) | Self::Answer => Self::Answer,
        };
    }
}

impl Calls {
    /// Creates the state before the first call. A task that does not run has no candidates.
    pub(super) fn of(job: &Job, budget: RetryBudget) -> Self {
        let (candidates, most_running) = match job {
            Job::Run(work) => (work.candidates.clone(), work.most_running),
            Job::End(_) => (Vec::new(), None),
        };
        Self { policy: RetryPolicy::new(candidates, budget), most_running, phase: Phase::Idle }
    }

    /// Enters the phase in which this future waits in the queue for the task's permit.
    pub(super) fn wait(&mut self, line: SpawnHandle) {
        self.phase = Phase::Waiting(line);
    }

    /// Returns how many channels there were to choose from.
    pub(super) fn candidates(&self) -> usize {
        self.policy.count()
    }

    /// Drops what the current phase holds, because no further call will be made. Returns the future to cancel.
    pub(super) fn end(&mut self) -> Option<SpawnHandle> {
        match self.leave() {
            Phase::Waiting(handle)
            | Phase::Preparing { preparing: handle, .. }
            | Phase::Calling(Call { reading: handle, .. })
            | Phase::Pausing { pausing: handle, .. }
            | Phase::Moving { moving: handle, .. } => Some(handle),
            Phase::Idle => None,
        }
    }

    fn leave(&mut self) -> Phase {
        std::mem::replace(&mut self.phase, Phase::Idle)
    }

    /// Takes the current phase if it is the wanted one. Otherwise keeps it and returns `Idle`.
    fn leave_if(&mut self, is_wanted: impl FnOnce(&Phase) -> bool) -> Phase {
        if is_wanted(&self.phase) { self.leave() } else { Phase::Idle }
    }
}

impl TaskActor {
    /// Begins the run: records it, gets the audio and calls the upstream.
    pub(super) fn start(&mut self, start: Start, ctx: &mut Context<Self>) {
        let Start { permit, token, audio, record, waited } = start;
        self.token = Some(token);
        // A run of an earlier process was already counted.
        if !self.progress.has_begun() {
            self.settings.metrics.started(waited);
        }
        let downloads = !audio.iter().all(TaskAudio::is_available);
        if downloads {
            // Keeps the time recorded at the acceptance or by a run of an earlier process: the wait for a slot ended
            // then.
            self.timeline.fetch_started.get_or_insert_with(Timestamp::now);
        }
        let (call, timeline) = match record {
            RunRecord::Done { call } => (call, None),
            RunRecord::Due if downloads => (None, Some(self.timeline.clone())),
            RunRecord::Due => {
                let now = Timestamp::now();
                (Some(now), Some(self.timeline.about_to_attempt(&permit.channel().name, now)))
            }
        };
        let most = self.calls.policy.candidates().iter().map(|channel| channel.max_request_bytes).max();
        let most = most.unwrap_or_default().saturating_sub(self.task.question.text_bytes());
        let preparation = Preparation {
            settings: Arc::clone(&self.settings),
            id: self.task.id.clone(),
            trace_id: self.task.trace_id(),
            max_text_bytes: most as u64,
            audio,
        };
        let (store, log) = (self.settings.store.clone(), self.answer.log().handle());
        let id = self.task.id.clone();
        let recorded = OptionFuture::from(timeline.map(|timeline| record_run(store, id, log, timeline)));
        let prepared = recorded.into_actor(self).then(move |_, task, _| {
            // The task is shown as running only now. If the process were killed before this point, the next process
            // would show the task as pending again.
            if let Phase::Preparing { .. } = task.calls.phase {
                task.progress.begin();
            }
            prepare(preparation).into_actor(task)
        });
        let prepared = prepared.map(move |audio, task, ctx: &mut Context<Self>| {
            let is_preparing = |phase: &Phase| matches!(phase, Phase::Preparing { .. });
            let Phase::Preparing { permit, .. } = task.calls.leave_if(is_preparing) else { return };
            match audio {
                Ok(audio) if downloads => task.downloaded(permit, audio, ctx),
                // This call was recorded with the run, so its span has the same id in the next process.
                Ok(audio) => task.call(permit, audio, call.unwrap_or_else(Timestamp::now), ctx),
                Err(failure) => task.fail(failure, ctx),
            }
        });
        self.calls.phase = Phase::Preparing { permit, preparing: ctx.spawn(prepared) };
    }

    /// Continues with downloaded audio. Its type and length were not known before, so some candidates may not accept
    /// it.
    fn downloaded(&mut self, permit: Permit, audio: Vec<Audio>, ctx: &mut Context<Self>) {
        self.timeline.fetched = Some(Timestamp::now());
        let known: Vec<_> =
            audio.iter().map(|audio| (audio.container, base64_len(audio.bytes.len()))).collect();
        let wanted = Wanted::of(&self.task.question, known);
        if let Err(failure) = self.calls.policy.remove_unfit(|channel| channel.check_request(&wanted)) {
            return self.fail(failure, ctx);
        }
        let place = permit.channel().place;
        if self.calls.policy.candidates().iter().any(|left| left.place == place) {
            self.call(permit, audio, Timestamp::now(), ctx);
        } else {
            self.change_channel(permit, audio, ctx);
        }
    }

    fn call(&mut self, permit: Permit, audio: Vec<Audio>, began: Timestamp, ctx: &mut Context<Self>) {
        self.calls.policy.begins(Instant::now());
        self.answer.drop_segments();
        self.timeline.attempt(&permit.channel().name, began);
        self.measured.call_sent = Some(Timestamp::now());
        self.measured.audio = request::total_duration(audio.iter().map(|audio| audio.duration));
        let reading = ctx.add_stream(self.open_call(&permit, &audio));
        self.calls.phase = Phase::Calling(Call { permit, received: Received::Nothing(audio), reading });
        // The journal is prepared after the call was made, so that the request does not wait for it.
        ctx.spawn(ready(()).map(|(), task: &mut Self, _| task.publication.make_ready()));
    }

    fn received(&mut self, batch: Batch, ctx: &mut Context<Self>) {
        if batch.is_empty() {
            return;
        }
        let Phase::Calling(Call { permit, received, .. }) = &self.calls.phase else { return };
        let channel = Arc::clone(permit.channel());
        if let Received::Nothing(_) = received {
            report::answers(&channel);
        }
        let was_answered = matches!(received, Received::Answer);
        // Events after the end are ignored.
        let end = batch.into_iter().find_map(|event| self.take(event, ctx));
        if let Phase::Calling(Call { received, .. }) = &mut self.calls.phase {
            received.more(self.timeline.first_answered.is_some());
        }
        self.publish(end.is_some(), ctx);
        // Measured after the first chunk was published, so that its readers do not wait for this.
        if !was_answered {
            self.measure_first_chunk();
        }
        if let Some(outcome) = end {
            if outcome.failure().is_none() {
                report::completed(&channel);
            }
            self.apply(Event::End(outcome), ctx);
        }
    }

    fn call_failed(&mut self, err: UpstreamError, ctx: &mut Context<Self>) {
        let is_calling = |phase: &Phase| matches!(phase, Phase::Calling(_));
        let Phase::Calling(Call { mut permit, received, .. }) = self.calls.leave_if(is_calling) else {
            return;
        };
        let channel = Arc::clone(permit.channel());
        let cause = Failure::from(err.clone());
        self.measure_failed_call(&channel, &err, cause.code);
        self.timeline.end_attempt(cause.code.as_str(), cause.upstream_status, Timestamp::now());
        let now = Instant::now();
        // Only the permit's first call is the probe.
        let had_begun = !matches!(received, Received::Nothing(_));
        report::failed(&channel, permit.take_probe(), had_begun, &err, now);
        let (Received::Nothing(audio) | Received::Signs(audio)) = received else {
            return self.fail(cause, ctx);
        };
        let next = self.calls.policy.failed(&channel, err, now, &mut rand::rng());
        if let NextCall::SameChannel(_) | NextCall::OtherChannel = next {
            tracing::info!(
                task_id = %self.task.id,
                trace_id = self.task.trace_id().map(display),
                channel = channel.name,
                code = cause.code.as_str(),
                upstream_status = cause.upstream_status,
                reason = cause.message.as_ref(),
                again_ms = if let NextCall::SameChannel(pause) = next { Some(pause.as_millis() as u64) } else { None },
                "upstream call failed"
            );
        }
        match next {
            NextCall::SameChannel(pause) => {
                self.settings.metrics.retried(&channel.name);
                let paused = tokio::time::sleep(pause).into_actor(self);
                let paused = paused.map(|(), task, ctx: &mut Context<Self>| {
                    let is_pausing = |phase: &Phase| matches!(phase, Phase::Pausing { .. });
                    let Phase::Pausing { permit, audio, .. } = task.calls.leave_if(is_pausing) else {
                        return;
                    };
                    task.call(permit, audio, Timestamp::now(), ctx);
                });
                self.calls.phase = Phase::Pausing { permit, audio, pausing: ctx.spawn(paused) };
            }
            NextCall::OtherChannel => {
                self.settings.metrics.failed_over(&channel.name);
                self.change_channel(permit, audio, ctx);
            }
            NextCall::End(failure) => self.fail(failure, ctx),
        }
    }

    /// Returns the permit and waits for a permit of one of the remaining channels.
    fn change_channel(&mut self, permit: Permit, audio: Vec<Audio>, ctx: &mut Context<Self>) {
        let applicant = Applicant {
            key: self.task.owner,
            most_running: self.calls.most_running,
            candidates: self.calls.policy.candidates().to_vec(),
            ticket: Some(permit.ticket()),
        };
        drop(permit);
        let moved = dispatcher::permit(self.settings.dispatcher.clone(), applicant).into_actor(self);
        let moved = moved.map(|permit, task, ctx: &mut Context<Self>| {
            let is_moving = |phase: &Phase| matches!(phase, Phase::Moving { .. });
            let Phase::Moving { audio, .. } = task.calls.leave_if(is_moving) else { return };
            match (permit, task.calls.policy.check(Instant::now())) {
                (Some(permit), Ok(())) => task.call(permit, audio, Timestamp::now(), ctx),
                (Some(_), Err(failure)) => task.fail(failure, ctx),
                // The server drains, and no part of the answer was seen. The next start runs the task from the
                // beginning.
                (None, _) => task.apply(Event::NoSlot, ctx),
            }
        });
        self.calls.phase = Phase::Moving { audio, moving: ctx.spawn(moved) };
    }
}

impl StreamHandler<Result<Batch, UpstreamError>> for TaskActor {
    fn handle(&mut self, said: Result<Batch, UpstreamError>, ctx: &mut Context<Self>) {
        match said {
            Ok(batch) => self.received(batch, ctx),
            Err(err) => self.call_failed(err, ctx),
        }
    }

    /// Does nothing, because the end was handled before. The default would stop the actor.
    fn finished(&mut self, _: &mut Context<Self>) {}
}
