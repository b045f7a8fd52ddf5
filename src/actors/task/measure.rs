//! What a task's actor tells the metrics: at its calls' ends, at its first chunk, at its end, and once for each batch of
//! chunks. Mostly it has noted it all for the timeline.

use std::time::Duration;

use super::TaskActor;
use crate::channel::Channel;
use crate::error::ErrorCode;
use crate::metrics::{Cause, TaskEnd};
use crate::task::{ChunkLog, Outcome, Timeline, Timestamp};
use crate::upstream::UpstreamError;

/// What the timeline does not know.
#[derive(Debug)]
pub(super) struct Measured {
    /// Frames and bytes of the log that were counted, or are an earlier actor's.
    frames: usize,
    bytes: usize,
    /// When the upstream was asked last. A call's beginning in the timeline is earlier: it is recorded before.
    pub(super) asked: Option<Timestamp>,
    /// How long the audio lasts, where that is known.
    pub(super) audio: Option<Duration>,
    /// Calls that have failed, and those of them that did for a model that was made up.
    failed_calls: u32,
    not_served: u32,
}

impl From<&ChunkLog> for Measured {
    fn from(log: &ChunkLog) -> Self {
        let (frames, bytes) = (log.len(), log.frame_bytes());
        Self { frames, bytes, asked: None, audio: None, failed_calls: 0, not_served: 0 }
    }
}

impl TaskActor {
    /// Frames were published.
    pub(super) fn measure_published(&mut self) {
        let (frames, bytes) = (self.answer.log().len(), self.answer.log().frame_bytes());
        if frames > self.measured.frames {
            self.settings.metrics.published(frames - self.measured.frames, bytes - self.measured.bytes);
            (self.measured.frames, self.measured.bytes) = (frames, bytes);
        }
    }

    /// A call of this channel has failed, with this code.
    pub(super) fn measure_failed_call(&mut self, channel: &Channel, err: &UpstreamError, code: ErrorCode) {
        let is_made_up = err.knows_no_model() && !channel.lists(&self.task.question.model);
        self.measured.failed_calls += 1;
        self.measured.not_served += u32::from(is_made_up);
        self.measure_attempt(Some(if is_made_up { Cause::NotServed } else { code.into() }));
    }

    /// The call that runs, if one does, is about to end.
    pub(super) fn measure_attempt(&self, failed: Option<Cause>) {
        if let Some(attempt) = self.timeline.attempts.last().filter(|_| self.timeline.is_attempted()) {
            self.settings.metrics.attempt_ended(&attempt.channel, failed);
        }
    }

    /// Something may have come for the first time.
    pub(super) fn measure_first_chunk(&self) {
        let Timeline { first_answered: Some(first), queued, .. } = self.timeline else { return };
        if let (Some(channel), Some(asked)) = (self.timeline.channel(), self.measured.asked) {
            let since = |moment| Duration::from_millis(first.since(moment));
            self.settings.metrics.first_chunk(channel, since(queued), since(asked));
        }
    }

    /// The task's end is durable.
    pub(super) fn measure_end(&self, outcome: &Outcome) {
        self.settings.metrics.ended(TaskEnd {
            channel: self.timeline.channel(),
            failed: outcome.failure().map(|failure| self.cause(failure.code)),
            duration: Duration::from_millis(self.timeline.total_ms().unwrap_or(0)),
            tokens: outcome.usage().map(|usage| (usage.prompt_tokens, usage.completion_tokens)),
            audio: self.measured.audio,
        });
    }

    /// Why the task failed, whose failure has this code. Where no upstream that was asked knows the model, that is it.
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
