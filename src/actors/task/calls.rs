//! A task's upstream calls: the first one, what is heard of it, and what follows when it fails.
//!
//! What to do about a failed call is decided by the [`Course`], a pure value. As long as
//! nothing of an answer was seen it may be another call; afterwards it is the end.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use futures_util::{StreamExt, stream};

use super::durable::{Run, prepare};
use super::{TaskActor, TaskAudio};
use crate::actors::dispatcher::{self, Permit};
use crate::audio::Audio;
use crate::audio::base64::encoded_len;
use crate::channel::Channel;
use crate::channel::RetryBudget;
use crate::channel::breaker::Probe;
use crate::channel::choose::Wanted;
use crate::channel::course::{Course, Next};
use crate::channel::queue::Applicant;
use crate::config::Timeouts;
use crate::error::Failure;
use crate::task::Timestamp;
use crate::task::life::{Event, Life};
use crate::task::spans::Part;
use crate::upstream::deadlines::with_deadlines;
use crate::upstream::{
    Batch, Fault, Terms, UpstreamError, UpstreamEvent, UpstreamRequest, UpstreamStream, Verdict,
};
use crate::wire::trace_context::TraceContext;

/// Who can be asked, who is asked, and how far that has come. A task that is not to be run has no candidates.
#[derive(Debug)]
pub(super) struct Calls {
    course: Course,
    /// How many tasks of its key may run at once.
    most_running: Option<NonZeroU32>,
    /// Is the run of this process in the store already?
    is_recorded: bool,
    /// Who is asked, or was asked last.
    channel: Option<Arc<Channel>>,
    permit: Option<Permit>,
    /// Held until the run begins.
    audio: Option<Vec<TaskAudio>>,
    /// From then on until something of an answer was seen: each call sends it.
    at_hand: Option<Vec<Audio>>,
    /// The upstream call, or what prepares it, or the pause before the next one.
    under_way: Option<SpawnHandle>,
    /// Is what is heard of the call still of interest?
    is_listening: bool,
    /// Calls of this process so far.
    count: u32,
    /// Has anything of an answer come from the last of them, be it something that nobody wants to see?
    spoke: bool,
}

impl Calls {
    /// No calls yet, of at most what the budget allows.
    pub(super) fn new(
        candidates: Vec<Arc<Channel>>,
        budget: RetryBudget,
        most_running: Option<NonZeroU32>,
        audio: Vec<TaskAudio>,
        is_recorded: bool,
    ) -> Self {
        Self {
            course: Course::new(candidates, budget),
            most_running,
            is_recorded,
            channel: None,
            permit: None,
            audio: Some(audio),
            at_hand: None,
            under_way: None,
            is_listening: false,
            count: 0,
            spoke: false,
        }
    }

    /// The channel of the permit is the one that is asked from now on.
    pub(super) fn hold(&mut self, permit: Permit) {
        self.channel = Some(permit.channel().clone());
        self.permit = Some(permit);
    }

    /// Who is asked, or was asked last.
    pub(super) fn channel(&self) -> Option<&Channel> {
        self.channel.as_deref()
    }

    /// How many channels were found to choose from.
    pub(super) fn candidates(&self) -> usize {
        self.course.count()
    }

    /// No further call will be made. Returns what is to be stopped.
    pub(super) fn release(&mut self) -> Option<SpawnHandle> {
        self.is_listening = false;
        self.audio = None;
        self.at_hand = None;
        self.permit = None;
        self.under_way.take()
    }
}

impl TaskActor {
    /// The run begins: records that, gets hold of the audio and asks.
    pub(super) fn start_upstream(&mut self, ctx: &mut Context<Self>) {
        self.begun = true;
        self.progress.begin();
        let calls = &mut self.calls;
        let (Some(channel), Some(audio)) = (&calls.channel, calls.audio.take()) else {
            return self.fail(Failure::internal(), ctx);
        };
        let downloads = !audio.iter().all(TaskAudio::is_at_hand);
        if downloads {
            // It was noted with the acceptance, or by a run of an earlier process: then the wait for a turn was over.
            self.timeline.fetch_started.get_or_insert_with(Timestamp::now);
        } else if !self.timeline.is_attempted() {
            self.timeline.attempt(&channel.name, Timestamp::now());
        }
        let timeline = (!calls.is_recorded).then(|| self.timeline.clone());
        let most = calls.course.candidates().iter().map(|channel| channel.max_request_bytes).max();
        let most = most.unwrap_or_default().saturating_sub(self.task.question.text_bytes());
        let prepared = prepare(Run {
            settings: Arc::clone(&self.settings),
            id: self.task.id.clone(),
            log: self.answer.log().handle(),
            trace_id: self.task.trace_id(),
            max_text_bytes: most as u64,
            timeline,
            audio,
        });
        let calling =
            prepared.into_actor(self).map(move |audio, task, ctx: &mut Context<Self>| match audio {
                // A future may be polled once more after it was cancelled.
                Ok(_) if task.life != Life::Running => {}
                Ok(audio) if downloads => task.downloaded(audio, ctx),
                Ok(audio) => task.call_upstream(audio, ctx),
                Err(failure) => task.fail(failure, ctx),
            });
        self.calls.under_way = Some(ctx.spawn(calling));
    }

    /// Audio of which nothing was known: not every candidate may take it.
    fn downloaded(&mut self, audio: Vec<Audio>, ctx: &mut Context<Self>) {
        self.timeline.fetched = Some(Timestamp::now());
        let known: Vec<_> =
            audio.iter().map(|audio| (audio.container, encoded_len(audio.bytes.len()))).collect();
        let wanted = Wanted::of(&self.task.question, known);
        if let Err(failure) = self.calls.course.narrow(|channel| channel.judge(&wanted)) {
            return self.fail(failure, ctx);
        }
        let place = self.calls.channel().map(|channel| channel.place);
        if self.calls.course.candidates().iter().any(|left| Some(left.place) == place) {
            self.call_upstream(audio, ctx);
        } else {
            self.calls.at_hand = Some(audio);
            self.change_channel(ctx);
        }
    }

    fn call_upstream(&mut self, audio: Vec<Audio>, ctx: &mut Context<Self>) {
        let Some(channel) = self.calls.channel.clone() else { return self.fail(Failure::internal(), ctx) };
        self.calls.course.begins(Instant::now());
        if !self.timeline.is_attempted() {
            self.timeline.attempt(&channel.name, Timestamp::now());
        }
        self.measured.audio = together(audio.iter().map(|audio| audio.duration));
        let Some(permit) = &self.calls.permit else { return self.fail(Failure::internal(), ctx) };
        let events = self.open_call(permit, &audio);
        // An end without a word is none.
        let events = events.chain(stream::once(std::future::ready(Err(UpstreamError::Disconnected))));
        let calls = &mut self.calls;
        calls.at_hand = Some(audio);
        calls.is_listening = true;
        calls.spoke = false;
        calls.count += 1;
        let call = calls.count;
        calls.under_way = Some(ctx.add_stream(events.map(move |said| Heard { call, said })));
        if let Some(journal) = &mut self.journal {
            journal.make_ready();
        }
    }

    /// A call that begins when it is polled.
    fn open_call(&self, permit: &Permit, audio: &[Audio]) -> UpstreamStream {
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
        let total = channel.timeouts.total_for(together(audio.iter().map(Audio::plausible_duration)));
        let timeouts = Timeouts { total, ..channel.timeouts };
        with_deadlines(channel.upstream.call(request), timeouts)
    }

    /// What the upstream is told: the place in the trace of the call that is about to be made, which is the last one of
    /// the timeline. Where it is not recorded, the submitter's: below a span that nobody has, the upstream's own would be
    /// orphans.
    fn call_span(&self) -> Option<TraceContext> {
        let trace = self.task.trace.as_ref();
        if !self.settings.traces.record(trace) {
            return trace.cloned();
        }
        let attempts = &self.timeline.attempts;
        let started = attempts.last()?.started;
        self.task.span(Part::Call { number: attempts.len(), started })
    }

    /// Has anything of an answer come, so that another call could only contradict it?
    fn is_answered(&self) -> bool {
        self.timeline.first_answered.is_some()
    }

    fn call_failed(&mut self, err: UpstreamError, ctx: &mut Context<Self>) {
        let is_answered = self.is_answered();
        let Some(channel) = self.calls.channel.clone() else { return self.fail(err, ctx) };
        let cause = Failure::from(err.clone());
        self.measure_failed_call(&channel, &err, cause.code);
        self.timeline.end_attempt(cause.code.as_str(), cause.upstream_status, Timestamp::now());
        let now = Instant::now();
        // Only its first call is the probe.
        let probe = self.calls.permit.as_mut().and_then(Permit::take_probe);
        report(&channel, probe, self.calls.spoke, &err, now);
        if is_answered {
            return self.fail(cause, ctx);
        }
        let next = self.calls.course.failed(&channel, err, now, &mut rand::rng());
        if let Next::Again(_) | Next::Elsewhere = next {
            tracing::info!(
                task_id = %self.task.id,
                trace_id = self.task.trace_id().map(display),
                channel = channel.name,
                code = cause.code.as_str(),
                upstream_status = cause.upstream_status,
                reason = cause.message.as_ref(),
                again_ms = if let Next::Again(pause) = next { Some(pause.as_millis() as u64) } else { None },
                "upstream call failed"
            );
        }
        match next {
            Next::Again(pause) => {
                self.settings.metrics.retried(&channel.name);
                let paused = tokio::time::sleep(pause).into_actor(self);
                let calling = paused.map(|(), task, ctx: &mut Context<Self>| {
                    if task.life == Life::Running {
                        task.call_again(ctx);
                    }
                });
                self.calls.under_way = Some(ctx.spawn(calling));
            }
            Next::Elsewhere => {
                self.settings.metrics.failed_over(&channel.name);
                self.change_channel(ctx);
            }
            Next::End(failure) => self.fail(failure, ctx),
        }
    }

    fn call_again(&mut self, ctx: &mut Context<Self>) {
        match self.calls.at_hand.take() {
            Some(audio) => self.call_upstream(audio, ctx),
            None => self.fail(Failure::internal(), ctx),
        }
    }

    /// Gives the permit back and waits for one of a channel that is left.
    fn change_channel(&mut self, ctx: &mut Context<Self>) {
        let calls = &mut self.calls;
        let applicant = Applicant {
            key: self.task.owner,
            most_running: calls.most_running,
            candidates: calls.course.candidates().to_vec(),
            ticket: calls.permit.take().map(|permit| permit.ticket()),
        };
        let waiting = dispatcher::permit(self.settings.dispatcher.clone(), applicant).into_actor(self);
        let calling = waiting.map(|permit, task, ctx: &mut Context<Self>| match permit {
            _ if task.life != Life::Running => {}
            Some(permit) => match task.calls.course.check(Instant::now()) {
                Ok(()) => {
                    task.calls.hold(permit);
                    task.call_again(ctx);
                }
                Err(failure) => task.fail(failure, ctx),
            },
            // The server drains, and nothing of the task was seen: the next start begins anew.
            None => task.apply(Event::Park, ctx),
        });
        self.calls.under_way = Some(ctx.spawn(calling));
    }
}

/// Adds up what is known of how long each audio lasts; nothing, where nothing is known of any.
fn together(durations: impl Iterator<Item = Option<Duration>>) -> Option<Duration> {
    durations.flatten().reduce(Duration::saturating_add)
}

/// What is heard of a call.
#[derive(Debug)]
pub(super) struct Heard {
    /// Its number: one that is over may have had a last word to say.
    call: u32,
    said: Result<Batch, UpstreamError>,
}

impl StreamHandler<Heard> for TaskActor {
    fn handle(&mut self, Heard { call, said }: Heard, ctx: &mut Context<Self>) {
        // The end wins over whatever its upstream still says.
        if self.life != Life::Running || !self.calls.is_listening || call != self.calls.count {
            return;
        }
        match said {
            Ok(batch) if batch.is_empty() => {}
            Ok(batch) => {
                if let Some(channel) = self.calls.channel().filter(|_| !self.calls.spoke) {
                    note(channel, channel.breaker.spoke());
                }
                self.calls.spoke = true;
                let was_answered = self.is_answered();
                for event in batch {
                    if self.life == Life::Running {
                        if let (UpstreamEvent::Finished { .. }, Some(channel)) =
                            (&event, self.calls.channel())
                        {
                            note(channel, channel.breaker.worked());
                        }
                        self.take(event, ctx);
                    }
                }
                if self.is_answered() {
                    // No other call will be made.
                    self.calls.at_hand = None;
                }
                self.publish();
                // Afterwards: whoever waits for the first chunk need not wait for this.
                if !was_answered {
                    self.measure_first_chunk();
                }
            }
            Err(err) => {
                self.calls.is_listening = false;
                self.call_failed(err, ctx);
            }
        }
    }

    /// The end was told before. Overridden because the default stops the actor.
    fn finished(&mut self, _: &mut Context<Self>) {}
}

fn note(channel: &Channel, works_again: bool) {
    if works_again {
        tracing::info!(channel = channel.name, "the channel works again");
    }
}

/// Tells the channel's breaker and the operator of a failed call.
fn report(channel: &Channel, probe: Option<Probe>, spoke: bool, err: &UpstreamError, now: Instant) {
    if let UpstreamError::Refused { fault, status, message, .. } = err {
        let (channel, reason) = (&channel.name, message);
        match fault {
            Fault::Credentials => {
                tracing::error!(channel, status, reason, "the upstream refuses the channel's credentials");
            }
            Fault::Account => {
                tracing::error!(
                    channel,
                    status,
                    reason,
                    "the upstream refuses the channel's account or region"
                );
            }
            _ => {}
        }
    }
    match err.verdict() {
        // It answers; whether it comes to an end with what it answers is not seen.
        Verdict::Works => note(channel, channel.breaker.spoke()),
        Verdict::Unknown => {}
        Verdict::Fails => {
            if let Some(rest) = channel.breaker.failed(probe, spoke, now) {
                let (channel, rest_ms) = (&channel.name, rest.as_millis() as u64);
                tracing::warn!(
                    channel,
                    rest_ms,
                    "the channel fails repeatedly: where another one serves the model, it is left alone for a while"
                );
            }
        }
    }
}
