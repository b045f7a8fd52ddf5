//! Every metric, declared once: its name, its kind, its labels and what it says. The README's table is this one.
//!
//! Labels have few values, all of them known when the server starts or written in its source: channels, codes, routes.
//! Models, keys and tasks are none: whoever sends requests could make as many of them as they like.

use std::marker::PhantomData;

use prometheus::{CounterVec, GaugeVec, HistogramVec, IntCounterVec, IntGaugeVec};

use super::family::{Kind, Spec};

/// A metric as the documentation tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Described {
    /// Its name.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it says.
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

        /// All metrics, in the order in which the documentation tells of them.
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

/// Upper bounds in seconds: what happens on this machine.
const QUICK: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// What somebody waits for.
const WAITS: &[f64] = &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0];
/// What takes as long as an answer does.
const ANSWERS: &[f64] =
    &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 3600.0];
/// Writes of one commit.
const BATCHES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

metrics! {
    BUILD: IntGaugeVec, "hearken_build_info", ["version"], "Always 1; the label is the version that runs.";

    SUBMITTED: IntCounterVec, "hearken_tasks_submitted_total", [], "Tasks that were accepted.";
    RECOVERED: IntCounterVec, "hearken_tasks_recovered_total", ["fate"],
        "Tasks of an earlier process that were taken up at the start, to run again (run) or to end (end).";
    ENDED: IntCounterVec, "hearken_tasks_ended_total", ["channel", "outcome"],
        "Tasks that ended, by the channel that was asked last (none: no channel was) and by completed, the error code, or not_served where no upstream knew the model.";
    CRASHED: IntCounterVec, "hearken_tasks_crashed_total", [], "Task actors that panicked.";
    PENDING: IntGaugeVec, "hearken_tasks_pending", [], "Tasks that wait for their first slot.";
    PENDING_LIMIT: IntGaugeVec, "hearken_tasks_pending_limit", [], "How many may (limits.max_pending_tasks).";
    PENDING_OLDEST: GaugeVec, "hearken_tasks_pending_oldest_seconds", [],
        "How long the first of them has waited in this process; 0 where nobody waits.";
    CHANGING: IntGaugeVec, "hearken_tasks_changing_channel", [],
        "Tasks whose channel failed and that wait for a slot of another one.";
    RUNNING: IntGaugeVec, "hearken_tasks_running", ["channel"], "Tasks that have a slot.";
    RUNNING_LIMIT: IntGaugeVec, "hearken_tasks_running_limit", ["channel"], "Slots (max_running_tasks).";
    QUEUE_WAIT: HistogramVec, "hearken_task_queue_wait_seconds", [] in ANSWERS,
        "From acceptance, or from this start for a task of an earlier process, to its first slot; 0 where one was free.";
    FIRST_CHUNK: HistogramVec, "hearken_task_first_chunk_seconds", ["channel"] in WAITS,
        "From acceptance to the first text or thought, as a client sees it.";
    DURATION: HistogramVec, "hearken_task_duration_seconds", ["channel", "result"] in ANSWERS,
        "From acceptance to the end, by completed, failed or cancelled.";

    ATTEMPTS: IntCounterVec, "hearken_upstream_attempts_total", ["channel", "class"],
        "Upstream calls that are over: ok, timeout, rate_limited, auth, rejected, disconnected, invalid, error, not_served (a model that only a glob covers and the upstream does not know), or abandoned because the task ended.";
    RETRIES: IntCounterVec, "hearken_upstream_retries_total", ["channel"],
        "Failed calls after which the same channel was to be asked again.";
    FAILOVERS: IntCounterVec, "hearken_upstream_failovers_total", ["channel"],
        "Failed calls after which another channel than this one was to be asked.";
    UPSTREAM_FIRST: HistogramVec, "hearken_upstream_first_chunk_seconds", ["channel"] in WAITS,
        "From the beginning of the call that answered to its first text or thought.";
    TOKENS: IntCounterVec, "hearken_upstream_tokens_total", ["channel", "kind"],
        "Tokens of completed tasks as the upstream counts them: prompt, completion.";
    AUDIO_SECONDS: CounterVec, "hearken_audio_seconds_total", ["channel"],
        "Audio of completed tasks, where its duration is known.";
    BREAKER: IntGaugeVec, "hearken_channel_breaker_state", ["channel", "state"],
        "1 for the state the breaker is in: closed, open (the channel is left alone), half_open (it is probed).";

    FETCH: HistogramVec, "hearken_audio_fetch_seconds", ["outcome"] in WAITS,
        "Downloads of audio, retries included, by completed or the error code.";
    FETCHED_BYTES: IntCounterVec, "hearken_audio_fetched_bytes_total", [], "Audio that was downloaded.";

    PUBLISHED: IntCounterVec, "hearken_frames_published_total", [],
        "Frames of streams: their chunks, and the frame that ends each.";
    PUBLISHED_BYTES: IntCounterVec, "hearken_frames_published_bytes_total", [], "The same in bytes.";
    SUBSCRIBERS: IntGaugeVec, "hearken_subscribers", ["transport"],
        "Subscribers who are connected, by who writes to them: pump (handed over, once the first piece is written), body (the HTTP server).";
    SUBSCRIPTIONS_ENDED: IntCounterVec, "hearken_subscriptions_ended_total", ["reason"],
        "Subscriptions that are over: complete, left, stuck (of the pumps' only: others have left), broken_off by the server's stop, revoked with their key.";
    SENT: IntCounterVec, "hearken_frames_sent_total", [], "Frames that were written to subscribers.";
    SENT_BYTES: IntCounterVec, "hearken_frames_sent_bytes_total", [], "The same in bytes; where a pump writes, with the framing of the body.";
    BEHIND: IntGaugeVec, "hearken_frames_behind", [],
        "Frames that are published and not yet written, of all subscribers of the pumps together.";
    BEHIND_MAX: IntGaugeVec, "hearken_frames_behind_max", [], "The same of the subscriber who is furthest behind.";
    SUBSCRIBERS_BEHIND: IntGaugeVec, "hearken_subscribers_behind", [], "Subscribers of the pumps who miss a frame.";
    STREAMS_KEPT: IntGaugeVec, "hearken_streams_kept", [], "Streams of ended tasks that are found in memory; their frames are there or on the disk.";
    STREAMS_MEMORY: IntGaugeVec, "hearken_stream_memory_bytes", [], "Memory that streams of ended tasks take.";
    STREAMS_MEMORY_LIMIT: IntGaugeVec, "hearken_stream_memory_limit_bytes", [],
        "How much they may (limits.max_stream_memory_bytes).";

    REQUESTS: IntCounterVec, "hearken_http_requests_total", ["route", "method", "status"],
        "HTTP requests that were answered; route is the pattern of the path, or other.";
    REQUEST_DURATION: HistogramVec, "hearken_http_request_duration_seconds", ["route", "method"] in WAITS,
        "From the request's head to the response's head: a call that waits for an answer takes as long as that.";
    REFUSED: IntCounterVec, "hearken_http_requests_refused_total", ["route", "code"],
        "Requests that were answered with an error of their own, by its code.";
    CONNECTIONS: IntGaugeVec, "hearken_http_connections", [], "Open connections of clients.";
    CONNECTIONS_LIMIT: IntGaugeVec, "hearken_http_connections_limit", [],
        "How many there may be: what the limit on open files leaves beside the tasks.";
    CONNECTIONS_REFUSED: IntCounterVec, "hearken_http_connections_refused_total", ["reason"],
        "Connections that were closed at once: there was no open file for them (open_files), or their address had as many as limits.max_connections_per_address allows (address).";
    PAYLOAD: IntGaugeVec, "hearken_payload_memory_bytes", [], "Memory that the bodies of uploads take.";
    PAYLOAD_LIMIT: IntGaugeVec, "hearken_payload_memory_limit_bytes", [],
        "How much they may (limits.max_payload_memory_bytes).";
    UPLOADS_WAITING: IntGaugeVec, "hearken_payload_uploads_waiting", [], "Uploads that stand still until there is room.";
    RESPONSES: IntGaugeVec, "hearken_response_memory_bytes", [], "Memory that responses take until they are sent.";
    RESPONSES_LIMIT: IntGaugeVec, "hearken_response_memory_limit_bytes", [],
        "How much they may (limits.max_response_memory_bytes).";
    RESPONSES_WAITING: IntGaugeVec, "hearken_responses_waiting", [], "Responses that wait until there is room.";

    STORE_WORKS: IntGaugeVec, "hearken_store_works", [],
        "1 while the store takes tasks; 0 while it does not, as on a full disk (then GET /readyz is 503).";
    COMMIT: HistogramVec, "hearken_store_commit_duration_seconds", [] in QUICK,
        "Commits of the store.";
    COMMIT_WRITES: HistogramVec, "hearken_store_commit_writes", [] in BATCHES, "Writes that shared a commit.";
    COMMITS_FAILED: IntCounterVec, "hearken_store_commits_failed_total", [], "Commits of which nothing stands.";
    WRITES_WAITING: IntGaugeVec, "hearken_store_writes_waiting", [], "Writes that wait for a commit.";
    JOURNAL_SYNC: HistogramVec, "hearken_journal_sync_duration_seconds", [] in QUICK,
        "Rounds in which journals of published chunks were brought to the disk.";
    JOURNAL_FAILURES: IntCounterVec, "hearken_journal_failures_total", [],
        "Journals that could not be written to, and rounds that failed.";
    SPOOL: IntGaugeVec, "hearken_spool_bytes", [], "Bytes of audio on the disk, of tasks that have not ended.";
    SPOOL_LIMIT: IntGaugeVec, "hearken_spool_limit_bytes", [], "How much of it there may be (limits.max_spool_bytes).";
    DISK_FREE: IntGaugeVec, "hearken_data_dir_free_bytes", [], "What is free on the disk of the data directory.";
    DISK_SIZE: IntGaugeVec, "hearken_data_dir_size_bytes", [], "How large that disk is.";

    LOG_LOST: IntCounterVec, "hearken_log_lines_dropped_total", [],
        "Log lines that were lost, because standard error was not read or could not be written to.";

    CPU: CounterVec, "process_cpu_seconds_total", [], "CPU time of the process, user and system.";
    RESIDENT: IntGaugeVec, "process_resident_memory_bytes", [], "Memory that the process has.";
    VIRTUAL: IntGaugeVec, "process_virtual_memory_bytes", [], "Memory that it has reserved.";
    OPEN_FDS: IntGaugeVec, "process_open_fds", [], "Open files of the process.";
    MAX_FDS: IntGaugeVec, "process_max_fds", [], "How many it may have.";
    STARTED: GaugeVec, "process_start_time_seconds", [], "When it started, in seconds since the Unix epoch.";
    THREADS: IntGaugeVec, "process_threads", [], "Threads of the process.";
}
