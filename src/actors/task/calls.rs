//! A task's upstream calls: the first one, what is heard of it, and what follows when it fails.
//!
//! What to do about a failed call is decided by the [`Course`](crate::channel::course::Course), a pure value. As long as
//! nothing of an answer was seen it may be another call; afterwards it is the end.

use std::sync::Arc;
use std::time::Instant;

use actix::prelude::*;
use futures_util::{StreamExt, stream};

use super::TaskActor;
use super::ahead::CallAhead;
use super::durable::{Run, prepare};
use crate::actors::dispatcher::{self, Permit};
use crate::audio::Audio;
use crate::channel::Channel;
use crate::channel::breaker::Probe;
use crate::channel::course::Next;
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

impl TaskActor {
    /// The channel of the permit is the one that is asked from now on.
    pub(super) fn hold(&mut self, permit: Permit) {
        self.channel = Some(permit.channel().clone());
        self.permit = Some(permit);
    }

    /// The run begins: records that, gets hold of the audio and asks.
    pub(super) fn start_upstream(&mut self, ctx: &mut Context<Self>) {
        self.begun = true;
        self.progress.begin();
        let (Some(channel), Some(audio), Some(course)) = (&self.channel, self.audio.take(), &self.course)
        else {
            return self.fail(Failure::internal(), ctx);
        };
        let downloads = !audio.is_at_hand();
        if downloads {
            self.timeline.fetch_started = Some(Timestamp::now());
        } else if !self.timeline.is_attempted() {
            self.timeline.attempt(&channel.name, Timestamp::now());
        }
        let timeline = (!self.run_recorded).then(|| self.timeline.clone());
        let most = course.candidates().iter().map(|channel| channel.max_request_bytes).max();
        let most = most.unwrap_or_default().saturating_sub(self.task.question.text_bytes());
        let prepared = prepare(Run {
            settings: Arc::clone(&self.settings),
            id: self.task.id.clone(),
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
        self.call = Some(ctx.spawn(calling));
    }

    /// Audio of which nothing was known: not every candidate may take it.
    fn downloaded(&mut self, audio: Audio, ctx: &mut Context<Self>) {
        self.timeline.fetched = Some(Timestamp::now());
        let (Some(channel), Some(course)) = (&self.channel, &mut self.course) else {
            return self.fail(Failure::internal(), ctx);
        };
        let text_bytes = usize::try_from(audio.text.len()).unwrap_or(usize::MAX);
        let bytes = self.task.question.text_bytes().saturating_add(text_bytes);
        if let Err(failure) = course.narrow(|channel| channel.judge(audio.container, bytes)) {
            return self.fail(failure, ctx);
        }
        if course.candidates().iter().any(|left| left.place == channel.place) {
            self.call_upstream(audio, ctx);
        } else {
            self.at_hand = Some(audio);
            self.change_channel(ctx);
        }
    }

    fn call_upstream(&mut self, audio: Audio, ctx: &mut Context<Self>) {
        let (Some(channel), Some(course)) = (self.channel.clone(), &mut self.course) else {
            return self.fail(Failure::internal(), ctx);
        };
        course.begins(Instant::now());
        if !self.timeline.is_attempted() {
            self.timeline.attempt(&channel.name, Timestamp::now());
        }
        self.measured.audio = audio.duration;
        let events =
            self.ahead.take().map_or_else(|| self.open_call(&channel, &audio), |CallAhead(events)| events);
        // An end without a word is none.
        let events = events.chain(stream::once(std::future::ready(Err(UpstreamError::Disconnected))));
        self.audio_duration = audio.duration;
        self.at_hand = Some(audio);
        self.listening = true;
        self.spoke = false;
        self.calls += 1;
        let call = self.calls;
        self.call = Some(ctx.add_stream(events.map(move |said| Heard { call, said })));
        if let Some(journal) = &mut self.journal {
            journal.make_ready();
        }
    }

    /// A call that begins when it is polled.
    pub(super) fn open_call(&self, channel: &Channel, audio: &Audio) -> UpstreamStream {
        let request = UpstreamRequest {
            question: self.task.question.clone(),
            audio: audio.clone(),
            terms: Terms { connect_timeout: channel.timeouts.connect, trace: self.call_span() },
        };
        let timeouts = Timeouts { total: channel.timeouts.total_for(audio.duration), ..channel.timeouts };
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
        let Some(channel) = self.channel.clone() else { return self.fail(err, ctx) };
        let cause = Failure::from(err.clone());
        self.measure_attempt(Some(cause.code));
        self.timeline.end_attempt(cause.code.as_str(), cause.upstream_status, Timestamp::now());
        let now = Instant::now();
        // Only its first call is the probe.
        let probe = self.permit.as_mut().and_then(Permit::take_probe);
        report(&channel, probe, self.spoke, &err, now);
        if is_answered {
            return self.fail(cause, ctx);
        }
        let Some(course) = &mut self.course else { return self.fail(cause, ctx) };
        let next = course.failed(&channel, err, now, &mut rand::rng());
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
                self.call = Some(ctx.spawn(calling));
            }
            Next::Elsewhere => {
                self.settings.metrics.failed_over(&channel.name);
                self.change_channel(ctx);
            }
            Next::End(failure) => self.fail(failure, ctx),
        }
    }

    fn call_again(&mut self, ctx: &mut Context<Self>) {
        match self.at_hand.take() {
            Some(audio) => self.call_upstream(audio, ctx),
            None => self.fail(Failure::internal(), ctx),
        }
    }

    /// Gives the permit back and waits for one of a channel that is left.
    fn change_channel(&mut self, ctx: &mut Context<Self>) {
        let Some(course) = &self.course else { return self.fail(Failure::internal(), ctx) };
        let applicant = Applicant {
            key: self.task.owner,
            most_running: self.most_running,
            candidates: course.candidates().to_vec(),
            ticket: self.permit.take().map(|permit| permit.ticket()),
        };
        let waiting = dispatcher::permit(self.settings.dispatcher.clone(), applicant).into_actor(self);
        let calling = waiting.map(|permit, task, ctx: &mut Context<Self>| match permit {
            _ if task.life != Life::Running => {}
            Some(permit) => {
                match task.course.as_ref().map_or(Ok(()), |course| course.check(Instant::now())) {
                    Ok(()) => {
                        task.hold(permit);
                        task.call_again(ctx);
                    }
                    Err(failure) => task.fail(failure, ctx),
                }
            }
            // The server drains, and nothing of the task was seen: the next start begins anew.
            None => task.apply(Event::Park, ctx),
        });
        self.call = Some(ctx.spawn(calling));
    }
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
        if self.life != Life::Running || !self.listening || call != self.calls {
            return;
        }
        match said {
            Ok(batch) if batch.is_empty() => {}
            Ok(batch) => {
                if let Some(channel) = self.channel.as_ref().filter(|_| !self.spoke) {
                    note(channel, channel.breaker.spoke());
                }
                self.spoke = true;
                let was_answered = self.is_answered();
                for event in batch {
                    if self.life == Life::Running {
                        if let (UpstreamEvent::Finished { .. }, Some(channel)) = (&event, &self.channel) {
                            note(channel, channel.breaker.worked());
                        }
                        self.take(event, ctx);
                    }
                }
                if self.is_answered() {
                    // No other call will be made.
                    self.at_hand = None;
                }
                if !self.publish() {
                    self.fail(Failure::internal(), ctx);
                }
                // Afterwards: whoever waits for the first chunk need not wait for this.
                if !was_answered {
                    self.measure_first_chunk();
                }
            }
            Err(err) => {
                self.listening = false;
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
    if let UpstreamError::Refused { fault: Fault::Credentials, status, message, .. } = err {
        let (channel, reason) = (&channel.name, message);
        tracing::error!(channel, status, reason, "the upstream refuses the channel's credentials");
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
