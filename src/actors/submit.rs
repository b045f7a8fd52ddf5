//! Handles a submit after the HTTP layer: finds or starts its task, chooses the channels, and lets its caller wait.

use std::sync::Arc;

use tokio::sync::oneshot;
use tracing::field::display;

use super::Tasks;
use super::registry::{Accept, NewTask};
use crate::audio::{AudioSource, contradicts_label};
use crate::channel::{Wanted, choose};
use crate::error::{ErrorCode, Failure};
use crate::keys::KnownKey;
use crate::memory::Held;
use crate::secret::KeyHash;
use crate::task::{
    Delivery, Idempotency, LogReader, Snapshot, State, Submission, Task, TaskId, Timeline, Timestamp,
};
use crate::wire::path;
use crate::wire::trace_context::TraceContext;

/// A future that resolves when the caller of a blocking call no longer waits: with [`Answered`], or with an error when
/// it has disconnected.
pub type CallerGone = oneshot::Receiver<Answered>;
/// A guard that is held for the caller of a blocking call. Dropping it cancels the task, unless [`Answered`] was sent
/// before.
type CancelOnDrop = oneshot::Sender<Answered>;

/// The signal that a blocking call has its answer. This also counts if the answer is the error that the task cannot be
/// recorded yet; the task then goes on.
#[derive(Debug)]
pub struct Answered;

/// A task that is durable and will run.
#[derive(Debug)]
pub(super) struct AcceptedTask {
    /// The task as it was accepted.
    pub(super) snapshot: Snapshot,
    /// The task's chunk log.
    pub(super) log: LogReader,
}

/// The result of a submit: a new task, or the one that an earlier submit with the same `Idempotency-Key` has started.
///
/// It is dropped if the caller disconnects. That cancels a new task of a blocking call, and no other task.
#[derive(Debug)]
pub struct Submitted {
    tasks: Tasks,
    owner: KeyHash,
    id: TaskId,
    delivery: Delivery,
    origin: TaskOrigin,
}

/// The submit that has started a task.
#[derive(Debug)]
enum TaskOrigin {
    /// This submit has started the task.
    New {
        accepted: Box<AcceptedTask>,
        /// The guard of a blocking call; `None` for other calls.
        cancel_on_drop: Option<CancelOnDrop>,
    },
    /// An earlier submit has started the task.
    Replayed,
}

impl Submitted {
    /// Returns the task's id.
    #[must_use]
    pub fn id(&self) -> &TaskId {
        &self.id
    }

    /// Returns how the caller is answered.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        self.delivery
    }

    /// Returns true if an earlier submit has started the task.
    #[must_use]
    pub fn is_replayed(&self) -> bool {
        matches!(self.origin, TaskOrigin::Replayed)
    }

    /// Returns the task's state at this moment.
    ///
    /// # Errors
    /// As [`Tasks::describe`].
    pub async fn state(self) -> Result<Held<Snapshot>, Failure> {
        match self.origin {
            TaskOrigin::New { accepted, .. } => Ok(Held::small(accepted.snapshot)),
            TaskOrigin::Replayed => self.tasks.describe(&self.id, self.owner).await,
        }
    }

    /// Waits for the task to end and returns its state. The task goes on whatever this returns.
    ///
    /// # Errors
    /// As [`Tasks::outcome`].
    pub async fn outcome(self) -> Result<Held<Snapshot>, Failure> {
        let outcome = self.tasks.outcome(&self.id, self.owner).await;
        if let TaskOrigin::New { cancel_on_drop: Some(cancel_on_drop), .. } = self.origin {
            // A task without an actor has ended or is parked.
            let _ = cancel_on_drop.send(Answered);
        }
        outcome
    }

    /// Returns a reader of the task's chunks.
    ///
    /// # Errors
    /// As [`Tasks::subscribe`].
    pub async fn log(self) -> Result<LogReader, Failure> {
        match self.origin {
            TaskOrigin::New { accepted, .. } => Ok(accepted.log),
            TaskOrigin::Replayed => self.tasks.subscribe(&self.id, self.owner).await,
        }
    }
}

impl Tasks {
    /// Starts the task that a caller submits, or finds the one that an earlier identical submit has started. When this
    /// returns, the task is durable.
    ///
    /// # Errors
    /// `idempotency_key_reused` if the earlier submit had another body. `model_not_allowed`, or the failure of
    /// [`choose`] for the model's channels. `queue_full`, `rate_limit_exceeded`, `idempotency_conflict`,
    /// `shutting_down`, `storage_full`, `storage_unavailable`, or `internal_error` if the store fails for this task.
    pub async fn submit(
        &self,
        caller: &KnownKey,
        submission: Submission,
        idempotency: Option<Idempotency>,
        trace: Option<TraceContext>,
    ) -> Result<Submitted, Failure> {
        let Submission { question, audio, delivery, stream } = submission;
        let (tasks, owner) = (self.clone(), caller.hash);
        if let Some(idempotency) = &idempotency
            && let Some(id) = self.submitted(owner, idempotency).await?
        {
            return Ok(Submitted { tasks, owner, id, delivery, origin: TaskOrigin::Replayed });
        }
        if !caller.may_use(&question.model) {
            return Err(Failure::new(
                ErrorCode::ModelNotAllowed,
                format!("This API key may not use this model; GET {} lists its models", path::MODELS),
            )
            .with_param("model"));
        }
        let inline = || audio.iter().filter_map(AudioSource::inline);
        let known = inline().map(|audio| (audio.container, audio.text_len())).collect();
        let candidates = choose(&self.channels, &Wanted::of(&question, known), &mut rand::rng())?;
        let created = Timestamp::now();
        let id = TaskId::generate(created.seconds());
        let task = Task { id: id.clone(), owner, created, stream, question, trace };
        for audio in inline().filter(|audio| contradicts_label(&audio.declared, audio.container)) {
            let (declared, found) = (&audio.declared, audio.container.mime());
            let trace_id = task.trace_id().map(display);
            tracing::warn!(
                task_id = %id,
                trace_id,
                declared,
                found,
                "the audio is not of its declared type; the type that was found is used"
            );
        }
        // Only a blocking call cancels its task when its caller disconnects.
        let (cancel_on_drop, caller_gone) = (delivery == Delivery::Blocking).then(oneshot::channel).unzip();
        let accepted = self
            .accept(NewTask {
                task,
                audio,
                candidates,
                caller_gone,
                key_name: caller.name.clone(),
                allowance: Arc::clone(&caller.allowance),
                idempotency,
            })
            .await?;
        let origin = TaskOrigin::New { accepted: Box::new(accepted), cancel_on_drop };
        Ok(Submitted { tasks, owner, id, delivery, origin })
    }

    /// Makes a task durable. It then runs even if the caller disconnects.
    pub(super) async fn accept(&self, new: NewTask) -> Result<AcceptedTask, Failure> {
        let snapshot = Snapshot {
            id: new.task.id.clone(),
            model: new.task.question.model.clone(),
            created: new.task.created.seconds(),
            stream: new.task.stream.is_some(),
            state: State::Pending,
            timeline: Timeline::begun(new.task.created),
        };
        let log = self.send_to_registry(Accept(new)).await??;
        Ok(AcceptedTask { snapshot, log })
    }

    /// Returns the task that a submit with the same `Idempotency-Key` has started.
    async fn submitted(&self, owner: KeyHash, idempotency: &Idempotency) -> Result<Option<TaskId>, Failure> {
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
}
