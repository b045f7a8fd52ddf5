//! [`Dispatcher`]: the actor that gives out slots. Who gets one when is decided by the [`Queue`], a pure value; this actor
//! owns it, hands out [`Permit`]s and takes them back.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use actix::prelude::*;
use futures_util::FutureExt;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::channel::{Applicant, Channel, Channels, Grant, Pace, Probe, Queue, Ticket};
use crate::error::{ErrorCode, Failure};
use crate::metrics::QueueLevels;
use crate::secret::KeyHash;
use crate::upstream::Hold;

/// Messages that may wait for the dispatcher; beyond, senders wait.
const MAILBOX: usize = 1024;

/// Permission to run at a channel. The slot is given back when the permit and every [`Hold`] on it are dropped,
/// whatever happened to the task.
#[derive(Debug)]
pub struct Permit {
    channel: Arc<Channel>,
    probe: Option<Probe>,
    ticket: Ticket,
    taken: Arc<Taken>,
}

/// A slot that is taken; dropping it gives the slot back.
#[derive(Debug)]
struct Taken {
    slot: Slot,
    back: Back,
}

/// A slot that nobody needs any more.
#[derive(Debug, Clone, Copy)]
struct Slot {
    key: KeyHash,
    place: usize,
}

/// The way back to the dispatcher.
#[derive(Debug, Clone)]
struct Back {
    /// Has room for every slot that there is.
    slots: mpsc::Sender<Slot>,
    /// Of those who have left the line. Whoever finds no room here is found to be gone when its turn comes.
    left: mpsc::Sender<Ticket>,
}

impl Permit {
    /// Where to run.
    #[must_use]
    pub fn channel(&self) -> &Arc<Channel> {
        &self.channel
    }

    /// The right to be the channel's probe, if this is it and it was not used yet.
    pub fn take_probe(&mut self) -> Option<Probe> {
        self.probe.take()
    }

    /// Keeps the task's place among those of its key where it asks for another permit.
    #[must_use]
    pub fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Keeps the slot taken, also when the permit is dropped: for work that cannot end at once.
    #[must_use]
    pub fn hold(&self) -> Hold {
        Hold::new(Arc::<Taken>::clone(&self.taken))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // A dispatcher that is gone has none to give.
        let _ = self.back.slots.try_send(self.slot);
    }
}

/// A place in the line for a permit: resolves to one, or to nothing when the server drains first. Leaving the line is
/// dropping it.
#[derive(Debug)]
pub struct Turn {
    permit: oneshot::Receiver<Permit>,
    ticket: Ticket,
    back: Back,
}

impl Future for Turn {
    type Output = Option<Permit>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        self.permit.poll_unpin(cx).map(Result::ok)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Whoever had its turn has left the line by that.
        if !self.permit.is_terminated() {
            let _ = self.back.left.try_send(self.ticket);
        }
    }
}

/// How a task gets its permit to run.
#[derive(Debug)]
pub enum Admission {
    /// It has one.
    Now(Permit),
    /// It waits for one.
    Line(Turn),
}

/// Who asks for a permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// A submit: it is refused where too many wait already.
    New,
    /// A task that was accepted before, in an earlier process or to run at another channel: it waits whoever else does.
    Accepted,
}

/// Ask for a permit.
#[derive(Debug, Message)]
#[rtype(result = "Result<Admission, Failure>")]
pub struct Admit {
    /// For whom, and where.
    pub applicant: Applicant,
    /// Who asks.
    pub standing: Standing,
}

/// Give out no more permits: who waits now waits in vain.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Close;

/// Tell who has a slot and who waits, and how many may wait.
#[derive(Debug, Message)]
#[rtype(result = "(QueueLevels, usize)")]
pub struct Tell;

/// How often somebody looks whether channels have begun to rest or ceased to, where nothing else happens.
const LOOK: Duration = Duration::from_millis(500);
/// As many messages about those who left the line may wait.
const MOST_LEFT: usize = 1 << 16;

/// The actor that knows all slots.
#[derive(Debug)]
pub struct Dispatcher {
    queue: Queue<oneshot::Sender<Permit>>,
    /// `limits.max_pending_tasks`
    most_waiting: usize,
    pace: Pace,
    back: Back,
    slots: mpsc::Receiver<Slot>,
    left: mpsc::Receiver<Ticket>,
    closed: bool,
}

impl Dispatcher {
    /// A dispatcher of the channels' slots, before whom at most so many submits may wait.
    #[must_use]
    pub fn new(channels: &Channels, most_waiting: usize) -> Self {
        let queue = Queue::new(channels);
        let (slots_back, slots) = mpsc::channel(queue.slots().clamp(1, Semaphore::MAX_PERMITS));
        let (left_back, left) = mpsc::channel(MOST_LEFT);
        Self {
            queue,
            most_waiting,
            pace: Pace::default(),
            back: Back { slots: slots_back, left: left_back },
            slots,
            left,
            closed: false,
        }
    }

    fn permit(&self, grant: Grant) -> Permit {
        let Grant { channel, key, probe, ticket } = grant;
        let slot = Slot { key, place: channel.place };
        Permit { channel, probe, ticket, taken: Arc::new(Taken { slot, back: self.back.clone() }) }
    }

    fn hand_out(&mut self, granted: Vec<(oneshot::Sender<Permit>, Grant)>, now: Instant) {
        for (waiter, grant) in granted {
            self.pace.turn(now);
            // Who has left drops the permit, which comes back.
            let _ = waiter.send(self.permit(grant));
        }
    }

    fn take_slot(&mut self, Slot { key, place }: Slot) {
        let now = Instant::now();
        let granted = self.queue.give_back(key, place, now);
        self.hand_out(granted, now);
        self.settle(now);
    }

    fn settle(&mut self, now: Instant) {
        let granted = self.queue.settle(now);
        self.hand_out(granted, now);
    }

    fn refusal(&self, now: Instant) -> Failure {
        Failure::new(ErrorCode::QueueFull, "Too many tasks are waiting already; try again after Retry-After")
            .with_retry_after(self.pace.next(now))
    }

    fn admit(&mut self, Admit { applicant, standing }: Admit, now: Instant) -> Result<Admission, Failure> {
        if self.closed {
            return Err(Failure::shutting_down());
        }
        self.settle(now);
        // Each who moves to another channel leaves a slot to somebody new, who may move as well: they wait in a line
        // that would have no end.
        if standing == Standing::New && self.queue.moved() > self.queue.slots() {
            return Err(self.refusal(now));
        }
        if let Some(grant) = self.queue.take(&applicant, now) {
            return Ok(Admission::Now(self.permit(grant)));
        }
        if standing == Standing::New && self.queue.waiting() >= self.most_waiting {
            return Err(self.refusal(now));
        }
        if self.queue.waiting() == 0 {
            self.pace.begins(now);
        }
        let (waiter, permit) = oneshot::channel();
        let (ticket, granted) = self.queue.line_up(applicant, waiter, now);
        self.hand_out(granted, now);
        Ok(Admission::Line(Turn { permit, ticket, back: self.back.clone() }))
    }
}

impl Actor for Dispatcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        ctx.spawn(TakingBack);
        ctx.run_interval(LOOK, |dispatcher, _| dispatcher.settle(Instant::now()));
    }
}

/// Takes back what is given back, as long as the dispatcher lives.
struct TakingBack;

impl ActorFuture<Dispatcher> for TakingBack {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        dispatcher: &mut Dispatcher,
        _: &mut Context<Dispatcher>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<()> {
        while let Poll::Ready(Some(ticket)) = dispatcher.left.poll_recv(cx) {
            dispatcher.queue.leave(ticket);
        }
        while let Poll::Ready(Some(slot)) = dispatcher.slots.poll_recv(cx) {
            dispatcher.take_slot(slot);
        }
        Poll::Pending
    }
}

impl Handler<Admit> for Dispatcher {
    type Result = Result<Admission, Failure>;

    fn handle(&mut self, admit: Admit, _: &mut Self::Context) -> Self::Result {
        // Who saw a task end shall find its slot free, or its place.
        while let Ok(ticket) = self.left.try_recv() {
            self.queue.leave(ticket);
        }
        while let Ok(slot) = self.slots.try_recv() {
            self.take_slot(slot);
        }
        self.admit(admit, Instant::now())
    }
}

impl Handler<Close> for Dispatcher {
    type Result = ();

    fn handle(&mut self, _: Close, _: &mut Self::Context) {
        self.closed = true;
        self.queue.clear();
    }
}

impl Handler<Tell> for Dispatcher {
    type Result = MessageResult<Tell>;

    fn handle(&mut self, _: Tell, _: &mut Self::Context) -> Self::Result {
        MessageResult((self.queue.levels(Instant::now()), self.most_waiting))
    }
}

/// Waits for a permit, however it comes; nothing where the server drains.
pub(super) async fn permit(dispatcher: Addr<Dispatcher>, applicant: Applicant) -> Option<Permit> {
    match dispatcher.send(Admit { applicant, standing: Standing::Accepted }).await {
        Ok(Ok(Admission::Now(permit))) => Some(permit),
        Ok(Ok(Admission::Line(turn))) => turn.await,
        Ok(Err(_)) | Err(_) => None,
    }
}
