//! The timeline of a task: when each step of its life happened.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Timestamp;

/// The moments of a task's life, in milliseconds since the Unix epoch. A moment that has not come yet is `null`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Timeline {
    /// When the task was accepted.
    #[serde(rename = "queued_at_ms")]
    #[schema(value_type = u64)]
    pub queued: Timestamp,
    /// When the download of the task's audio first began; absent for audio that came in the request.
    #[serde(rename = "fetch_started_at_ms", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = u64, required = false)]
    pub fetch_started: Option<Timestamp>,
    /// When the download of the task's audio was complete; `null` for audio that came in the request.
    #[serde(rename = "fetched_at_ms")]
    #[schema(required, value_type = Option<u64>)]
    pub fetched: Option<Timestamp>,
    /// When the first text of the answer or of the reasoning came.
    #[serde(rename = "first_answered_at_ms")]
    #[schema(required, value_type = Option<u64>)]
    pub first_answered: Option<Timestamp>,
    /// When the task's outcome was decided.
    #[serde(rename = "ended_at_ms")]
    #[schema(required, value_type = Option<u64>)]
    pub ended: Option<Timestamp>,
    /// The upstream calls, in order.
    pub attempts: Vec<Attempt>,
}

/// An upstream call in the timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// The channel's name.
    pub channel: String,
    /// When the call began. The first call begins when the store records that the task runs.
    #[serde(rename = "started_at_ms")]
    #[schema(value_type = u64)]
    pub started: Timestamp,
    /// When the call ended.
    #[serde(rename = "ended_at_ms")]
    #[schema(required, value_type = Option<u64>)]
    pub ended: Option<Timestamp>,
    /// `completed` or an error code; `null` while the call runs.
    #[schema(required)]
    pub outcome: Option<String>,
    /// The HTTP status with which the upstream refused the call; absent if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 100, maximum = 999)]
    pub upstream_status: Option<u16>,
}

impl Timeline {
    /// Makes the timeline of a task that was accepted just now.
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

    /// Records that an upstream call begins.
    pub fn attempt(&mut self, channel: &str, now: Timestamp) {
        self.attempts.push(Attempt {
            channel: channel.to_owned(),
            started: now,
            ended: None,
            outcome: None,
            upstream_status: None,
        });
    }

    /// Returns this timeline with the upstream call that is about to be made, for the record of the beginning of a run.
    /// If the process is killed, the call may or may not have been made.
    #[must_use]
    pub fn about_to_attempt(&self, channel: &str, now: Timestamp) -> Self {
        let mut recorded = self.clone();
        recorded.attempt(channel, now);
        recorded
    }

    /// Returns the name of the channel of the present or the last upstream call, even if an earlier process made it.
    #[must_use]
    pub fn channel(&self) -> Option<&str> {
        self.attempts.last().map(|attempt| attempt.channel.as_str())
    }

    /// Returns true while an upstream call is running.
    #[must_use]
    pub fn is_attempted(&self) -> bool {
        self.attempts.last().is_some_and(|attempt| attempt.ended.is_none())
    }

    /// Records that the running call ends and the task does not. `outcome` is an error code, and `upstream_status` is
    /// the HTTP status that the upstream sent with it.
    pub fn end_attempt(&mut self, outcome: &str, upstream_status: Option<u16>, now: Timestamp) {
        if let Some(attempt) = self.attempts.last_mut().filter(|attempt| attempt.ended.is_none()) {
            attempt.ended = Some(now);
            attempt.outcome = Some(outcome.to_owned());
            attempt.upstream_status = upstream_status;
        }
    }

    /// Records that the task ends, and with it the running call. `outcome` is `completed` or an error code.
    pub fn end(&mut self, outcome: &str, now: Timestamp) {
        self.ended = Some(now);
        self.end_attempt(outcome, None, now);
    }

    /// Returns the time from acceptance to the first call, or to the end if there was no call.
    #[must_use]
    pub fn queued_ms(&self) -> Option<u64> {
        let until = self.attempts.first().map(|attempt| attempt.started).or(self.ended)?;
        Some(until.since(self.queued))
    }

    /// Returns the time from the first call to the first text.
    #[must_use]
    pub fn first_chunk_ms(&self) -> Option<u64> {
        Some(self.first_answered?.since(self.attempts.first()?.started))
    }

    /// Returns the time from acceptance to the end.
    #[must_use]
    pub fn total_ms(&self) -> Option<u64> {
        Some(self.ended?.since(self.queued))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeline_returns_its_durations() {
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
    fn a_task_that_never_ran_waited_until_its_end() {
        let mut timeline = Timeline::begun(Timestamp(1_000));
        timeline.end("task_cancelled", Timestamp(1_700));
        assert_eq!((timeline.queued_ms(), timeline.total_ms()), (Some(700), Some(700)));
    }
}
