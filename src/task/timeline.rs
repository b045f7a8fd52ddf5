//! When what happened to a task.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Timestamp;

/// The moments of a task's life, in milliseconds since the Unix epoch; what has not happened is `null`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Timeline {
    /// When it was accepted.
    #[serde(rename = "queued_at_ms")]
    #[schema(value_type = u64)]
    pub queued: Timestamp,
    /// When the download of its audio first began; absent for audio that was sent along.
    #[serde(rename = "fetch_started_at_ms", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = u64, required = false)]
    pub fetch_started: Option<Timestamp>,
    /// When its audio was downloaded; `null` for audio that was sent along.
    #[serde(rename = "fetched_at_ms")]
    #[schema(required, value_type = Option<u64>)]
    pub fetched: Option<Timestamp>,
    /// When the first text or thought came.
    #[serde(rename = "first_answered_at_ms")]
    #[schema(required, value_type = Option<u64>)]
    pub first_answered: Option<Timestamp>,
    /// When its outcome was decided.
    #[serde(rename = "ended_at_ms")]
    #[schema(required, value_type = Option<u64>)]
    pub ended: Option<Timestamp>,
    /// The upstream calls, in order.
    pub attempts: Vec<Attempt>,
}

/// One upstream call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// The channel's name.
    pub channel: String,
    /// When the call began; the first one begins when it is recorded that the task runs.
    #[serde(rename = "started_at_ms")]
    #[schema(value_type = u64)]
    pub started: Timestamp,
    /// When it ended.
    #[serde(rename = "ended_at_ms")]
    #[schema(required, value_type = Option<u64>)]
    pub ended: Option<Timestamp>,
    /// `completed` or an error code; `null` while it runs.
    #[schema(required)]
    pub outcome: Option<String>,
    /// The HTTP status with which the upstream refused; absent where it told none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 100, maximum = 999)]
    pub upstream_status: Option<u16>,
}

impl Timeline {
    /// The timeline of a task that was accepted just now.
    #[must_use]
    pub fn begun(queued: Timestamp) -> Self {
        Self {
            queued,
            fetch_started: None,
            fetched: None,
            first_answered: None,
            ended: None,
            attempts: Vec::new(),
        }
    }

    /// An upstream call begins.
    pub fn attempt(&mut self, channel: &str, now: Timestamp) {
        self.attempts.push(Attempt {
            channel: channel.to_owned(),
            started: now,
            ended: None,
            outcome: None,
            upstream_status: None,
        });
    }

    /// Returns this timeline as it is recorded with the beginning of a run: with the upstream call that is about to be
    /// made. If the process is killed, the call may have been made.
    #[must_use]
    pub fn about_to_attempt(&self, channel: &str, now: Timestamp) -> Self {
        let mut recorded = self.clone();
        recorded.attempt(channel, now);
        recorded
    }

    /// Returns the name of the channel that is asked, or was asked last, also by an earlier process.
    #[must_use]
    pub fn channel(&self) -> Option<&str> {
        self.attempts.last().map(|attempt| attempt.channel.as_str())
    }

    /// Returns true while an upstream call is under way.
    #[must_use]
    pub fn is_attempted(&self) -> bool {
        self.attempts.last().is_some_and(|attempt| attempt.ended.is_none())
    }

    /// The call that runs ends, and the task does not. `outcome` is an error code, `upstream_status` what the upstream
    /// said of it.
    pub fn end_attempt(&mut self, outcome: &str, upstream_status: Option<u16>, now: Timestamp) {
        if let Some(attempt) = self.attempts.last_mut().filter(|attempt| attempt.ended.is_none()) {
            attempt.ended = Some(now);
            attempt.outcome = Some(outcome.to_owned());
            attempt.upstream_status = upstream_status;
        }
    }

    /// The task, and with it the call that runs, ends. `outcome` is `completed` or an error code.
    pub fn end(&mut self, outcome: &str, now: Timestamp) {
        self.ended = Some(now);
        self.end_attempt(outcome, None, now);
    }

    /// From acceptance to the first call, or to the end where there was none.
    #[must_use]
    pub fn queued_ms(&self) -> Option<u64> {
        let until = self.attempts.first().map(|attempt| attempt.started).or(self.ended)?;
        Some(until.since(self.queued))
    }

    /// From the first call to the first text.
    #[must_use]
    pub fn first_chunk_ms(&self) -> Option<u64> {
        Some(self.first_answered?.since(self.attempts.first()?.started))
    }

    /// From acceptance to the end.
    #[must_use]
    pub fn total_ms(&self) -> Option<u64> {
        Some(self.ended?.since(self.queued))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeline_tells_its_durations() {
        let mut timeline = Timeline::begun(Timestamp(1_000));
        assert_eq!(
            (timeline.queued_ms(), timeline.first_chunk_ms(), timeline.total_ms()),
            (None, None, None)
        );
        timeline.attempt("gemini", Timestamp(1_200));
        timeline.first_answered = Some(Timestamp(1_500));
        timeline.end("completed", Timestamp(2_000));
        let ms = (timeline.queued_ms(), timeline.first_chunk_ms(), timeline.total_ms());
        assert_eq!(ms, (Some(200), Some(300), Some(1_000)));
        assert_eq!(
            serde_json::to_string(&timeline).unwrap(),
            r#"{"queued_at_ms":1000,"fetched_at_ms":null,"first_answered_at_ms":1500,"ended_at_ms":2000,"attempts":[{"channel":"gemini","started_at_ms":1200,"ended_at_ms":2000,"outcome":"completed"}]}"#
        );
    }

    #[test]
    fn a_task_that_never_ran_has_waited_until_its_end() {
        let mut timeline = Timeline::begun(Timestamp(1_000));
        timeline.end("task_cancelled", Timestamp(1_700));
        assert_eq!((timeline.queued_ms(), timeline.total_ms()), (Some(700), Some(700)));
    }
}
