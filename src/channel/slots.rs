//! Slots: permission to run, one per running task. A slot is held, never counted: dropping it gives it back,
//! whatever happened to its task.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The slots of one channel.
#[derive(Debug, Clone)]
pub struct Slots(Arc<Semaphore>);

/// Permission to run, given back when dropped.
#[derive(Debug)]
pub struct Slot {
    _permit: OwnedSemaphorePermit,
}

/// A place in the line for a slot: resolves to one in the order in which the places were taken, or to
/// nothing when the server drains first. Leaving the line is dropping it.
pub struct Turn(BoxFuture<'static, Option<Slot>>);

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Turn(..)")
    }
}

impl Future for Turn {
    type Output = Option<Slot>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_unpin(cx)
    }
}

impl Slots {
    /// As many slots as tasks may run at once.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Semaphore::new(most)))
    }

    /// A slot, if one is free and nobody waits for it.
    #[must_use]
    pub fn try_take(&self) -> Option<Slot> {
        Arc::clone(&self.0).try_acquire_owned().ok().map(|permit| Slot { _permit: permit })
    }

    /// A place at the end of the line.
    #[must_use]
    pub fn line_up(&self) -> Turn {
        let acquire = Arc::clone(&self.0).acquire_owned();
        let mut turn = async move { acquire.await.ok().map(|permit| Slot { _permit: permit }) }.boxed();
        // A semaphore's line begins at the first poll; whoever owns the place may come to poll it later.
        let mut context = Context::from_waker(std::task::Waker::noop());
        match turn.poll_unpin(&mut context) {
            Poll::Ready(slot) => Turn(std::future::ready(slot).boxed()),
            Poll::Pending => Turn(turn),
        }
    }

    /// Gives out no more slots: who waits now waits in vain.
    pub fn close(&self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_served_in_the_order_in_which_they_were_taken() {
        let slots = Slots::new(1);
        let held = slots.try_take().unwrap();
        let (first, second) = (slots.line_up(), slots.line_up());
        assert!(slots.try_take().is_none());
        drop(held);
        let slot = first.now_or_never().flatten().unwrap();
        assert!(slots.try_take().is_none());
        drop(slot);
        assert!(second.now_or_never().flatten().is_some());
    }

    #[test]
    fn who_leaves_the_line_holds_nothing() {
        let slots = Slots::new(1);
        let held = slots.try_take().unwrap();
        drop(slots.line_up());
        drop(held);
        assert!(slots.try_take().is_some());
    }

    #[test]
    fn a_closed_line_ends_in_nothing() {
        let slots = Slots::new(0);
        let turn = slots.line_up();
        slots.close();
        assert!(turn.now_or_never().unwrap().is_none());
    }
}
