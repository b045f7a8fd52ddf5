//! How a task's actor comes to be: on one of the arbiters, before anybody knows of it.

use std::convert::Infallible;
use std::sync::Arc;

use actix::prelude::*;
use actix_rt::ArbiterHandle;
use tokio::sync::{mpsc, oneshot};

use crate::actors::task::{Departure, TaskActor, TaskParts, TaskSettings};
use crate::task::{LogHandle, Task};

/// Where a task's actor is to live, and what all of them share.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) arbiter: ArbiterHandle,
    /// Its place among the arbiters: the pump at the same place serves the task's subscribers.
    pub(super) place: usize,
    pub(super) settings: Arc<TaskSettings>,
    /// Where a running task takes its token from; `None` where the server drains.
    pub(super) running: Option<mpsc::WeakSender<Infallible>>,
}

/// A task that has an actor, of which the registry has yet to hear.
#[derive(Debug)]
pub(super) struct Launched {
    pub(super) task: Arc<Task>,
    pub(super) actor: Addr<TaskActor>,
    pub(super) log: LogHandle,
    /// Says how the actor went, and what it left; an error, that it was never made.
    pub(super) departed: oneshot::Receiver<Departure>,
}

impl Site {
    /// Starts the actor.
    pub(super) fn launch(self, parts: TaskParts) -> Launched {
        let Self { arbiter, place, settings, running } = self;
        let (task, log) = (parts.task(), parts.log());
        log.settle_at(place);
        let (departing, departed) = oneshot::channel();
        let actor = TaskActor::start_in_arbiter(&arbiter, move |ctx| {
            TaskActor::begin(parts, settings, running, departing, ctx)
        });
        Launched { task, actor, log, departed }
    }
}
