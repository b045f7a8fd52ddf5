//! The messages that the registry handles.

use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, Message};

use crate::actors::CallerGone;
use crate::actors::task::TaskActor;
use crate::audio::{AudioSource, KeptAudio};
use crate::channel::Channel;
use crate::error::Failure;
use crate::keys::Allowance;
use crate::metrics::TaskLevels;
use crate::secret::KeyHash;
use crate::store::Unfinished;
use crate::task::{Entry, Idempotency, LogReader, Task, TaskId};

/// A valid submit that is not accepted yet.
#[derive(Debug)]
pub struct NewTask {
    /// The task.
    pub task: Task,
    /// Each audio of the question, in order. Audio at a URL is downloaded when the task runs.
    pub audio: Vec<AudioSource>,
    /// The channels that could serve the task, in the order in which they are tried; never empty.
    pub candidates: Vec<Arc<Channel>>,
    /// The signal that cancels the task when the caller that waits for the answer disconnects. `None` if no caller
    /// waits.
    pub caller_gone: Option<CallerGone>,
    /// The name of the key, for the log.
    pub key_name: String,
    /// The allowance of the key.
    pub allowance: Arc<Allowance>,
    /// The key and fingerprint by which a repeat of the submit finds the task.
    pub idempotency: Option<Idempotency>,
}

/// Accepts a task: makes it durable, then runs it or lets it wait. Replies with its log.
#[derive(Debug, Message)]
#[rtype(result = "Result<LogReader, Failure>")]
pub struct Accept(pub NewTask);

/// Recovers a task that an earlier process left unfinished.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Recover {
    /// The store's record of the task.
    pub left: Unfinished,
    /// The name of the task's key, for the log.
    pub key_name: String,
    /// The plan for the task.
    pub plan: RecoveryPlan,
}

/// The plan for a task that an earlier process left unfinished: it runs or it ends.
#[derive(Debug)]
pub enum RecoveryPlan {
    /// The task runs.
    Run {
        /// The task's audio, in the order of the question.
        audio: Vec<KeptAudio>,
        /// The channels that could serve the task, in the order in which they are tried; never empty.
        candidates: Vec<Arc<Channel>>,
        /// The allowance of the task's key.
        allowance: Arc<Allowance>,
    },
    /// The task ends with this failure. The chunks that it had published stay readable.
    End {
        /// The failure.
        failure: Failure,
        /// The chunks.
        chunks: Vec<Entry>,
    },
}

/// Finds a task that has an actor or a kept stream in this process.
#[derive(Debug, Message)]
#[rtype(result = "Option<Located>")]
pub struct Find {
    /// The task.
    pub id: TaskId,
    /// The key that sent the request. For any other key the task does not exist.
    pub owner: KeyHash,
}

/// A task that has an actor or a kept stream in this process.
#[derive(Debug)]
pub struct Located {
    /// The actor; `None` for the stream of an earlier process.
    pub actor: Option<Addr<TaskActor>>,
    /// The task's chunk log.
    pub log: LogReader,
    /// True if the log carries frames.
    pub stream: bool,
}

/// Reopens the stream of a task that ended in an earlier process. Replies with its log, or `None` if its chunks are no
/// longer kept.
#[derive(Debug, Message)]
#[rtype(result = "Result<Option<LogReader>, Failure>")]
pub struct Reopen {
    /// The task.
    pub id: TaskId,
    /// The key that sent the request. For any other key the task does not exist.
    pub owner: KeyHash,
}

/// Returns whether new tasks are accepted.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub struct IsAccepting;

/// Returns how many tasks run and how many wait; `None` if the dispatcher is gone.
#[derive(Debug, Message)]
#[rtype(result = "Option<TaskLevels>")]
pub struct TaskStatus;

/// Takes no new tasks, starts none that wait, and replies when the running tasks have ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Drain {
    /// The time after which the running tasks are stopped.
    pub most: Duration,
}
