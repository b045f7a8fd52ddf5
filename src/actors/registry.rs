//! [`Registry`]: the actor that maps task ids to addresses. It admits, starts, finds, forgets and drains.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use actix_rt::ArbiterHandle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::NewTask;
use super::task::{Admission, Interrupt, TaskActor, TaskParts, TaskSettings};
use crate::channel::Channels;
use crate::channel::slots::Slots;
use crate::error::{ErrorCode, Failure};
use crate::keys::KeyHash;
use crate::store::Store;
use crate::task::Task;
use crate::task::chunk_log::{ChunkLog, LogReader};
use crate::task::id::TaskId;

/// Accept a task: durably, then running or waiting. Replies with its log.
#[derive(Debug, Message)]
#[rtype(result = "Result<LogReader, Failure>")]
pub struct Accept(pub NewTask);

/// Find a task that has an actor.
#[derive(Debug, Message)]
#[rtype(result = "Option<Located>")]
pub struct Find {
    /// The task.
    pub id: TaskId,
    /// Who asks: to another key the task does not exist.
    pub owner: KeyHash,
}

/// A task that has an actor.
#[derive(Debug)]
pub struct Located {
    /// The actor.
    pub actor: Addr<TaskActor>,
    /// Its chunk log.
    pub log: LogReader,
    /// Does the log carry frames?
    pub stream: bool,
}

/// Are new tasks taken?
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub struct IsAccepting;

/// Take no new tasks, start none that wait, and reply when those that run have ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Drain {
    /// After this long they are interrupted.
    pub most: Duration,
}

/// Messages that may wait for the registry; beyond, senders wait.
const MAILBOX: usize = 1024;
/// How long interrupted tasks may take to record their end.
const INTERRUPT_TIME: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Entry {
    task: Arc<Task>,
    actor: Addr<TaskActor>,
    log: LogReader,
    /// Did its first actor crash?
    crashed: bool,
}

/// The actor that knows all tasks that have one.
#[derive(Debug)]
pub struct Registry {
    tasks: HashMap<TaskId, Entry>,
    settings: TaskSettings,
    channels: Channels,
    /// Places for tasks that wait for a slot: `limits.max_pending_tasks`.
    places: Slots,
    /// Task actors live here and not with the HTTP workers, whom they must outlive during a drain.
    arbiters: Vec<ArbiterHandle>,
    next_arbiter: usize,
    /// Running tasks hold a clone; when all are gone, nothing runs. `None` once draining.
    running: Option<mpsc::Sender<Infallible>>,
    all_ended: Option<mpsc::Receiver<Infallible>>,
}

impl Registry {
    /// A registry that starts its tasks on the given arbiters, of which there must be at least one.
    #[must_use]
    pub fn new(
        channels: Channels,
        settings: TaskSettings,
        max_pending_tasks: usize,
        arbiters: Vec<ArbiterHandle>,
    ) -> Self {
        let (running, all_ended) = mpsc::channel(1);
        Self {
            tasks: HashMap::new(),
            settings,
            channels,
            places: Slots::new(max_pending_tasks),
            arbiters,
            next_arbiter: 0,
            running: Some(running),
            all_ended: Some(all_ended),
        }
    }

    fn store(&self) -> &Store {
        &self.settings.store
    }

    /// A slot now, or a place in the line for one.
    fn admit(&self, new: &NewTask) -> Result<Admission, Failure> {
        if self.running.is_none() {
            return Err(Failure::shutting_down());
        }
        let channel = new.candidates.first().ok_or_else(Failure::internal)?;
        if let Some(slot) = channel.slots.try_take() {
            return Ok(Admission::Now(slot));
        }
        let place = self.places.try_take().ok_or_else(|| {
            Failure::new(ErrorCode::QueueFull, "Too many tasks are waiting already; try again shortly")
                .with_retry_after(Duration::from_secs(5))
        })?;
        Ok(Admission::Line { turn: channel.slots.line_up(), place })
    }

    fn start(&mut self, parts: TaskParts, crashed: bool, ctx: &mut Context<Self>) -> LogReader {
        let log = parts.log_reader();
        let task = parts.task();
        let (departing, departed) = oneshot::channel();
        let settings = self.settings.clone();
        let running = self.running.as_ref().map(mpsc::Sender::downgrade);
        let Some(arbiter) = self.arbiters.get(self.next_arbiter) else { return log };
        let actor = TaskActor::start_in_arbiter(arbiter, move |_| {
            TaskActor::new(parts, settings, running, departing)
        });
        self.next_arbiter = (self.next_arbiter + 1) % self.arbiters.len();
        let id = task.id.clone();
        self.tasks.insert(id.clone(), Entry { task, actor, log: log.clone(), crashed });
        ctx.spawn(departed.into_actor(self).map(move |departed, registry, ctx| match departed {
            Ok(()) => {
                registry.tasks.remove(&id);
            }
            // Dropped without a word: the actor panicked. Its successor ends the task.
            Err(_) => registry.succeed(&id, ctx),
        }));
        log
    }

    fn succeed(&mut self, id: &TaskId, ctx: &mut Context<Self>) {
        let Some(Entry { task, log, crashed, .. }) = self.tasks.remove(id) else { return };
        tracing::error!(task_id = %id, again = crashed, "the task's actor crashed");
        if log.mark().ended {
            // The store tells of it from now on.
        } else if crashed {
            // Ending it is what crashes: readers are let go, and the next start ends it in the store.
            ChunkLog::take_over(&log).end();
        } else {
            self.start(TaskParts::crashed(task, &log), true, ctx);
        }
    }
}

impl Actor for Registry {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<Accept> for Registry {
    type Result = ResponseActFuture<Self, Result<LogReader, Failure>>;

    /// From admission to start this runs here and not in the request's handler: a client that leaves in
    /// between must not leave a task behind that is durable and never runs.
    fn handle(&mut self, Accept(new): Accept, _: &mut Self::Context) -> Self::Result {
        let admission = match self.admit(&new) {
            Ok(admission) => admission,
            Err(failure) => return Box::pin(std::future::ready(Err(failure)).into_actor(self)),
        };
        let store = self.store().clone();
        let task = new.task.clone();
        let durable = async move { store.accept(task).await };
        Box::pin(durable.into_actor(self).map(move |durable, registry, ctx| {
            durable?;
            Ok(registry.start(TaskParts::accepted(new, admission), false, ctx))
        }))
    }
}

impl Handler<Find> for Registry {
    type Result = Option<Located>;

    fn handle(&mut self, Find { id, owner }: Find, _: &mut Self::Context) -> Option<Located> {
        let entry = self.tasks.get(&id).filter(|entry| entry.task.owner == owner)?;
        Some(Located { actor: entry.actor.clone(), log: entry.log.clone(), stream: entry.task.stream })
    }
}

impl Handler<IsAccepting> for Registry {
    type Result = bool;

    fn handle(&mut self, _: IsAccepting, _: &mut Self::Context) -> bool {
        self.running.is_some()
    }
}

impl Handler<Drain> for Registry {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, Drain { most }: Drain, _: &mut Self::Context) -> Self::Result {
        self.running = None;
        for channel in self.channels.iter() {
            channel.slots.close();
        }
        let Some(mut all_ended) = self.all_ended.take() else {
            return Box::pin(std::future::ready(()).into_actor(self));
        };
        let ended = async move { (timeout(most, all_ended.recv()).await.is_ok(), all_ended) };
        Box::pin(ended.into_actor(self).then(|(in_time, mut all_ended), registry, _| {
            if !in_time {
                tracing::warn!("the time to drain is over: what still runs is interrupted");
                for entry in registry.tasks.values() {
                    // A full mailbox is a task that is busy ending.
                    let _ = entry.actor.try_send(Interrupt);
                }
            }
            let ended = async move {
                let _ = timeout(INTERRUPT_TIME, all_ended.recv()).await;
            };
            ended.into_actor(registry)
        }))
    }
}
