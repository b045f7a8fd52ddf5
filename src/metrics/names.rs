//! Declares every metric once: its name, its kind, its labels and its help text. The table in `docs/observability.md` is
//! the same.
//!
//! Labels have few values, and all of them are known when the server starts or are written in its source: channels,
//! codes, routes. Models, keys and tasks are not labels, because clients could create any number of them.

use std::marker::PhantomData;

use prometheus::{CounterVec, GaugeVec, HistogramVec, IntCounterVec, IntGaugeVec};

use super::family::{Kind, Spec};

/// A metric as the documentation describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Described {
    /// The name of the metric.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// The names of the labels.
    pub labels: &'static [&'static str],
    /// The help text.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($id:ident: $vector:ty, $name:literal, [$($label:literal),*] $(in $buckets:ident)?, $help:literal;)*) => {
        $(pub(super) const $id: Spec<$vector, { <[&str]>::len(&[$($label),*]) }> = Spec {
            name: $name,
            labels: [$($label),*],
            help: $help,
            buckets: metrics!(@ $($buckets)?),
            kind: PhantomData,
        };)*

        /// All metrics, in the order of the documentation.
        pub const ALL: &[Described] = &[$(Described {
            name: $name,
            kind: <$vector as Kind>::NAME,
            labels: &[$($label),*],
            help: $help,
        },)*];
    };
    (@) => { &[] };
    (@ $buckets:ident) => { $buckets };
}

/// Upper bounds of buckets in seconds, for work on this machine.
const QUICK: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Upper bounds of buckets in seconds, for times that a client waits.
const WAITS: &[f64] = &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0];
/// Upper bounds of buckets in seconds, for times that may be as long as a whole answer.
const ANSWERS: &[f64] =
    &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 3600.0];
/// Upper bounds of buckets for the number of writes in one commit.
const BATCHES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

metrics! {
    BUILD: IntGaugeVec, "hearken_build_info", ["version"], "Always 1; the label is the version that runs.";

    SUBMITTED: IntCounterVec, "hearken_tasks_submitted_total", [], "Tasks that were accepted.";
    RECOVERED: IntCounterVec, "hearken_tasks_recovered_total", ["fate"],
        "Tasks of an earlier process that were recovered at the start, to run again (run) or to end (end).";
    ENDED: IntCounterVec, "hearken_tasks_ended_total", ["channel", "outcome"],
        "Tasks that ended, by the channel that was called last (none: no channel was) and by outcome: completed, the error code, or not_served if no upstream knew the model.";
    CRASHED: IntCounterVec, "hearken_tasks_crashed_total", [], "Task actors that panicked.";
    PENDING: IntGaugeVec, "hearken_tasks_pending", [], "Tasks that wait for their first slot.";
    PENDING_LIMIT: IntGaugeVec, "hearken_tasks_pending_limit", [], "Most tasks that may wait for their first slot (limits.max_pending_tasks).";
    PENDING_OLDEST: GaugeVec, "hearken_tasks_pending_oldest_seconds", [],
        "How long the oldest waiting task has waited in this process; 0 if none waits.";
    CHANGING: IntGaugeVec, "hearken_tasks_changing_channel", [],
        "Tasks whose channel failed and that wait for a slot of another channel.";
    RUNNING: IntGaugeVec, "hearken_tasks_running", ["channel"], "Tasks that have a slot.";
    RUNNING_LIMIT: IntGaugeVec, "hearken_tasks_running_limit", ["channel"], "Slots of the channel (max_running_tasks).";
    QUEUE_WAIT: HistogramVec, "hearken_task_queue_wait_seconds", [] in ANSWERS,
        "From acceptance, or from this start for a task of an earlier process, to the first slot; 0 if one was free.";
    FIRST_CHUNK: HistogramVec, "hearken_task_first_chunk_seconds", ["channel"] in WAITS,
        "From acceptance to the first text or thought, as a client sees it.";
    DURATION: HistogramVec, "hearken_task_duration_seconds", ["channel", "result"] in ANSWERS,
        "From acceptance to the end, by result: completed, failed or cancelled.";

    ATTEMPTS: IntCounterVec, "hearken_upstream_attempts_total", ["channel", "class"],
        "Upstream calls that have ended, by class: ok, timeout, rate_limited, auth, rejected, disconnected, invalid, error, not_served (a model that only a glob covers and the upstream does not know), or abandoned because the task ended.";
    RETRIES: IntCounterVec, "hearken_upstream_retries_total", ["channel"],
        "Failed calls that were to be retried on the same channel.";
    FAILOVERS: IntCounterVec, "hearken_upstream_failovers_total", ["channel"],
        "Failed calls of this channel after which another channel was to be called.";
    UPSTREAM_FIRST: HistogramVec, "hearken_upstream_first_chunk_seconds", ["channel"] in WAITS,
        "From the beginning of the successful call to its first text or thought.";
    TOKENS: IntCounterVec, "hearken_upstream_tokens_total", ["channel", "kind"],
        "Tokens of completed tasks as the upstream counts them: prompt, completion.";
    AUDIO_SECONDS: CounterVec, "hearken_audio_seconds_total", ["channel"],
        "Seconds of audio of completed tasks, where the duration is known.";
    BREAKER: IntGaugeVec, "hearken_channel_breaker_state", ["channel", "state"],
        "1 for the current state of the breaker: closed, open (the channel is not called), half_open (it is probed).";

    FETCH: HistogramVec, "hearken_audio_fetch_seconds", ["outcome"] in WAITS,
        "Duration of audio downloads, retries included, by outcome: completed or the error code.";
    FETCHED_BYTES: IntCounterVec, "hearken_audio_fetched_bytes_total", [], "Bytes of audio that were downloaded.";

    PUBLISHED: IntCounterVec, "hearken_frames_published_total", [],
        "Frames that streams have published: their chunks, and the terminal frame of each stream.";
    PUBLISHED_BYTES: IntCounterVec, "hearken_frames_published_bytes_total", [], "Bytes of the frames that streams have published.";
    SUBSCRIBERS: IntGaugeVec, "hearken_subscribers", ["transport"],
        "Connected subscribers, by the part that writes to them: pump (after the hand-over, once the first piece is written), body (the HTTP server).";
    SUBSCRIPTIONS_ENDED: IntCounterVec, "hearken_subscriptions_ended_total", ["reason"],
        "Subscriptions that have ended, by reason: complete, left (the client disconnected), stuck (the client received \
         nothing; only with a pump, otherwise it counts as left), broken_off (the server stopped, or the frames could no \
         longer be read), revoked (the key was revoked).";
    SENT: IntCounterVec, "hearken_frames_sent_total", [], "Frames that were written to subscribers.";
    SENT_BYTES: IntCounterVec, "hearken_frames_sent_bytes_total", [], "Bytes that were written to subscribers; where a pump writes, with the framing of the body.";
    BEHIND: IntGaugeVec, "hearken_frames_behind", [],
        "Frames that are published and not yet written, of all subscribers of the pumps together.";
    BEHIND_MAX: IntGaugeVec, "hearken_frames_behind_max", [], "Frames that are published and not yet written, of the subscriber that is furthest behind.";
    SUBSCRIBERS_BEHIND: IntGaugeVec, "hearken_subscribers_behind", [], "Subscribers of the pumps for which a published frame is not yet written.";
    STREAMS_KEPT: IntGaugeVec, "hearken_streams_kept", [], "Streams of ended tasks that are kept in memory; their frames are in memory or on disk.";
    STREAMS_MEMORY: IntGaugeVec, "hearken_stream_memory_bytes", [], "Memory that streams of ended tasks use.";
    STREAMS_MEMORY_LIMIT: IntGaugeVec, "hearken_stream_memory_limit_bytes", [],
        "Most memory that streams of ended tasks may use (limits.max_stream_memory_bytes).";

    REQUESTS: IntCounterVec, "hearken_http_requests_total", ["route", "method", "status"],
        "HTTP requests that were answered; route is the pattern of the path, or other.";
    REQUEST_DURATION: HistogramVec, "hearken_http_request_duration_seconds", ["route", "method"] in WAITS,
        "From the request's head to the response's head; includes the time that a blocking call waits for its answer.";
    REFUSED: IntCounterVec, "hearken_http_requests_refused_total", ["route", "code"],
        "Requests that were answered with an error, by the error's code.";
    CONNECTIONS: IntGaugeVec, "hearken_http_connections", [], "Open connections of clients.";
    CONNECTIONS_LIMIT: IntGaugeVec, "hearken_http_connections_limit", [],
        "Most open connections: the limit on open files, less the files that hearken and its tasks need.";
    CONNECTIONS_REFUSED: IntCounterVec, "hearken_http_connections_refused_total", ["reason"],
        "Connections that were closed at once: no open file was left (open_files), or their address had as many as limits.max_connections_per_address allows (address).";
    PAYLOAD: IntGaugeVec, "hearken_payload_memory_bytes", [], "Memory that the bodies of uploads use.";
    PAYLOAD_LIMIT: IntGaugeVec, "hearken_payload_memory_limit_bytes", [],
        "Most memory that the bodies of uploads may use (limits.max_payload_memory_bytes).";
    UPLOADS_WAITING: IntGaugeVec, "hearken_payload_uploads_waiting", [], "Uploads that are paused until memory is free.";
    RESPONSES: IntGaugeVec, "hearken_response_memory_bytes", [], "Memory that responses use until they are sent.";
    RESPONSES_LIMIT: IntGaugeVec, "hearken_response_memory_limit_bytes", [],
        "Most memory that responses may use (limits.max_response_memory_bytes).";
    RESPONSES_WAITING: IntGaugeVec, "hearken_responses_waiting", [], "Responses that wait until memory is free.";

    STORE_WORKS: IntGaugeVec, "hearken_store_works", [],
        "1 while the store accepts tasks; 0 while it does not, as on a full disk (then GET /readyz is 503).";
    COMMIT: HistogramVec, "hearken_store_commit_duration_seconds", [] in QUICK,
        "Duration of the store's commits.";
    COMMIT_WRITES: HistogramVec, "hearken_store_commit_writes", [] in BATCHES, "Writes that shared a commit.";
    COMMITS_FAILED: IntCounterVec, "hearken_store_commits_failed_total", [], "Commits that failed or may have failed; all of their writes got an error.";
    WRITES_WAITING: IntGaugeVec, "hearken_store_writes_waiting", [], "Writes that wait for a commit.";
    JOURNAL_SYNC: HistogramVec, "hearken_journal_sync_duration_seconds", [] in QUICK,
        "Duration of rounds in which journals of published chunks were synced to the disk.";
    JOURNAL_FAILURES: IntCounterVec, "hearken_journal_failures_total", [],
        "Journals that could not be written to, and rounds that failed.";
    SPOOL: IntGaugeVec, "hearken_spool_bytes", [], "Bytes of audio on disk, of tasks that have not ended.";
    SPOOL_LIMIT: IntGaugeVec, "hearken_spool_limit_bytes", [], "Most bytes of audio on disk (limits.max_spool_bytes).";
    DISK_FREE: IntGaugeVec, "hearken_data_dir_free_bytes", [], "Free bytes on the disk of the data directory.";
    DISK_SIZE: IntGaugeVec, "hearken_data_dir_size_bytes", [], "Size of the disk of the data directory.";

    LOG_LOST: IntCounterVec, "hearken_log_lines_dropped_total", [],
        "Log lines that were lost, because standard error was not read or could not be written.";

    CPU: CounterVec, "process_cpu_seconds_total", [], "CPU time of the process, user and system.";
    RESIDENT: IntGaugeVec, "process_resident_memory_bytes", [], "Resident memory of the process.";
    VIRTUAL: IntGaugeVec, "process_virtual_memory_bytes", [], "Virtual memory of the process.";
    OPEN_FDS: IntGaugeVec, "process_open_fds", [], "Open files of the process.";
    MAX_FDS: IntGaugeVec, "process_max_fds", [], "Most open files that the process may have.";
    STARTED: GaugeVec, "process_start_time_seconds", [], "When the process started, in seconds since the Unix epoch.";
    THREADS: IntGaugeVec, "process_threads", [], "Threads of the process.";
}
