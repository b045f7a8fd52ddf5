//! Starts a task's actor on one of the arbiters, before the task is in the registry.

use std::convert::Infallible;
use std::sync::Arc;

use actix::prelude::*;
use actix_rt::ArbiterHandle;
use tokio::sync::{mpsc, oneshot};

use crate::actors::task::{Departure, TaskActor, TaskParts, TaskSettings};
use crate::task::{LogHandle, Task};

/// The arbiter on which a task's actor will run, and the settings that all task actors share.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) arbiter: ArbiterHandle,
    /// The index among the arbiters. The pump with the same index serves the task's subscribers.
    pub(super) place: usize,
    pub(super) settings: Arc<TaskSettings>,
    /// The sender that a running task clones as its token; `None` if the server drains.
    pub(super) running: Option<mpsc::WeakSender<Infallible>>,
}

/// A task that has an actor but is not in the registry yet.
#[derive(Debug)]
pub(super) struct Launched {
    pub(super) task: Arc<Task>,
    pub(super) actor: Addr<TaskActor>,
    pub(super) log: LogHandle,
    /// Reports how the actor ended and what it left behind. An error means that the actor was never created.
    pub(super) departed: oneshot::Receiver<Departure>,
}

impl Site {
    /// Starts the actor.
    pub(super) fn launch(self, parts: TaskParts) -> Launched {
        let Self { arbiter, place, settings, running } = self;
        let (task, log) = (parts.task(), parts.log());
        log.set_arbiter(place);
        let (departing, departed) = oneshot::channel();
        let actor = TaskActor::start_in_arbiter(&arbiter, move |ctx| {
            TaskActor::begin(parts, settings, running, departing, ctx)
        });
        Launched { task, actor, log, departed }
    }
}
