//! [`Dispatcher`]: the actor that gives out slots. Who gets one when is decided by the [`Queue`], a pure value; this actor
//! owns it, hands out [`Permit`]s and takes them back.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Instant;

use actix::prelude::*;
use futures_util::FutureExt;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::channel::breaker::Entry;
use crate::channel::pace::Pace;
use crate::channel::queue::{Applicant, Grant, Queue, Ticket};
use crate::channel::{Channel, Channels};
use crate::error::{ErrorCode, Failure};
use crate::keys::KeyHash;

/// Messages that may wait for the dispatcher; beyond, senders wait.
const MAILBOX: usize = 1024;

/// Permission to run at a channel; dropping it gives the slot back, whatever happened to its task.
#[derive(Debug)]
pub struct Permit {
    grant: Grant,
    back: mpsc::Sender<GivenBack>,
}

/// What somebody does not need any more.
#[derive(Debug, Clone, Copy)]
enum GivenBack {
    /// A slot of the channel at this place.
    Slot { key: KeyHash, place: usize },
    /// A place in the line.
    Turn(Ticket),
}

impl Permit {
    /// Where to run.
    #[must_use]
    pub fn channel(&self) -> &Arc<Channel> {
        &self.grant.channel
    }

    /// As what the first call goes there.
    #[must_use]
    pub fn entry(&self) -> Entry {
        self.grant.entry
    }

    /// Keeps the task's place among those of its key where it asks for another permit.
    #[must_use]
    pub fn ticket(&self) -> Ticket {
        self.grant.ticket
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        // There is room for every slot that there is. A dispatcher that is gone has none to give.
        let slot = GivenBack::Slot { key: self.grant.key, place: self.grant.channel.place };
        let _ = self.back.try_send(slot);
    }
}

/// A place in the line for a permit: resolves to one, or to nothing when the server drains first. Leaving the line is
/// dropping it.
#[derive(Debug)]
pub struct Turn {
    permit: oneshot::Receiver<Permit>,
    ticket: Ticket,
    back: mpsc::Sender<GivenBack>,
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
            // There is room for everybody who may wait; of others the place is found empty when its turn comes.
            let _ = self.back.try_send(GivenBack::Turn(self.ticket));
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
    /// A task that was accepted before: it waits whoever else does. There are never more of these beyond the limit
    /// than have a slot, for they come from one, or from an earlier process.
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

/// The actor that knows all slots.
#[derive(Debug)]
pub struct Dispatcher {
    queue: Queue<oneshot::Sender<Permit>>,
    /// `limits.max_pending_tasks`
    most_waiting: usize,
    pace: Pace,
    back: mpsc::Sender<GivenBack>,
    given_back: mpsc::Receiver<GivenBack>,
    closed: bool,
}

impl Dispatcher {
    /// A dispatcher of the channels' slots, before whom at most so many submits may wait.
    #[must_use]
    pub fn new(channels: &Channels, most_waiting: usize) -> Self {
        let slots = channels.iter().map(|channel| channel.max_running_tasks).fold(1, usize::saturating_add);
        // A message for each slot, and one for each who waits: submits, and those who had a slot before.
        let most_messages = slots.saturating_mul(2).saturating_add(most_waiting);
        let (back, given_back) = mpsc::channel(most_messages.min(Semaphore::MAX_PERMITS));
        Self {
            queue: Queue::new(channels),
            most_waiting,
            pace: Pace::default(),
            back,
            given_back,
            closed: false,
        }
    }

    fn permit(&self, grant: Grant) -> Permit {
        Permit { grant, back: self.back.clone() }
    }

    fn hand_out(&mut self, granted: Vec<(oneshot::Sender<Permit>, Grant)>, now: Instant) {
        for (waiter, grant) in granted {
            self.pace.turn(now);
            // Who has left drops the permit, which comes back.
            let _ = waiter.send(self.permit(grant));
        }
    }

    fn take_back(&mut self, given_back: GivenBack) {
        match given_back {
            GivenBack::Slot { key, place } => {
                let now = Instant::now();
                let granted = self.queue.give_back(key, place, now);
                self.hand_out(granted, now);
            }
            GivenBack::Turn(ticket) => self.queue.leave(ticket),
        }
    }

    fn refusal(&self, now: Instant) -> Failure {
        Failure::new(ErrorCode::QueueFull, "Too many tasks are waiting already; try again after Retry-After")
            .with_retry_after(self.pace.next(now))
    }

    fn admit(&mut self, Admit { applicant, standing }: Admit, now: Instant) -> Result<Admission, Failure> {
        if self.closed {
            return Err(Failure::shutting_down());
        }
        // Those who were accepted before may have made the line too long: nobody passes them.
        if standing == Standing::New && self.queue.waiting() > self.most_waiting {
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
        while let Poll::Ready(Some(given_back)) = dispatcher.given_back.poll_recv(cx) {
            dispatcher.take_back(given_back);
        }
        Poll::Pending
    }
}

impl Handler<Admit> for Dispatcher {
    type Result = Result<Admission, Failure>;

    fn handle(&mut self, admit: Admit, _: &mut Self::Context) -> Self::Result {
        // Who saw a task end shall find its slot free.
        while let Ok(given_back) = self.given_back.try_recv() {
            self.take_back(given_back);
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

/// Waits for a permit, however it comes; nothing where the server drains.
pub async fn permit(dispatcher: Addr<Dispatcher>, applicant: Applicant) -> Option<Permit> {
    match dispatcher.send(Admit { applicant, standing: Standing::Accepted }).await {
        Ok(Ok(Admission::Now(permit))) => Some(permit),
        Ok(Ok(Admission::Line(turn))) => turn.await,
        Ok(Err(_)) | Err(_) => None,
    }
}
