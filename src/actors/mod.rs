//! The actors, and [`Tasks`], the typed handle through which everybody else speaks to them.
//!
//! Whether an answer came from a living actor or from the store is a secret of this folder.

pub mod dispatcher;
pub mod recovery;
pub mod registry;
pub mod task;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, MailboxError};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::audio::source::AudioSource;
use crate::channel::Channel;
use crate::error::{ErrorCode, Failure};
use crate::keys::KeyHash;
use crate::keys::allowance::Allowance;
use crate::metrics::TaskLevels;
use crate::store::Store;
use crate::task::Task;
use crate::task::chunk_log::LogReader;
use crate::task::id::TaskId;
use crate::task::idempotency::Idempotency;
use crate::task::list::{ListQuery, Page};
use crate::task::request::Request;
use crate::task::snapshot::{Snapshot, State};
use crate::task::timeline::Timeline;
use registry::{Accept, Drain, Find, IsAccepting, Located, Registry, Reopen, Tell};
use task::{Cancel, Describe};

/// Most audio that a running task keeps in memory, in bytes of base64: reading a file takes longer than it does.
pub const HELD_BYTES: usize = 64 * 1024;

/// A valid submit that has yet to be accepted.
#[derive(Debug)]
pub struct NewTask {
    /// The task.
    pub task: Task,
    /// Its audio; a URL is fetched when the task runs.
    pub audio: AudioSource,
    /// Who could serve it, in the order in which they are asked; never empty.
    pub candidates: Vec<Arc<Channel>>,
    /// Closes when the one who waits for the answer goes away, which cancels the task. `None` where going
    /// away changes nothing.
    pub presence: Option<Presence>,
    /// The name of the key, for the log.
    pub key_name: String,
    /// What the key allows.
    pub allowance: Arc<Allowance>,
    /// Under what a repeat of the submit finds the task.
    pub idempotency: Option<Idempotency>,
}

/// Resolves when its [`Leash`] is dropped.
pub type Presence = oneshot::Receiver<Infallible>;
/// Held by one who waits for an answer and cancels the task by leaving.
pub type Leash = oneshot::Sender<Infallible>;

/// A task that is durable and will run.
#[derive(Debug)]
pub struct Accepted {
    /// The task as it was accepted.
    pub snapshot: Snapshot,
    /// Its chunk log.
    pub log: LogReader,
}

/// The tasks of this server.
#[derive(Debug, Clone)]
pub struct Tasks {
    registry: Addr<Registry>,
    store: Store,
}

impl Tasks {
    /// A handle over a running registry.
    #[must_use]
    pub fn new(registry: Addr<Registry>, store: Store) -> Self {
        Self { registry, store }
    }

    /// Accepts a task. When this returns it is durable; it runs whatever becomes of the caller.
    ///
    /// # Errors
    /// `queue_full`, `rate_limit_exceeded`, `idempotency_conflict`, `shutting_down`, `storage_full`, or
    /// `internal_error` when the store fails.
    pub async fn submit(&self, new: NewTask) -> Result<Accepted, Failure> {
        let snapshot = Snapshot {
            id: new.task.id.clone(),
            model: new.task.question.model.clone(),
            created: new.task.created.seconds(),
            stream: new.task.stream,
            state: State::Pending,
            timeline: Timeline::begun(new.task.created),
        };
        let log = self.ask_registry(Accept(new)).await??;
        Ok(Accepted { snapshot, log })
    }

    /// The task that a submit with the same `Idempotency-Key` has started.
    ///
    /// # Errors
    /// `idempotency_key_reused` when that submit had another body.
    pub async fn submitted(
        &self,
        owner: KeyHash,
        idempotency: &Idempotency,
    ) -> Result<Option<TaskId>, Failure> {
        let Some((id, first)) = self.store.submitted(owner, idempotency.key.clone()).await? else {
            return Ok(None);
        };
        if first.fingerprint == idempotency.fingerprint {
            Ok(Some(id))
        } else {
            Err(Failure::new(
                ErrorCode::IdempotencyKeyReused,
                "This Idempotency-Key was sent with another body before; use a new key for a new task",
            ))
        }
    }

    /// The task's current state.
    ///
    /// # Errors
    /// `task_not_found`, also for another key's task.
    pub async fn describe(&self, id: &TaskId, owner: KeyHash) -> Result<Snapshot, Failure> {
        loop {
            let Some(Located { actor: Some(actor), mut log, .. }) = self.locate(id, owner).await? else {
                return self.store.find(id.clone(), owner).await?.ok_or_else(Failure::task_not_found);
            };
            match actor.send(Describe).await {
                Ok(snapshot) => return Ok(snapshot),
                // The actor retired, or it crashed and its successor will end the log.
                Err(MailboxError::Closed) => {
                    log.ended().await;
                    if let Some(snapshot) = self.store.find(id.clone(), owner).await? {
                        return Ok(snapshot);
                    }
                }
                Err(MailboxError::Timeout) => return Err(Failure::internal()),
            }
        }
    }

    /// What was asked for with the task.
    ///
    /// # Errors
    /// `task_not_found`, also for another key's task.
    pub async fn request(&self, id: &TaskId, owner: KeyHash) -> Result<Request, Failure> {
        self.store.request(id.clone(), owner).await?.ok_or_else(Failure::task_not_found)
    }

    /// The owner's tasks, newest first.
    ///
    /// # Errors
    /// `invalid_param` where there is no task to go on after.
    pub async fn list(&self, owner: KeyHash, query: ListQuery) -> Result<Page, Failure> {
        let wanted = query.status;
        let page = self.store.list(owner, query).await?;
        let mut page = page.ok_or_else(|| {
            Failure::invalid_param(
                "after",
                "after must be the id of a task of this API key that is still kept",
            )
        })?;
        // What has not ended is told by its actor; the store only knows how it began.
        for task in page.tasks.iter_mut().filter(|task| !task.state.is_terminal()) {
            match self.describe(&task.id, owner).await {
                Ok(now) => *task = now,
                // It ended and was forgotten while the list was made.
                Err(failure) if failure.code == ErrorCode::TaskNotFound => {}
                Err(failure) => return Err(failure),
            }
        }
        page.tasks.retain(|task| wanted.is_none_or(|status| task.state.status() == status));
        Ok(page)
    }

    /// The task's state when it has ended, or after `most`, whichever comes first.
    ///
    /// # Errors
    /// `task_not_found`, also for another key's task.
    pub async fn wait(&self, id: &TaskId, owner: KeyHash, most: Duration) -> Result<Snapshot, Failure> {
        if let Some(Located { mut log, .. }) = self.locate(id, owner).await? {
            // Running out of time is an answer as well: the state at that moment.
            let _ = timeout(most, log.ended()).await;
        }
        self.describe(id, owner).await
    }

    /// A reader of the task's chunks.
    ///
    /// # Errors
    /// `task_not_found`, `stream_not_enabled`, or `stream_expired` once the chunks are gone.
    pub async fn subscribe(&self, id: &TaskId, owner: KeyHash) -> Result<LogReader, Failure> {
        let located = self.locate(id, owner).await?;
        if let Some(Located { log, stream: true, .. }) = located {
            return Ok(log);
        }
        let snapshot = self.describe(id, owner).await?;
        if snapshot.stream && snapshot.state.is_terminal() {
            let reopened = self.ask_registry(Reopen { id: id.clone(), owner }).await??;
            if let Some(log) = reopened {
                return Ok(log);
            }
        }
        Err(if snapshot.stream {
            Failure::new(
                ErrorCode::StreamExpired,
                format!("The chunks of this task are no longer kept; GET /v1/tasks/{id} has its result"),
            )
        } else {
            Failure::new(
                ErrorCode::StreamNotEnabled,
                format!(
                    "This task was submitted without \"stream\": true; GET /v1/tasks/{id} has its result"
                ),
            )
        })
    }

    /// Ends the task as cancelled, unless it has ended; returns its state.
    ///
    /// # Errors
    /// `task_not_found`, also for another key's task.
    pub async fn cancel(&self, id: &TaskId, owner: KeyHash) -> Result<Snapshot, Failure> {
        if let Some(Located { actor: Some(actor), mut log, .. }) = self.locate(id, owner).await? {
            if actor.send(Cancel).await.is_ok() {
                // Also one that is left to the next start is ended by this: who is told that it is cancelled must not
                // find it running there.
                log.concluded().await;
            } else {
                // A closed mailbox is a task that has ended or is about to, or one that crashes whatever is done.
                log.ended().await;
            }
        }
        self.describe(id, owner).await
    }

    /// Does the server take new tasks?
    pub async fn is_accepting(&self) -> bool {
        let store_works = self.store.keys_version().await.is_ok();
        store_works && self.ask_registry(IsAccepting).await.unwrap_or(false)
    }

    /// Who runs and who waits; `None` where nobody is left to say.
    pub async fn levels(&self) -> Option<TaskLevels> {
        self.ask_registry(Tell).await.ok().flatten()
    }

    /// Takes no new tasks and starts none that wait; returns when those that run have ended, or when `most`
    /// has passed and they were stopped. What has not ended then is left to the next start.
    pub async fn drain(&self, most: Duration) {
        let _ = self.ask_registry(Drain { most }).await;
    }

    async fn locate(&self, id: &TaskId, owner: KeyHash) -> Result<Option<Located>, Failure> {
        self.ask_registry(Find { id: id.clone(), owner }).await
    }

    /// The registry's mailbox closes only when the process is about to end.
    async fn ask_registry<M>(&self, message: M) -> Result<M::Result, Failure>
    where
        M: actix::Message + Send + 'static,
        M::Result: Send,
        Registry: actix::Handler<M>,
    {
        self.registry.send(message).await.map_err(|_| Failure::shutting_down())
    }
}
