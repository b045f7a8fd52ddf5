//! Updates the metrics of a task: when a call ends, at the first chunk, at the end, and for each batch of chunks. Most
//! values come from the timeline.

use std::time::Duration;

use super::TaskActor;
use crate::channel::Channel;
use crate::error::ErrorCode;
use crate::metrics::{Cause, TaskEnd};
use crate::task::{ChunkLog, Outcome, Timeline, Timestamp};
use crate::upstream::UpstreamError;

/// Values for the metrics that the timeline does not have.
#[derive(Debug)]
pub(super) struct Measured {
    /// Frames and bytes of the log that were counted already, by this or an earlier actor.
    frames: usize,
    bytes: usize,
    /// When the last call was sent. A call's beginning in the timeline is earlier, because it is recorded before the
    /// call.
    pub(super) call_sent: Option<Timestamp>,
    /// The duration of the audio, if known.
    pub(super) audio: Option<Duration>,
    /// Number of failed calls, and how many of them failed because the upstream does not know the model.
    failed_calls: u32,
    not_served: u32,
}

impl From<&ChunkLog> for Measured {
    fn from(log: &ChunkLog) -> Self {
        let (frames, bytes) = (log.len(), log.frame_bytes());
        Self { frames, bytes, call_sent: None, audio: None, failed_calls: 0, not_served: 0 }
    }
}

impl TaskActor {
    /// Counts the published frames.
    pub(super) fn measure_published(&mut self) {
        let (frames, bytes) = (self.answer.log().len(), self.answer.log().frame_bytes());
        if frames > self.measured.frames {
            self.settings.metrics.published(frames - self.measured.frames, bytes - self.measured.bytes);
            (self.measured.frames, self.measured.bytes) = (frames, bytes);
        }
    }

    /// Counts a failed call of this channel with this code.
    pub(super) fn measure_failed_call(&mut self, channel: &Channel, err: &UpstreamError, code: ErrorCode) {
        let is_made_up = err.knows_no_model() && !channel.lists(&self.task.question.model);
        self.measured.failed_calls += 1;
        self.measured.not_served += u32::from(is_made_up);
        self.measure_attempt(Some(if is_made_up { Cause::NotServed } else { code.into() }));
    }

    /// Measures the current call, if one runs, because it is about to end.
    pub(super) fn measure_attempt(&self, failed: Option<Cause>) {
        if let Some(attempt) = self.timeline.attempts.last().filter(|_| self.timeline.is_attempted()) {
            self.settings.metrics.attempt_ended(&attempt.channel, failed);
        }
    }

    /// Measures the time to the first chunk, if it has just come.
    pub(super) fn measure_first_chunk(&self) {
        let Timeline { first_answered: Some(first), queued, .. } = self.timeline else { return };
        if let (Some(channel), Some(call_sent)) = (self.timeline.channel(), self.measured.call_sent) {
            let since = |moment| Duration::from_millis(first.since(moment));
            self.settings.metrics.first_chunk(channel, since(queued), since(call_sent));
        }
    }

    /// Counts the task's end, which is durable.
    pub(super) fn measure_end(&self, outcome: &Outcome) {
        self.settings.metrics.ended(TaskEnd {
            channel: self.timeline.channel(),
            failed: outcome.failure().map(|failure| self.cause(failure.code)),
            duration: Duration::from_millis(self.timeline.total_ms().unwrap_or(0)),
            tokens: outcome.usage().map(|usage| (usage.prompt_tokens, usage.completion_tokens)),
            audio: self.measured.audio,
        });
    }

    /// Returns why a task with this failure code failed. If no called upstream knows the model, that is the cause.
    fn cause(&self, code: ErrorCode) -> Cause {
        let Measured { failed_calls, not_served, .. } = self.measured;
        match code {
            ErrorCode::UpstreamError | ErrorCode::AllChannelsExhausted
                if not_served > 0 && not_served == failed_calls =>
            {
                Cause::NotServed
            }
            code => Cause::Code(code),
        }
    }
}
