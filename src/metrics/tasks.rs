//! Metrics of tasks and their upstream calls.

use std::time::Duration;

use prometheus::{CounterVec, Histogram, HistogramVec, IntCounter, IntCounterVec, Registry};

use super::MetricsError;
use super::family::Family;
use super::names;
use crate::error::ErrorCode;

/// The label of a success. The labels of failures are error codes.
const COMPLETED: &str = "completed";
/// The label for the channel of a task that has called no channel. No channel can have this name.
pub const NO_CHANNEL: &str = "none";
/// The failures that are not the submitter's fault. They page the operator: `deploy/prometheus/alerts.yml` names the
/// same codes.
const PAGING: [ErrorCode; 11] = [
    ErrorCode::UpstreamError,
    ErrorCode::UpstreamAuthError,
    ErrorCode::UpstreamInvalidResponse,
    ErrorCode::UpstreamDisconnected,
    ErrorCode::UpstreamRateLimited,
    ErrorCode::UpstreamTimeout,
    ErrorCode::AllChannelsExhausted,
    ErrorCode::InternalError,
    ErrorCode::TaskInterrupted,
    ErrorCode::StorageFull,
    ErrorCode::StorageUnavailable,
];

/// Why a call or a task failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The reason that the code names.
    Code(ErrorCode),
    /// A client has named a model that the channel's globs match and its upstream does not know. The error code says
    /// that the upstream failed, but this must not page the operator.
    NotServed,
}

impl Cause {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Code(code) => code.as_str(),
            Self::NotServed => "not_served",
        }
    }
}

impl From<ErrorCode> for Cause {
    fn from(code: ErrorCode) -> Self {
        Self::Code(code)
    }
}

/// How an upstream call ended. There are few classes, so that one graph can show all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Ok,
    Timeout,
    RateLimited,
    Auth,
    Rejected,
    NotServed,
    Disconnected,
    Invalid,
    Error,
    Abandoned,
}

impl Class {
    const ALL: [Self; 10] = [
        Self::Ok,
        Self::Timeout,
        Self::RateLimited,
        Self::Auth,
        Self::Rejected,
        Self::NotServed,
        Self::Disconnected,
        Self::Invalid,
        Self::Error,
        Self::Abandoned,
    ];

    /// Returns the class of a cause; `None` is a successful call.
    fn of(cause: Option<Cause>) -> Self {
        match cause {
            None => Self::Ok,
            Some(Cause::NotServed) => Self::NotServed,
            Some(Cause::Code(code)) => match code {
                ErrorCode::UpstreamTimeout => Self::Timeout,
                ErrorCode::UpstreamRateLimited => Self::RateLimited,
                ErrorCode::UpstreamAuthError => Self::Auth,
                ErrorCode::UpstreamRejected
                | ErrorCode::ContentPolicyViolation
                | ErrorCode::UnsupportedAudioFormat
                | ErrorCode::AudioTooLarge => Self::Rejected,
                ErrorCode::UpstreamDisconnected => Self::Disconnected,
                ErrorCode::UpstreamInvalidResponse => Self::Invalid,
                ErrorCode::UpstreamError => Self::Error,
                // The upstream is not at fault: the call was cancelled, or hearken failed.
                _ => Self::Abandoned,
            },
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Timeout => "timeout",
            Self::RateLimited => "rate_limited",
            Self::Auth => "auth",
            Self::Rejected => "rejected",
            Self::NotServed => "not_served",
            Self::Disconnected => "disconnected",
            Self::Invalid => "invalid",
            Self::Error => "error",
            Self::Abandoned => "abandoned",
        }
    }
}

/// A task that has ended.
#[derive(Debug, Clone, Copy)]
pub struct TaskEnd<'a> {
    /// The channel that was called last, if any.
    pub channel: Option<&'a str>,
    /// Why the task failed; `None` if it completed.
    pub failed: Option<Cause>,
    /// Time from acceptance to the end.
    pub duration: Duration,
    /// For a completed task, the tokens of its prompt and of its completion.
    pub tokens: Option<(u64, u64)>,
    /// The duration of the task's audio, if it is known.
    pub audio: Option<Duration>,
}

/// Metrics of tasks and their upstream calls.
#[derive(Debug, Clone)]
pub struct TaskMetrics {
    submitted: IntCounter,
    recovered: Family<IntCounterVec, 1>,
    crashed: IntCounter,
    ended: Family<IntCounterVec, 2>,
    queue_wait: Histogram,
    first_chunk: Family<HistogramVec, 1>,
    duration: Family<HistogramVec, 2>,
    attempts: Family<IntCounterVec, 2>,
    retries: Family<IntCounterVec, 1>,
    failovers: Family<IntCounterVec, 1>,
    upstream_first: Family<HistogramVec, 1>,
    tokens: Family<IntCounterVec, 2>,
    audio: Family<CounterVec, 1>,
    fetch: Family<HistogramVec, 1>,
    fetched_bytes: IntCounter,
    published: IntCounter,
    published_bytes: IntCounter,
    journal_failures: IntCounter,
}

impl TaskMetrics {
    pub(super) fn open(registry: &Registry, journal_failures: IntCounter) -> Result<Self, MetricsError> {
        let recovered = names::RECOVERED.open(registry)?;
        let _ = (recovered.of(["run"]), recovered.of(["end"]));
        Ok(Self {
            submitted: names::SUBMITTED.open(registry)?.of([]),
            recovered,
            crashed: names::CRASHED.open(registry)?.of([]),
            ended: names::ENDED.open(registry)?,
            queue_wait: names::QUEUE_WAIT.open(registry)?.of([]),
            first_chunk: names::FIRST_CHUNK.open(registry)?,
            duration: names::DURATION.open(registry)?,
            attempts: names::ATTEMPTS.open(registry)?,
            retries: names::RETRIES.open(registry)?,
            failovers: names::FAILOVERS.open(registry)?,
            upstream_first: names::UPSTREAM_FIRST.open(registry)?,
            tokens: names::TOKENS.open(registry)?,
            audio: names::AUDIO_SECONDS.open(registry)?,
            fetch: names::FETCH.open(registry)?,
            fetched_bytes: names::FETCHED_BYTES.open(registry)?.of([]),
            published: names::PUBLISHED.open(registry)?.of([]),
            published_bytes: names::PUBLISHED_BYTES.open(registry)?.of([]),
            journal_failures,
        })
    }

    /// Creates the series of this channel.
    pub(super) fn create_series(&self, channel: &str) {
        self.create_end_series(channel);
        let _ = self.duration.of([channel, COMPLETED]);
        let _ = (self.retries.of([channel]), self.failovers.of([channel]), self.audio.of([channel]));
        let _ = (self.first_chunk.of([channel]), self.upstream_first.of([channel]));
        let _ = (self.tokens.of([channel, "prompt"]), self.tokens.of([channel, "completion"]));
        for class in Class::ALL {
            let _ = self.attempts.of([channel, class.as_str()]);
        }
    }

    /// Creates the series for the channel's completed tasks, and for the failures that page the operator.
    pub(super) fn create_end_series(&self, channel: &str) {
        for outcome in PAGING.map(ErrorCode::as_str).into_iter().chain([COMPLETED]) {
            let _ = self.ended.of([channel, outcome]);
        }
    }

    /// Counts an accepted task.
    pub fn submitted(&self) {
        self.submitted.inc();
    }

    /// Counts a task of an earlier process. `runs` is true if the task runs again, and false if it ends.
    pub fn recovered(&self, runs: bool) {
        self.recovered.of([if runs { "run" } else { "end" }]).inc();
    }

    /// Counts a task actor that panicked.
    pub fn crashed(&self) {
        self.crashed.inc();
    }

    /// Records how long a task has waited for its first slot.
    pub fn started(&self, waited: Duration) {
        self.queue_wait.observe(waited.as_secs_f64());
    }

    /// Counts a download: the bytes of audio, or the error.
    pub fn fetched(&self, took: Duration, result: Result<u64, ErrorCode>) {
        self.fetch.of([result.err().map_or(COMPLETED, ErrorCode::as_str)]).observe(took.as_secs_f64());
        self.fetched_bytes.inc_by(result.unwrap_or(0));
    }

    /// Records when the first text or thought of a task arrived: the time since the acceptance of the task, and the
    /// time since the beginning of the call.
    pub fn first_chunk(&self, channel: &str, since_accepted: Duration, since_called: Duration) {
        self.first_chunk.of([channel]).observe(since_accepted.as_secs_f64());
        self.upstream_first.of([channel]).observe(since_called.as_secs_f64());
    }

    /// Counts a call that has ended. `failed` is the cause if the call or its task failed.
    pub fn attempt_ended(&self, channel: &str, failed: Option<Cause>) {
        self.attempts.of([channel, Class::of(failed).as_str()]).inc();
    }

    /// Counts a retry on the same channel.
    pub fn retried(&self, channel: &str) {
        self.retries.of([channel]).inc();
    }

    /// Counts a failed call after which another channel is called.
    pub fn failed_over(&self, channel: &str) {
        self.failovers.of([channel]).inc();
    }

    /// Counts a journal that has refused chunks, or has not acknowledged chunks in time.
    pub fn journal_failed(&self) {
        self.journal_failures.inc();
    }

    /// Counts published frames.
    pub fn published(&self, frames: usize, bytes: usize) {
        self.published.inc_by(frames as u64);
        self.published_bytes.inc_by(bytes as u64);
    }

    /// Counts a task that has ended.
    pub fn ended(&self, end: TaskEnd<'_>) {
        let channel = end.channel.unwrap_or(NO_CHANNEL);
        let (outcome, result) = match end.failed {
            None => (COMPLETED, COMPLETED),
            Some(cause @ Cause::Code(ErrorCode::TaskCancelled)) => (cause.as_str(), "cancelled"),
            Some(cause) => (cause.as_str(), "failed"),
        };
        self.ended.of([channel, outcome]).inc();
        self.duration.of([channel, result]).observe(end.duration.as_secs_f64());
        if let Some((prompt, completion)) = end.tokens {
            self.tokens.of([channel, "prompt"]).inc_by(prompt);
            self.tokens.of([channel, "completion"]).inc_by(completion);
            self.audio.of([channel]).inc_by(end.audio.unwrap_or_default().as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_upstream_error_code_has_its_own_class() {
        let classes: Vec<&str> = ErrorCode::ALL
            .iter()
            .filter(|code| code.as_str().starts_with("upstream_"))
            .map(|code| Class::of(Some(Cause::Code(*code))).as_str())
            .chain([Class::of(Some(Cause::NotServed)).as_str()])
            .collect();
        let mut distinct = classes.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), classes.len(), "{classes:?}");
        assert_eq!(Class::of(Some(ErrorCode::TaskCancelled.into())), Class::Abandoned);
        assert_eq!(Class::of(None), Class::Ok);
    }
}
