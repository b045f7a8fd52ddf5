//! [`Registry`]: the actor that maps task ids to addresses. It admits, starts, finds, forgets and drains.

mod messages;

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use actix_rt::ArbiterHandle;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, join_all};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

pub use messages::{Accept, Drain, Fate, Find, IsAccepting, Located, Reopen, TakeUp};

use super::task::{Admission, Draining, Job, Stop, TaskActor, TaskAudio, TaskParts, TaskSettings, Work};
use super::{HELD_BYTES, NewTask};
use crate::audio::source::AudioSource;
use crate::channel::slots::{Permit, Slots};
use crate::channel::{Channel, Channels};
use crate::error::{ErrorCode, Failure};
use crate::keys::KeyHash;
use crate::store::{Acceptance, NewRecord, Replay, Store};
use crate::task::chunk_log::{ChunkLog, LogReader};
use crate::task::id::TaskId;
use crate::task::timeline::Timeline;
use crate::task::{Task, Timestamp};

/// A task's actor is gone.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Departed {
    id: TaskId,
    /// Did it go as planned? Otherwise it crashed.
    planned: bool,
}

/// Messages that may wait for the registry; beyond, senders wait.
const MAILBOX: usize = 1024;
/// How long tasks that are stopped may take to record their end.
const STOP_TIME: Duration = Duration::from_secs(5);

/// A task of which this process knows.
#[derive(Debug)]
enum Entry {
    /// It has an actor.
    Living {
        task: Arc<Task>,
        actor: Addr<TaskActor>,
        log: LogReader,
        /// Did its first actor crash?
        crashed: bool,
    },
    /// It ended in an earlier process, and its stream was asked for.
    Replayed { owner: KeyHash, log: LogReader },
}

impl Entry {
    fn owner(&self) -> KeyHash {
        match self {
            Self::Living { task, .. } => task.owner,
            Self::Replayed { owner, .. } => *owner,
        }
    }

    fn log(&self) -> &LogReader {
        match self {
            Self::Living { log, .. } | Self::Replayed { log, .. } => log,
        }
    }
}

/// A stream that is being read from its journal: all who ask for it meanwhile wait for the same reading.
type Reading = Shared<BoxFuture<'static, Result<Option<Replay>, Failure>>>;

/// The actor that knows all tasks that have one.
#[derive(Debug)]
pub struct Registry {
    tasks: HashMap<TaskId, Entry>,
    /// Tasks that are being written to the store. Once one is there it can be known, by the list or by its
    /// `Idempotency-Key`, before it is started; who looks for it meanwhile waits until the sender is dropped.
    accepting: HashMap<TaskId, watch::Receiver<()>>,
    readings: HashMap<(TaskId, KeyHash), Reading>,
    settings: TaskSettings,
    channels: Channels,
    /// Places for tasks that wait for a permit: `limits.max_pending_tasks`.
    places: Slots,
    /// Task actors live here and not with the HTTP workers, whom they must outlive during a drain.
    arbiters: Vec<ArbiterHandle>,
    next_arbiter: usize,
    /// Running tasks hold a clone; when all are gone, nothing runs. `None` once draining.
    running: Option<mpsc::Sender<Infallible>>,
    /// Were tasks told to stop? One that was being accepted then is told when it starts.
    stopped: bool,
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
            accepting: HashMap::new(),
            readings: HashMap::new(),
            settings,
            channels,
            places: Slots::new(max_pending_tasks),
            arbiters,
            next_arbiter: 0,
            running: Some(running),
            stopped: false,
            all_ended: Some(all_ended),
        }
    }

    fn store(&self) -> &Store {
        &self.settings.store
    }

    /// A permit now, or a place in the line for one.
    fn admit(&self, new: &NewTask, channel: &Channel) -> Result<Admission, Failure> {
        if self.running.is_none() {
            return Err(Failure::shutting_down());
        }
        let key = new.allowance.running();
        if let Some(permit) = Permit::try_take(key, &channel.slots) {
            return Ok(Admission::Now(permit));
        }
        let place = self.places.try_take().ok_or_else(|| {
            Failure::new(ErrorCode::QueueFull, "Too many tasks are waiting already; try again shortly")
                .with_retry_after(Duration::from_secs(5))
        })?;
        Ok(Admission::Line { turn: Permit::line_up(key, &channel.slots), place: Some(place) })
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
        // A mailbox that is new has room.
        if self.stopped {
            let _ = actor.try_send(Stop);
        } else if self.running.is_none() {
            let _ = actor.try_send(Draining);
        }
        let id = task.id.clone();
        self.tasks.insert(id.clone(), Entry::Living { task, actor, log: log.clone(), crashed });
        // Dropped without a word: the actor panicked.
        expect_departure(id, departed.map(|departed| departed.is_ok()), ctx);
        log
    }

    fn succeed(&mut self, id: &TaskId, ctx: &mut Context<Self>) {
        let Some(Entry::Living { task, log, crashed, .. }) = self.tasks.remove(id) else { return };
        tracing::error!(task_id = %id, again = crashed, "the task's actor crashed");
        if log.mark().is_final() {
            // The store tells of it from now on.
        } else if crashed {
            // Ending it is what crashes: readers are let go, and the next start ends it in the store.
            ChunkLog::take_over(&log).end();
        } else {
            self.start(TaskParts::crashed(task, &log), true, ctx);
        }
    }
}

/// Tells the registry when a task departs, and whether it does so as planned. What waits for that is no future of
/// the registry's own: an actor polls all of those each time that it wakes, and there are many tasks, which stay
/// long after their end.
fn expect_departure(id: TaskId, planned: impl Future<Output = bool> + 'static, ctx: &mut Context<Registry>) {
    let registry = ctx.address().downgrade();
    actix_rt::spawn(async move {
        let planned = planned.await;
        // A registry that is gone has nobody to forget.
        if let Some(registry) = registry.upgrade() {
            let _ = registry.send(Departed { id, planned }).await;
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
    type Result = ResponseActFuture<Self, Result<LogReader, Failure>>;

    /// From admission to start this runs here and not in the request's handler: a client that leaves in
    /// between must not leave a task behind that is durable and never runs.
    fn handle(&mut self, Accept(new): Accept, _: &mut Self::Context) -> Self::Result {
        let admitted = new.candidates.first().cloned().ok_or_else(Failure::internal).and_then(|channel| {
            let admission = self.admit(&new, &channel)?;
            // Last: a submit that is refused uses up nothing of its key's rate.
            new.allowance.spend()?;
            Ok((channel, admission))
        });
        let (channel, admission) = match admitted {
            Ok(admitted) => admitted,
            Err(failure) => return Box::pin(std::future::ready(Err(failure)).into_actor(self)),
        };
        let NewTask { task, audio, presence, idempotency, key_name, .. } = new;
        let task = Arc::new(task);
        let runs = matches!(admission, Admission::Now(_));
        let kept = audio.kept();
        let (base64, audio) = match audio {
            // What has to wait does so on the disk, and what is large is sent from there.
            AudioSource::Inline(audio) if runs && audio.base64.len() <= HELD_BYTES => {
                (Some(audio.base64.clone()), TaskAudio::Held(audio))
            }
            AudioSource::Inline(audio) => (Some(audio.base64), TaskAudio::Kept(kept.clone())),
            AudioSource::Url(_) => (None, TaskAudio::Kept(kept.clone())),
        };
        let mut timeline = Timeline::begun(task.created);
        if runs && audio.is_at_hand() {
            timeline.attempt(&channel.name, Timestamp::now());
        }
        let record = NewRecord {
            task: Arc::clone(&task),
            audio: kept,
            runs,
            leashed: presence.is_some() && idempotency.is_none(),
            timeline: timeline.clone(),
            idempotency,
        };
        let store = self.store().clone();
        let durable = async move { store.accept(record, base64).await };
        let (settled, accepting) = watch::channel(());
        self.accepting.insert(task.id.clone(), accepting);
        Box::pin(durable.into_actor(self).map(move |durable, registry, ctx| {
            registry.accepting.remove(&task.id);
            let started = match durable? {
                Acceptance::Durable => {
                    let work = Work { audio, channel, admission };
                    let parts = TaskParts::accepted(task, key_name, presence, timeline, work);
                    Ok(registry.start(parts, false, ctx))
                }
                Acceptance::KeyTaken => Err(Failure::new(
                    ErrorCode::IdempotencyConflict,
                    "A submit with this Idempotency-Key is being accepted at this moment; send it again",
                )),
            };
            drop(settled);
            started
        }))
    }
}

impl Handler<TakeUp> for Registry {
    type Result = ();

    fn handle(&mut self, TakeUp { mut left, key_name, fate }: TakeUp, ctx: &mut Self::Context) {
        left.timeline.end_attempt(ErrorCode::TaskInterrupted.as_str(), Timestamp::now());
        let (job, chunks) = match fate {
            Fate::Run { audio, channel, allowance } => {
                let turn = Permit::line_up(allowance.running(), &channel.slots);
                let admission = Admission::Line { turn, place: self.places.try_take() };
                (Job::Run(Work { audio: TaskAudio::Kept(audio), channel, admission }), Vec::new())
            }
            Fate::End { failure, chunks } => (Job::End(failure), chunks),
        };
        self.start(TaskParts::left_over(left, key_name, chunks, job), false, ctx);
    }
}

impl Registry {
    fn find(&self, id: &TaskId, owner: KeyHash) -> Option<Located> {
        let entry = self.tasks.get(id).filter(|entry| entry.owner() == owner)?;
        let (actor, stream) = match entry {
            Entry::Living { actor, task, .. } => (Some(actor.clone()), task.stream),
            Entry::Replayed { .. } => (None, true),
        };
        Some(Located { actor, log: entry.log().clone(), stream })
    }
}

impl Handler<Find> for Registry {
    type Result = ResponseActFuture<Self, Option<Located>>;

    fn handle(&mut self, Find { id, owner }: Find, _: &mut Self::Context) -> Self::Result {
        let accepting = self.accepting.get(&id).cloned();
        let settled = async move {
            if let Some(mut accepting) = accepting {
                // Nothing is ever sent: this ends with its sender.
                let _ = accepting.changed().await;
            }
        };
        Box::pin(settled.into_actor(self).map(move |(), registry, _| registry.find(&id, owner)))
    }
}

impl Handler<Departed> for Registry {
    type Result = ();

    fn handle(&mut self, Departed { id, planned }: Departed, ctx: &mut Self::Context) {
        if planned {
            self.tasks.remove(&id);
        } else {
            self.succeed(&id, ctx);
        }
    }
}

impl Handler<Reopen> for Registry {
    type Result = ResponseActFuture<Self, Result<Option<LogReader>, Failure>>;

    fn handle(&mut self, Reopen { id, owner }: Reopen, _: &mut Self::Context) -> Self::Result {
        let known = self.tasks.get(&id).filter(|entry| entry.owner() == owner);
        if let Some(entry) = known {
            let log = entry.log().clone();
            return Box::pin(std::future::ready(Ok(Some(log))).into_actor(self));
        }
        let store = self.store().clone();
        let reading = self.readings.entry((id.clone(), owner)).or_insert_with(|| {
            let id = id.clone();
            async move { store.replay(id, owner).await.map_err(Failure::from) }.boxed().shared()
        });
        Box::pin(reading.clone().into_actor(self).map(move |replay, registry, ctx| {
            registry.readings.remove(&(id.clone(), owner));
            let Some(Replay { log, left }) = replay? else { return Ok(None) };
            if let MapEntry::Vacant(entry) = registry.tasks.entry(id.clone()) {
                entry.insert(Entry::Replayed { owner, log: log.clone() });
                expect_departure(id, sleep(left).map(|()| true), ctx);
            }
            Ok(Some(log))
        }))
    }
}

impl Handler<IsAccepting> for Registry {
    type Result = bool;

    fn handle(&mut self, _: IsAccepting, _: &mut Self::Context) -> bool {
        self.running.is_some()
    }
}

impl Registry {
    /// Sends a message to all tasks; resolves when all have taken it.
    fn tell_all<M>(&self, message: M) -> impl Future<Output = ()> + 'static + use<M>
    where
        M: Message<Result = ()> + Copy + Send + 'static,
        TaskActor: Handler<M>,
    {
        let sends: Vec<_> = self
            .tasks
            .values()
            .filter_map(|entry| match entry {
                Entry::Living { actor, .. } => Some(actor.send(message)),
                Entry::Replayed { .. } => None,
            })
            .collect();
        join_all(sends).map(drop)
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
        let told = self.tell_all(Draining);
        let ended = async move {
            told.await;
            (timeout(most, all_ended.recv()).await.is_ok(), all_ended)
        };
        Box::pin(ended.into_actor(self).then(|(in_time, mut all_ended), registry: &mut Self, _| {
            if !in_time {
                tracing::warn!("the time to drain is over: what still runs is stopped");
            }
            // What waits is left to the next start, and whoever reads it is let go.
            registry.stopped = true;
            let told = registry.tell_all(Stop);
            let stopped = async move {
                told.await;
                all_ended.recv().await;
            };
            let stopped = async move {
                let _ = timeout(STOP_TIME, stopped).await;
            };
            stopped.into_actor(registry).map(|(), registry: &mut Self, _| {
                let left = registry.tasks.values().filter(|entry| !entry.log().mark().ended).count();
                if left > 0 {
                    tracing::info!(tasks = left, "left for the next start");
                }
            })
        }))
    }
}
