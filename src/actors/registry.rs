//! [`Registry`]: the actor that maps task ids to addresses. It accepts, starts, finds and forgets tasks, and it drains.

mod acceptance;
mod cold;
mod drain;
mod launch;
mod messages;
mod streams;

use std::collections::HashMap;
use std::sync::Arc;

use actix::prelude::*;
use actix_rt::ArbiterHandle;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use acceptance::accept;
use launch::{Launched, Site};
pub(super) use messages::{
    Accept, Drain, Find, IsAccepting, Located, NewTask, Recover, RecoveryPlan, Reopen, TaskStatus,
};

use super::dispatcher::{self, Admit, Dispatcher, RequestedBy};
use super::task::{
    Departure, Draining, Job, RunRecord, Stop, TaskActor, TaskAudio, TaskParts, TaskSettings, Work,
};
use crate::channel::{Applicant, Channel};
use crate::error::{ErrorCode, Failure};
use crate::keys::Allowance;
use crate::metrics::TaskLevels;
use crate::secret::KeyHash;
use crate::store::Store;
use crate::task::{ChunkLog, LogHandle, LogReader, Task, TaskId, Timeline, Timestamp};
use cold::ColdLogs;
use drain::Service;
use streams::PendingReplay;

/// Notifies the registry that a task's actor is gone.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Departed {
    id: TaskId,
    /// The result that the actor left behind; `None` if the actor was never created.
    left: Option<Departure>,
}

/// Messages that may wait for the registry. When that many wait, further senders wait.
const MAILBOX: usize = 1024;

/// A task that has an actor.
#[derive(Debug)]
struct LiveTask {
    task: Arc<Task>,
    actor: Addr<TaskActor>,
    log: LogHandle,
    generation: Generation,
}

/// The place of an actor among the actors that its task has had in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Generation {
    /// The first actor in this process.
    First,
    /// The actor that ends the task because the first one has crashed.
    Successor,
}

/// The actor that holds all tasks that have an actor, and the kept streams of ended tasks.
#[derive(Debug)]
pub struct Registry {
    tasks: HashMap<TaskId, LiveTask>,
    cold: ColdLogs,
    /// The moment at which the next kept stream expires, and the timer for it.
    expiry: Option<(Instant, SpawnHandle)>,
    /// Tasks that are being written to the store. Once a task is in the store, a client can find it before its actor
    /// exists: in the list, or by its `Idempotency-Key`. A request for such a task waits until the sender is dropped.
    accepting: HashMap<TaskId, watch::Receiver<()>>,
    replays: HashMap<(TaskId, KeyHash), PendingReplay>,
    settings: Arc<TaskSettings>,
    /// The threads on which task actors run. They are not those of the HTTP workers, because task actors must outlive
    /// the workers during a drain.
    arbiters: Vec<ArbiterHandle>,
    next_arbiter: usize,
    service: Service,
}

impl Registry {
    /// Creates a registry that starts its tasks on the given arbiters. There must be at least one.
    #[must_use]
    pub fn new(settings: TaskSettings, arbiters: Vec<ArbiterHandle>) -> Self {
        Self {
            tasks: HashMap::new(),
            cold: ColdLogs::new(settings.max_stream_memory_bytes),
            expiry: None,
            accepting: HashMap::new(),
            replays: HashMap::new(),
            settings: Arc::new(settings),
            arbiters,
            next_arbiter: 0,
            service: Service::open(),
        }
    }

    fn store(&self) -> &Store {
        &self.settings.store
    }

    /// Sends a request for a permit now. The returned future only waits for the reply.
    fn admit(
        &self,
        key: KeyHash,
        allowance: &Allowance,
        candidates: Vec<Arc<Channel>>,
        requested_by: RequestedBy,
    ) -> Request<Dispatcher, Admit> {
        let most_running = allowance.limits().max_running_tasks;
        let applicant = Applicant { key, most_running, candidates, ticket: None };
        self.settings.dispatcher.send(Admit { applicant, requested_by })
    }

    /// Returns where the next task's actor runs; `None` without arbiters.
    fn site(&mut self) -> Option<Site> {
        let place = self.next_arbiter;
        let arbiter = self.arbiters.get(place)?.clone();
        self.next_arbiter = (place + 1) % self.arbiters.len();
        let (settings, running) = (Arc::clone(&self.settings), self.service.running());
        Some(Site { arbiter, place, settings, running })
    }

    fn start(&mut self, parts: TaskParts, generation: Generation, ctx: &mut Context<Self>) {
        if let Some(site) = self.site() {
            self.register(site.launch(parts), generation, ctx);
        }
    }

    /// Registers a started task. From here on it can be found.
    fn register(&mut self, launched: Launched, generation: Generation, ctx: &mut Context<Self>) {
        let Launched { task, actor, log, departed } = launched;
        // The service may have begun to drain while the task was being accepted. A new mailbox has room for this
        // message.
        match self.service {
            Service::Open { .. } => {}
            Service::Draining => drop(actor.try_send(Draining)),
            Service::Stopped => drop(actor.try_send(Stop)),
        }
        let id = task.id.clone();
        self.tasks.insert(id.clone(), LiveTask { task, actor, log, generation });
        watch_for_departure(id, departed, ctx);
    }

    fn start_successor(&mut self, id: &TaskId, timeline: Option<Timeline>, ctx: &mut Context<Self>) {
        let Some(LiveTask { task, log, generation, .. }) = self.tasks.remove(id) else { return };
        tracing::error!(task_id = %id, again = generation == Generation::Successor, "the task's actor crashed");
        self.settings.metrics.crashed();
        if log.mark().is_final() {
            // From now on the store answers requests for this task.
        } else if generation == Generation::Successor {
            // The actor that should end the task has crashed, too. So no further actor is started: the readers' streams
            // end early, and the next start ends the task.
            ChunkLog::take_over(log).park();
        } else {
            // An actor that panicked while it was created has no timeline.
            let timeline = timeline.unwrap_or_else(|| Timeline::begun(task.created));
            self.start(TaskParts::crashed(task, log, timeline), Generation::Successor, ctx);
        }
    }
}

/// Notifies the registry when a task's actor departs. This is a separate future, not one of the registry's own: an
/// actor polls all of its own futures on each wake-up, and there are many tasks.
fn watch_for_departure(id: TaskId, departed: oneshot::Receiver<Departure>, ctx: &mut Context<Registry>) {
    let registry = ctx.address().downgrade();
    actix_rt::spawn(async move {
        // The sender is dropped without a value if the actor was never created.
        let left = departed.await.ok();
        // If the registry is gone, there is nothing to forget.
        if let Some(registry) = registry.upgrade() {
            let _ = registry.send(Departed { id, left }).await;
        }
    });
}

impl Actor for Registry {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<Accept> for Registry {
    type Result = ResponseFuture<Result<LogReader, Failure>>;

    /// Accepts and starts the task here and not in the request's handler. Otherwise a client that disconnects in
    /// between could leave a task that is durable and never runs. The future is not one of the registry's own: an actor
    /// polls all of its own futures on each wake-up, and many submits wait for the disk at the same time.
    fn handle(&mut self, Accept(new): Accept, ctx: &mut Self::Context) -> Self::Result {
        let Some(site) = self.site().filter(|_| self.service.is_open()) else {
            return Box::pin(std::future::ready(Err(Failure::shutting_down())));
        };
        let id = new.task.id.clone();
        let (settled, accepting) = watch::channel(());
        self.accepting.insert(id.clone(), accepting);
        // The permit is requested here, so that tasks queue in the order of their submits.
        let admitted =
            self.admit(new.task.owner, &new.allowance, new.candidates.clone(), RequestedBy::NewSubmit);
        let registry = ctx.address();
        Box::pin(async move {
            let accepted = accept(new, admitted, site).await;
            let started = registry.send(AcceptanceDone { id, accepted }).await;
            drop(settled);
            started.map_err(|_| Failure::shutting_down())?
        })
    }
}

/// Reports whether a submit was accepted. If so, its task has an actor.
#[derive(Debug, Message)]
#[rtype(result = "Result<LogReader, Failure>")]
struct AcceptanceDone {
    id: TaskId,
    accepted: Result<Launched, Failure>,
}

impl Handler<AcceptanceDone> for Registry {
    type Result = Result<LogReader, Failure>;

    fn handle(
        &mut self,
        AcceptanceDone { id, accepted }: AcceptanceDone,
        ctx: &mut Self::Context,
    ) -> Self::Result {
        self.accepting.remove(&id);
        let launched = accepted?;
        self.settings.metrics.submitted();
        let log = launched.log.reader();
        self.register(launched, Generation::First, ctx);
        Ok(log)
    }
}

impl Handler<Recover> for Registry {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, recover: Recover, ctx: &mut Self::Context) -> Self::Result {
        let Recover { mut left, key_name, plan } = recover;
        left.timeline.end_attempt(ErrorCode::TaskInterrupted.as_str(), None, Timestamp::now());
        self.settings.metrics.recovered(matches!(plan, RecoveryPlan::Run { .. }));
        match plan {
            RecoveryPlan::End { failure, chunks } => {
                let parts = TaskParts::unfinished(left, key_name, chunks, Job::End(failure));
                self.start(parts, Generation::First, ctx);
                Box::pin(actix::fut::ready(()))
            }
            RecoveryPlan::Run { audio, candidates, allowance } => {
                let admitted =
                    self.admit(left.task.owner, &allowance, candidates.clone(), RequestedBy::AcceptedTask);
                let most_running = allowance.limits().max_running_tasks;
                let audio = audio.into_iter().map(TaskAudio::Kept).collect();
                Box::pin(admitted.into_actor(self).map(move |admitted, registry, ctx| {
                    // The server drains, so the task does not begin. The next start finds it unchanged.
                    let Ok(Ok(admission)) = admitted else { return };
                    let work = Work { audio, candidates, most_running, admission, record: RunRecord::Due };
                    let parts = TaskParts::unfinished(left, key_name, Vec::new(), Job::Run(work));
                    registry.start(parts, Generation::First, ctx);
                }))
            }
        }
    }
}

impl Registry {
    fn find(&mut self, id: &TaskId, owner: KeyHash) -> Option<Located> {
        if let Some(LiveTask { task, actor, log, .. }) =
            self.tasks.get(id).filter(|living| living.task.owner == owner)
        {
            let (actor, stream) = (Some(actor.clone()), task.stream.is_some());
            return Some(Located { actor, log: log.reader(), stream });
        }
        let log = self.cold.find(id, owner)?.clone();
        Some(Located { actor: None, log: log.into(), stream: true })
    }
}

impl Handler<Find> for Registry {
    type Result = ResponseActFuture<Self, Option<Located>>;

    fn handle(&mut self, Find { id, owner }: Find, _: &mut Self::Context) -> Self::Result {
        let accepting = self.accepting.get(&id).cloned();
        let settled = async move {
            if let Some(mut accepting) = accepting {
                // Nothing is ever sent. This ends when the sender is dropped.
                let _ = accepting.changed().await;
            }
        };
        Box::pin(settled.into_actor(self).map(move |(), registry, _| registry.find(&id, owner)))
    }
}

impl Handler<Departed> for Registry {
    type Result = ();

    fn handle(&mut self, Departed { id, left }: Departed, ctx: &mut Self::Context) {
        match left {
            None => self.start_successor(&id, None, ctx),
            Some(Departure::Crashed(timeline)) => self.start_successor(&id, Some(*timeline), ctx),
            Some(Departure::NoStream) => drop(self.tasks.remove(&id)),
            Some(Departure::Stream(stream)) => {
                if let Some(living) = self.tasks.remove(&id) {
                    self.keep(id, living.task.owner, stream, self.settings.chunk_retention, ctx);
                }
            }
        }
    }
}

impl Handler<IsAccepting> for Registry {
    type Result = bool;

    fn handle(&mut self, _: IsAccepting, _: &mut Self::Context) -> bool {
        self.service.is_open()
    }
}

impl Handler<TaskStatus> for Registry {
    type Result = ResponseFuture<Option<TaskLevels>>;

    fn handle(&mut self, _: TaskStatus, _: &mut Self::Context) -> Self::Result {
        let asked = self.settings.dispatcher.send(dispatcher::QueueStatus);
        let (streams_kept, streams_memory) = (self.cold.len(), self.cold.memory());
        Box::pin(async move {
            let (queue, most_pending) = asked.await.ok()?;
            Some(TaskLevels { queue, most_pending, streams_kept, streams_memory })
        })
    }
}
