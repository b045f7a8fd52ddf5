//! What the registry is asked.

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

/// A valid submit that has yet to be accepted.
#[derive(Debug)]
pub struct NewTask {
    /// The task.
    pub task: Task,
    /// Each audio of the question, in order; a URL is fetched when the task runs.
    pub audio: Vec<AudioSource>,
    /// Who could serve it, in the order in which they are asked; never empty.
    pub candidates: Vec<Arc<Channel>>,
    /// Cancels the task when the caller that waits for the answer leaves. `None` where no caller waits.
    pub caller_gone: Option<CallerGone>,
    /// The name of the key, for the log.
    pub key_name: String,
    /// What the key allows.
    pub allowance: Arc<Allowance>,
    /// Under what a repeat of the submit finds the task.
    pub idempotency: Option<Idempotency>,
}

/// Accept a task: durably, then running or waiting. Replies with its log.
#[derive(Debug, Message)]
#[rtype(result = "Result<LogReader, Failure>")]
pub struct Accept(pub NewTask);

/// Take up a task that an earlier process left unfinished.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct TakeUp {
    /// What is left of it.
    pub left: Unfinished,
    /// The name of its key, for the log.
    pub key_name: String,
    /// What becomes of it.
    pub plan: RecoveryPlan,
}

/// What becomes of a task that an earlier process left unfinished.
#[derive(Debug)]
pub enum RecoveryPlan {
    /// It runs.
    Run {
        /// Its audio, in the order of the question.
        audio: Vec<KeptAudio>,
        /// Where, in the order in which they are asked; never empty.
        candidates: Vec<Arc<Channel>>,
        /// What its key allows.
        allowance: Arc<Allowance>,
    },
    /// It ends like this, and the chunks that it had published stay readable.
    End {
        /// The failure.
        failure: Failure,
        /// The chunks.
        chunks: Vec<Entry>,
    },
}

/// Find a task of which this process knows.
#[derive(Debug, Message)]
#[rtype(result = "Option<Located>")]
pub struct Find {
    /// The task.
    pub id: TaskId,
    /// Who asks: to another key the task does not exist.
    pub owner: KeyHash,
}

/// A task of which this process knows.
#[derive(Debug)]
pub struct Located {
    /// The actor; `None` for the stream of an earlier process.
    pub actor: Option<Addr<TaskActor>>,
    /// Its chunk log.
    pub log: LogReader,
    /// True if the log carries frames.
    pub stream: bool,
}

/// Bring back the stream of an ended task of an earlier process. Replies with its log, as long as it is kept.
#[derive(Debug, Message)]
#[rtype(result = "Result<Option<LogReader>, Failure>")]
pub struct Reopen {
    /// The task.
    pub id: TaskId,
    /// Who asks: to another key the task does not exist.
    pub owner: KeyHash,
}

/// Tell whether new tasks are taken.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub struct IsAccepting;

/// Tell who runs and who waits; `None` where the dispatcher is gone.
#[derive(Debug, Message)]
#[rtype(result = "Option<TaskLevels>")]
pub struct Tell;

/// Take no new tasks, start none that wait, and reply when those that run have ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Drain {
    /// After this long they are stopped.
    pub most: Duration,
}
