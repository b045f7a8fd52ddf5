//! [`Tasks`]: finds a task in its actor or in the store, and sends requests to it.

use std::time::Duration;

use actix::Addr;
use tokio::time::timeout;

use super::registry::{Drain, Find, IsAccepting, Located, Registry, Reopen, TaskStatus};
use super::task::{Cancel, Describe};
use crate::channel::Channels;
use crate::error::{ErrorCode, Failure};
use crate::memory::{Held, ResponseMemory};
use crate::metrics::TaskLevels;
use crate::secret::KeyHash;
use crate::store::{MOST_LISTED_BYTES, Store, Weighed};
use crate::task::{Include, LAST_PROGRESS, ListQuery, LogReader, Page, Request, Snapshot, State, TaskId};
use crate::wire::path;

/// Results of at most this many bytes are read without a share of the memory for responses. Most results are no larger,
/// so they are read only once.
const READ_AT_ONCE: usize = 16 * 1024;

/// Returns the memory that a response takes while it is made: each result as it is stored and as it is sent, plus a
/// small overhead.
fn cost(results: usize) -> usize {
    results.saturating_mul(2).saturating_add(4096)
}

/// The time after which a caller may retry when a slow disk delays its task.
const STALL_RETRY: Duration = Duration::from_secs(10);

/// The tasks of this server.
#[derive(Debug, Clone)]
pub struct Tasks {
    registry: Addr<Registry>,
    pub(super) store: Store,
    pub(super) channels: Channels,
    responses: ResponseMemory,
}

/// Replaces a listed task's state by the current one. Returns how many bytes of the page's remaining room it takes.
///
/// A task may have ended while the list was made, with a result that no longer fits. It is then shown as it was just
/// before: its actor is gone, and the store does not have every step of progress that clients have seen.
fn show_now(listed: &mut Snapshot, now: Weighed<Snapshot>, left: usize) -> usize {
    match now {
        Weighed::Light(now) if now.weight() <= left => {
            *listed = now;
            listed.weight()
        }
        Weighed::Light(_) | Weighed::Heavy(_) => {
            listed.state = State::Processing { progress: LAST_PROGRESS };
            0
        }
    }
}

impl Tasks {
    /// Creates a handle for a running registry. `channels` are those that tasks may run on.
    #[must_use]
    pub fn new(
        registry: Addr<Registry>,
        store: Store,
        channels: Channels,
        responses: ResponseMemory,
    ) -> Self {
        Self { registry, store, channels, responses }
    }

    /// Returns the memory of which each response takes a share.
    #[must_use]
    pub fn responses(&self) -> &ResponseMemory {
        &self.responses
    }

    /// Returns the task's current state, with a share of the memory for responses if its result is large.
    ///
    /// # Errors
    /// `task_not_found`, also for another key's task; `queue_full` when there is no memory for its result.
    pub async fn describe(&self, id: &TaskId, owner: KeyHash) -> Result<Held<Snapshot>, Failure> {
        self.describe_with(id, owner, Include::default()).await
    }

    /// Returns the task's current state as [`describe`](Self::describe) does, with the included parts but without the
    /// request.
    ///
    /// # Errors
    /// As [`describe`](Self::describe).
    pub async fn describe_with(
        &self,
        id: &TaskId,
        owner: KeyHash,
        include: Include,
    ) -> Result<Held<Snapshot>, Failure> {
        let (mut most_bytes, mut share) = (READ_AT_ONCE, None);
        loop {
            match self.current_state(id, owner, most_bytes, include).await? {
                Weighed::Light(value) => return Ok(Held { value, share }),
                Weighed::Heavy(bytes) => {
                    drop(share.take());
                    share = self.responses.share(owner, cost(bytes)).await?;
                    most_bytes = bytes;
                }
            }
        }
    }

    /// Returns the task's current state, unless its result is in the store and has more than `most_bytes`.
    async fn current_state(
        &self,
        id: &TaskId,
        owner: KeyHash,
        most_bytes: usize,
        Include { segments, .. }: Include,
    ) -> Result<Weighed<Snapshot>, Failure> {
        loop {
            let Some(Located { actor: Some(actor), mut log, .. }) = self.locate(id, owner).await? else {
                let found = self.store.find(id.clone(), owner, most_bytes, segments).await?;
                return found.ok_or_else(Failure::task_not_found);
            };
            match actor.send(Describe).await {
                Ok(snapshot) => return Ok(Weighed::Light(snapshot)),
                // Without a timeout this is a closed mailbox: the actor has stopped, or it crashed and its successor
                // will end the log.
                Err(_) => {
                    log.reached_or_stalled(usize::MAX).await;
                    if let Some(found) = self.store.find(id.clone(), owner, most_bytes, segments).await? {
                        return Ok(found);
                    }
                }
            }
        }
    }

    /// Returns the request that the task was submitted with.
    ///
    /// # Errors
    /// `task_not_found`, also for another key's task.
    pub async fn request(&self, id: &TaskId, owner: KeyHash) -> Result<Request, Failure> {
        self.store.request(id.clone(), owner).await?.ok_or_else(Failure::task_not_found)
    }

    /// Returns the owner's tasks, newest first, with a share of the memory for responses if their results are large. A
    /// page whose results would have more than [`MOST_LISTED_BYTES`] together ends earlier, but not before its first
    /// task.
    ///
    /// # Errors
    /// `invalid_param` if the task to continue after does not exist; `queue_full` if there is no memory for the
    /// results.
    pub async fn list(&self, owner: KeyHash, query: ListQuery) -> Result<Held<Page>, Failure> {
        let (mut most_bytes, mut share) = (READ_AT_ONCE, None);
        let mut page = loop {
            let found = self.store.list(owner, query.clone(), most_bytes).await?;
            match found.ok_or_else(|| {
                Failure::invalid_param(
                    "after",
                    "after must be the id of a task of this API key that is still kept",
                )
            })? {
                Weighed::Light(page) => break page,
                Weighed::Heavy(bytes) => {
                    // The first share is given back before the second is requested, so callers that wait hold no
                    // memory.
                    drop(share.take());
                    most_bytes = bytes.max(MOST_LISTED_BYTES);
                    share = self.responses.share(owner, cost(most_bytes)).await?;
                }
            }
        };
        let mut left = most_bytes.saturating_sub(page.tasks.iter().map(Snapshot::weight).sum());
        // The actors of tasks that have not ended return their states. The store has only the beginning of those tasks.
        for task in page.tasks.iter_mut().filter(|task| !task.state.is_terminal()) {
            match self.current_state(&task.id, owner, left, Include::default()).await {
                Ok(now) => left -= show_now(task, now, left),
                // The task ended while the list was made, and its retention is over.
                Err(failure) if failure.code == ErrorCode::TaskNotFound => {}
                Err(failure) => return Err(failure),
            }
        }
        page.tasks.retain(|task| query.status.is_none_or(|status| task.state.status() == status));
        Ok(Held { value: page, share })
    }

    /// Returns the task's state when it has ended, or when the server stops.
    ///
    /// # Errors
    /// `task_not_found`, also for another key's task. `storage_full` or `storage_unavailable` if the store could not
    /// record for a while what the task depends on.
    pub async fn outcome(&self, id: &TaskId, owner: KeyHash) -> Result<Held<Snapshot>, Failure> {
        if let Some(Located { mut log, .. }) = self.locate(id, owner).await?
            && log.reached_or_stalled(usize::MAX).await.stalled
        {
            return Err(self.unrecorded(id));
        }
        self.describe(id, owner).await
    }

    /// Returns the failure for a caller that cannot wait any longer for a state that the store cannot record yet. The
    /// task is not lost, so the caller should not submit it again.
    #[must_use]
    pub fn unrecorded(&self, id: &TaskId) -> Failure {
        self.stalled(format!(
            "the state of this task cannot be recorded yet; GET {} returns it later",
            path::task(id)
        ))
        .with_retryable(false)
    }

    fn stalled(&self, what_follows: String) -> Failure {
        match self.store.trouble().map(Failure::from) {
            Some(full @ Failure { code: ErrorCode::StorageFull, .. }) => {
                Failure { message: format!("The service's disk is full: {what_follows}").into(), ..full }
            }
            Some(failure) => {
                let message = format!("The service cannot use its disk at the moment: {what_follows}").into();
                Failure { message, ..failure }
            }
            None => Failure::new(
                ErrorCode::StorageUnavailable,
                format!("The service's disk did not answer in time: {what_follows}"),
            )
            .with_retry_after(STALL_RETRY),
        }
    }

    /// Waits until the task has ended, at most for `most`.
    ///
    /// # Errors
    /// `shutting_down`.
    pub async fn wait(&self, id: &TaskId, owner: KeyHash, most: Duration) -> Result<(), Failure> {
        if let Some(Located { mut log, .. }) = self.locate(id, owner).await? {
            // A timeout is not an error: the caller gets the state at that moment.
            let _ = timeout(most, log.ended()).await;
        }
        Ok(())
    }

    /// Returns a reader of the task's chunks.
    ///
    /// # Errors
    /// `task_not_found`, `stream_not_enabled`, or `stream_expired` once the chunks are gone.
    pub async fn subscribe(&self, id: &TaskId, owner: KeyHash) -> Result<LogReader, Failure> {
        let located = self.locate(id, owner).await?;
        if let Some(Located { log, stream: true, .. }) = located {
            return Ok(log);
        }
        let (stream, has_ended) = match self.current_state(id, owner, 0, Include::default()).await? {
            Weighed::Light(snapshot) => (snapshot.stream, snapshot.state.is_terminal()),
            Weighed::Heavy(_) => (self.request(id, owner).await?.stream, true),
        };
        if stream && has_ended {
            let reopened = self.send_to_registry(Reopen { id: id.clone(), owner }).await??;
            if let Some(log) = reopened {
                return Ok(log);
            }
        }
        Err(if stream {
            Failure::new(
                ErrorCode::StreamExpired,
                format!(
                    "The chunks of this task are no longer kept, or are damaged on the service's disk; GET {} has its \
                     result",
                    path::task(id)
                ),
            )
        } else {
            Failure::new(
                ErrorCode::StreamNotEnabled,
                format!(
                    "This task was submitted without \"stream\": true; GET {} has its result",
                    path::task(id)
                ),
            )
        })
    }

    /// Ends the task as cancelled, unless it has ended. Returns its state.
    ///
    /// # Errors
    /// `task_not_found`, also for another key's task. `storage_full` or `storage_unavailable` if the store could not
    /// record the end for a while.
    pub async fn cancel(&self, id: &TaskId, owner: KeyHash) -> Result<Held<Snapshot>, Failure> {
        if let Some(Located { actor: Some(actor), mut log, .. }) = self.locate(id, owner).await? {
            if actor.send(Cancel).await.is_ok() {
                // This also ends a task that was left to the next start: a client that was told that its task is
                // cancelled must not find the task running after a restart.
                if log.concluded_or_stalled().await.stalled {
                    return Err(self.stalled(
                        "the task was stopped, but its end cannot be recorded yet; repeat the cancel later"
                            .to_owned(),
                    ));
                }
            } else {
                // The mailbox is closed: the task has ended, is about to end, or its actor has crashed.
                log.reached_or_stalled(usize::MAX).await;
            }
        }
        self.describe(id, owner).await
    }

    /// Returns `Ok` if the server takes new tasks. Does not wait for the disk.
    ///
    /// # Errors
    /// `shutting_down`, or `storage_full` or `storage_unavailable` while the store does not work.
    pub async fn readiness(&self) -> Result<(), Failure> {
        if !self.send_to_registry(IsAccepting).await? {
            return Err(Failure::shutting_down());
        }
        self.store.trouble().map_or(Ok(()), |trouble| Err(trouble.into()))
    }

    /// Returns how many tasks run and how many wait; `None` if the registry is gone.
    pub async fn levels(&self) -> Option<TaskLevels> {
        self.send_to_registry(TaskStatus).await.ok().flatten()
    }

    /// Drains the server: it accepts no new tasks and starts none that wait. Returns when the running tasks have ended,
    /// or when `most` has passed and they were stopped. Tasks that have not ended by then are left to the next start.
    pub async fn drain(&self, most: Duration) {
        let _ = self.send_to_registry(Drain { most }).await;
    }

    pub(super) async fn locate(&self, id: &TaskId, owner: KeyHash) -> Result<Option<Located>, Failure> {
        self.send_to_registry(Find { id: id.clone(), owner }).await
    }

    /// Sends a message to the registry. The registry's mailbox closes only when the process is about to end.
    pub(super) async fn send_to_registry<M>(&self, message: M) -> Result<M::Result, Failure>
    where
        M: actix::Message + Send + 'static,
        M::Result: Send,
        Registry: actix::Handler<M>,
    {
        self.registry.send(message).await.map_err(|_| Failure::shutting_down())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{Completion, Timeline, Timestamp};

    fn snapshot(state: State) -> Snapshot {
        Snapshot {
            id: TaskId::generate(1),
            model: "m".into(),
            created: 1,
            stream: false,
            state,
            timeline: Timeline::begun(Timestamp(1_000)),
        }
    }

    #[test]
    fn a_task_that_ends_while_a_list_is_made_keeps_its_progress() {
        let ended = || snapshot(State::Completed(Completion::stored(r#"{"a":1}"#.to_owned(), None).unwrap()));
        let weight = ended().weight();
        for (now, left) in [(Weighed::Light(ended()), weight - 1), (Weighed::Heavy(weight), weight)] {
            let mut listed = snapshot(State::Processing { progress: 0 });
            assert_eq!(show_now(&mut listed, now, left), 0);
            assert!(matches!(listed.state, State::Processing { progress: 99 }));
        }
        let mut listed = snapshot(State::Pending);
        assert_eq!(show_now(&mut listed, Weighed::Light(ended()), weight), weight);
        assert!(matches!(listed.state, State::Completed(_)));
    }
}
