//! [`Dispatcher`]: the actor that gives out slots. The [`Queue`], a pure value, decides which task gets a slot and
//! when. This actor owns the queue, hands out [`Permit`]s and takes them back.

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

/// Messages that may wait for the dispatcher. When that many wait, further senders wait.
const MAILBOX: usize = 1024;

/// Permission to run at a channel. The slot is returned when the permit and every [`Hold`] on it are dropped, however
/// the task ended.
#[derive(Debug)]
pub struct Permit {
    channel: Arc<Channel>,
    probe: Option<Probe>,
    ticket: Ticket,
    taken: Arc<TakenSlot>,
}

/// A slot that is taken. Dropping it returns the slot.
#[derive(Debug)]
struct TakenSlot {
    slot: Slot,
    returns: ReturnSenders,
}

/// A slot: the key that uses it, and the index of its channel.
#[derive(Debug, Clone, Copy)]
struct Slot {
    key: KeyHash,
    place: usize,
}

/// The senders that return slots and tickets to the dispatcher.
#[derive(Debug, Clone)]
struct ReturnSenders {
    /// The sender of returned slots. Its channel has room for every slot.
    slots: mpsc::Sender<Slot>,
    /// The sender of the tickets of tasks that have left the queue. If 65,536 tickets wait here already, a ticket is
    /// lost. The dispatcher then notices that the task has left when it grants the task a permit.
    abandoned: mpsc::Sender<Ticket>,
}

impl Permit {
    /// Returns the channel to run at.
    #[must_use]
    pub fn channel(&self) -> &Arc<Channel> {
        &self.channel
    }

    /// Returns the right to be the channel's probe, if this permit has it and it was not used yet.
    pub fn take_probe(&mut self) -> Option<Probe> {
        self.probe.take()
    }

    /// Returns the ticket that keeps the task's place among those of its key when it requests another permit.
    #[must_use]
    pub fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Returns a hold, which keeps the slot taken even after the permit is dropped: for work that cannot end at once.
    #[must_use]
    pub fn hold(&self) -> Hold {
        Hold::new(Arc::<TakenSlot>::clone(&self.taken))
    }
}

impl Drop for TakenSlot {
    fn drop(&mut self) {
        // If the dispatcher is gone, it has no slots to give out either.
        let _ = self.returns.slots.try_send(self.slot);
    }
}

/// A place in the queue for a permit. This future resolves to the permit, or to `None` if the server drains first.
/// Dropping it removes the task from the queue.
#[derive(Debug)]
pub struct QueuedPermit {
    permit: oneshot::Receiver<Permit>,
    ticket: Ticket,
    returns: ReturnSenders,
}

impl Future for QueuedPermit {
    type Output = Option<Permit>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        self.permit.poll_unpin(cx).map(Result::ok)
    }
}

impl Drop for QueuedPermit {
    fn drop(&mut self) {
        // A task that has received its permit is no longer in the queue.
        if !self.permit.is_terminated() {
            let _ = self.returns.abandoned.try_send(self.ticket);
        }
    }
}

/// The reply to a request for a permit.
#[derive(Debug)]
pub enum Admission {
    /// The task has a permit.
    Granted(Permit),
    /// The task waits for a permit.
    Queued(QueuedPermit),
}

/// The origin of a request for a permit: a new submit or an accepted task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestedBy {
    /// A new submit. The dispatcher refuses it if too many tasks wait already.
    NewSubmit,
    /// A task that was accepted before: by an earlier process, or for another channel. The dispatcher lets it wait,
    /// even if the queue is full.
    AcceptedTask,
}

/// Requests a permit.
#[derive(Debug, Message)]
#[rtype(result = "Result<Admission, Failure>")]
pub struct Admit {
    /// The task and the channels that it may use.
    pub applicant: Applicant,
    /// The origin of the request.
    pub requested_by: RequestedBy,
}

/// Stops granting permits. Tasks that wait for a permit get none.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Close;

/// Returns how many tasks have a slot, how many wait, and how many may wait.
#[derive(Debug, Message)]
#[rtype(result = "(QueueLevels, usize)")]
pub struct QueueStatus;

/// How often the dispatcher checks whether a channel has begun or ended a rest, if no other event causes the check
/// earlier.
const SETTLE_INTERVAL: Duration = Duration::from_millis(500);
/// The most tickets that may wait for the dispatcher after their tasks have left the queue.
const MOST_ABANDONED: usize = 1 << 16;

/// The actor that owns all slots.
#[derive(Debug)]
pub struct Dispatcher {
    queue: Queue<oneshot::Sender<Permit>>,
    /// The setting `limits.max_pending_tasks`.
    most_waiting: usize,
    pace: Pace,
    returns: ReturnSenders,
    slots: mpsc::Receiver<Slot>,
    abandoned: mpsc::Receiver<Ticket>,
    closed: bool,
}

impl Dispatcher {
    /// Creates a dispatcher of the channels' slots. At most `most_waiting` submits may wait.
    #[must_use]
    pub fn new(channels: &Channels, most_waiting: usize) -> Self {
        let queue = Queue::new(channels);
        let (return_slot, slots) = mpsc::channel(queue.slots().clamp(1, Semaphore::MAX_PERMITS));
        let (return_ticket, abandoned) = mpsc::channel(MOST_ABANDONED);
        Self {
            queue,
            most_waiting,
            pace: Pace::default(),
            returns: ReturnSenders { slots: return_slot, abandoned: return_ticket },
            slots,
            abandoned,
            closed: false,
        }
    }

    fn permit(&self, grant: Grant) -> Permit {
        let Grant { channel, key, probe, ticket } = grant;
        let slot = Slot { key, place: channel.place };
        Permit { channel, probe, ticket, taken: Arc::new(TakenSlot { slot, returns: self.returns.clone() }) }
    }

    fn hand_out(&mut self, granted: Vec<(oneshot::Sender<Permit>, Grant)>, now: Instant) {
        for (waiter, grant) in granted {
            self.pace.record_turn(now);
            // If the waiting task has left, the permit is dropped, which returns its slot.
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
            .with_retry_after(self.pace.expected_wait(now))
    }

    fn admit(
        &mut self,
        Admit { applicant, requested_by }: Admit,
        now: Instant,
    ) -> Result<Admission, Failure> {
        if self.closed {
            return Err(Failure::shutting_down());
        }
        self.settle(now);
        // A task that moves to another channel frees a slot for a new task, which may move as well. Without this limit
        // the queue of moved tasks would grow without end.
        if requested_by == RequestedBy::NewSubmit && self.queue.moved() > self.queue.slots() {
            return Err(self.refusal(now));
        }
        if let Some(grant) = self.queue.take(&applicant, now) {
            return Ok(Admission::Granted(self.permit(grant)));
        }
        if requested_by == RequestedBy::NewSubmit && self.queue.waiting() >= self.most_waiting {
            return Err(self.refusal(now));
        }
        if self.queue.waiting() == 0 {
            self.pace.queue_begins(now);
        }
        let (waiter, permit) = oneshot::channel();
        let (ticket, granted) = self.queue.enqueue(applicant, waiter, now);
        self.hand_out(granted, now);
        Ok(Admission::Queued(QueuedPermit { permit, ticket, returns: self.returns.clone() }))
    }
}

impl Actor for Dispatcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        ctx.spawn(TakeReturns);
        ctx.run_interval(SETTLE_INTERVAL, |dispatcher, _| dispatcher.settle(Instant::now()));
    }
}

/// Takes back slots and tickets as long as the dispatcher lives.
struct TakeReturns;

impl ActorFuture<Dispatcher> for TakeReturns {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        dispatcher: &mut Dispatcher,
        _: &mut Context<Dispatcher>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<()> {
        while let Poll::Ready(Some(ticket)) = dispatcher.abandoned.poll_recv(cx) {
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
        // A client that saw a task end must find its slot, or its place in the queue, free.
        while let Ok(ticket) = self.abandoned.try_recv() {
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

impl Handler<QueueStatus> for Dispatcher {
    type Result = MessageResult<QueueStatus>;

    fn handle(&mut self, _: QueueStatus, _: &mut Self::Context) -> Self::Result {
        MessageResult((self.queue.levels(Instant::now()), self.most_waiting))
    }
}

/// Waits for a permit. Returns `None` if the server drains.
pub(super) async fn permit(dispatcher: Addr<Dispatcher>, applicant: Applicant) -> Option<Permit> {
    match dispatcher.send(Admit { applicant, requested_by: RequestedBy::AcceptedTask }).await {
        Ok(Ok(Admission::Granted(permit))) => Some(permit),
        Ok(Ok(Admission::Queued(queued))) => queued.await,
        Ok(Err(_)) | Err(_) => None,
    }
}
