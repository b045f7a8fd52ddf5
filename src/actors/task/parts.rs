//! The parts that a task's actor is made of. The task was just accepted, or an earlier process left it unfinished, or
//! its actor crashed.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use actix::Addr;

use crate::actors::CallerGone;
use crate::actors::dispatcher::{Admission, Dispatcher};
use crate::audio::{InlineAudio, KeptAudio, base64_len};
use crate::channel::Channel;
use crate::channel::RetryBudget;
use crate::error::Failure;
use crate::fetch::Fetcher;
use crate::metrics::TaskMetrics;
use crate::random::random_text;
use crate::store::{Store, Unfinished};
use crate::task::{Answer, ChunkLog, Entry, LogHandle, Progress, Recipient, Task, Timeline, Timestamp};
use crate::trace::Traces;
use crate::wire::completion::CompletionHead;

/// Settings that all tasks of a server share.
#[derive(Debug, Clone)]
pub struct TaskSettings {
    /// The store, which journals chunks before they are shown and makes ends durable.
    pub store: Store,
    /// The fetcher, which downloads audio.
    pub fetcher: Fetcher,
    /// The dispatcher, which gives out permits to run.
    pub dispatcher: Addr<Dispatcher>,
    /// The limit for all retries of one task together.
    pub retry_budget: RetryBudget,
    /// How long the chunks stay readable after the end.
    pub chunk_retention: Duration,
    /// Most bytes of text and frames that one task may hold.
    pub max_answer_bytes: usize,
    /// Most memory for the frames of streams that have ended, of all tasks together, in bytes.
    pub max_stream_memory_bytes: usize,
    /// The recorder of the spans of ended tasks.
    pub traces: Traces,
    /// The counters of tasks.
    pub metrics: TaskMetrics,
}

/// A task's audio, as this process has it.
#[derive(Debug)]
pub enum TaskAudio {
    /// In memory, as it was received.
    Held(InlineAudio),
    /// On the disk or at a URL, as the store records.
    Kept(KeptAudio),
}

impl TaskAudio {
    /// Returns true if the audio need not be downloaded, so that the upstream can be called at once.
    #[must_use]
    pub fn is_available(&self) -> bool {
        !matches!(self, Self::Kept(KeptAudio::Url(_)))
    }

    /// Returns the length of the audio's base64 text. Audio that is still to be downloaded counts as 0, because its
    /// length is not known.
    #[must_use]
    pub fn text_bytes(&self) -> u64 {
        match self {
            Self::Held(audio) => audio.text_len(),
            Self::Kept(KeptAudio::Blob { bytes, .. }) => base64_len(*bytes),
            Self::Kept(KeptAudio::Url(_)) => 0,
        }
    }
}

/// The job of a task's actor.
#[derive(Debug)]
pub enum Job {
    /// Run the task.
    Run(Work),
    /// End the task with this failure.
    End(Failure),
}

/// Everything that an actor needs to run a task.
#[derive(Debug)]
pub struct Work {
    /// The task's audio, in the order of the question.
    pub audio: Vec<TaskAudio>,
    /// The channels that could serve the task, in the order in which they are tried; never empty.
    pub candidates: Vec<Arc<Channel>>,
    /// How many tasks of the task's key may run at the same time.
    pub most_running: Option<NonZeroU32>,
    /// The permit to run, or the place in the queue for it.
    pub admission: Admission,
    /// The store's record of the run.
    pub record: RunRecord,
}

/// The store's record of a task's run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunRecord {
    /// The store has no record of the run. It is recorded when it begins.
    Due,
    /// The run was recorded together with the task, because the task had a permit when it was accepted.
    Done {
        /// The recorded moment of the run's first call, if that follows at once.
        call: Option<Timestamp>,
    },
}

/// The parts of an actor. They can be sent to the thread where the actor will live.
#[derive(Debug)]
pub struct TaskParts {
    pub(super) task: Arc<Task>,
    pub(super) key_name: String,
    pub(super) answer: Answer,
    pub(super) job: Job,
    pub(super) recipient: Recipient,
    /// The future that resolves when the waiting caller disconnects; `None` if no caller waits.
    pub(super) caller_gone: Option<CallerGone>,
    pub(super) timeline: Timeline,
    pub(super) progress: Progress,
}

impl TaskParts {
    /// Creates the parts of a task that was just accepted.
    #[must_use]
    pub fn accepted(
        task: Arc<Task>,
        key_name: String,
        recipient: Recipient,
        caller_gone: Option<CallerGone>,
        timeline: Timeline,
        work: Work,
    ) -> Self {
        let answer = Answer::new(completion_head(&task), task.stream);
        let progress = Progress::new(0, task.stream.map(|_| 0));
        Self { task, key_name, answer, job: Job::Run(work), recipient, caller_gone, timeline, progress }
    }

    /// Creates the parts of a task that an earlier process left unfinished, with the chunks that it had published.
    #[must_use]
    pub fn unfinished(left: Unfinished, key_name: String, chunks: Vec<Entry>, job: Job) -> Self {
        let Unfinished { task, timeline, progress, facts, .. } = left;
        let mut progress = Progress::new(progress, task.stream.map(|_| chunks.len()));
        if facts.runs > 0 {
            progress.begin();
        }
        let answer = Answer::resumed(completion_head(&task), ChunkLog::of(task.stream, chunks));
        let task = Arc::new(task);
        Self {
            task,
            key_name,
            answer,
            job,
            recipient: Recipient::None,
            caller_gone: None,
            timeline,
            progress,
        }
    }

    /// Creates the parts of a task whose actor panicked. `timeline` holds what had happened before. Such a task only
    /// ends.
    #[must_use]
    pub fn crashed(task: Arc<Task>, log: LogHandle, timeline: Timeline) -> Self {
        let answer = Answer::resumed(completion_head(&task), ChunkLog::take_over(log));
        let mut progress = Progress::new(0, task.stream.map(|_| answer.log().len()));
        progress.begin();
        Self {
            task,
            key_name: String::new(),
            answer,
            job: Job::End(Failure::internal()),
            recipient: Recipient::None,
            caller_gone: None,
            timeline,
            progress,
        }
    }

    /// Returns the task.
    #[must_use]
    pub fn task(&self) -> Arc<Task> {
        Arc::clone(&self.task)
    }

    /// Returns the log of the task's chunks.
    #[must_use]
    pub fn log(&self) -> LogHandle {
        self.answer.log().handle()
    }
}

fn completion_head(task: &Task) -> CompletionHead {
    CompletionHead {
        id: format!("chatcmpl-{}", random_text(24)),
        created: task.created.seconds(),
        model: task.question.model.clone(),
    }
}
