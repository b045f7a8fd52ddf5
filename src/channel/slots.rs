//! Slots: permission to run, one per running task. A slot is held, never counted: dropping it gives it back,
//! whatever happened to its task.
//!
//! A task needs a slot of its channel and, where its key has a limit, one of its key. It takes the key's
//! first: so no key holds slots of a channel that it may not use, and no two tasks wait for each other.

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

/// All that a task needs to run, given back when dropped.
#[derive(Debug)]
pub struct Permit {
    _key: Option<Slot>,
    _channel: Slot,
}

/// A place in the line for a permit: resolves to one in the order in which the places were taken, or to
/// nothing when the server drains first. Leaving the line is dropping it.
pub struct Turn(BoxFuture<'static, Option<Permit>>);

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Turn(..)")
    }
}

impl Future for Turn {
    type Output = Option<Permit>;

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

    async fn take(&self) -> Option<Slot> {
        Arc::clone(&self.0).acquire_owned().await.ok().map(|permit| Slot { _permit: permit })
    }

    /// Gives out no more slots: who waits now waits in vain.
    pub fn close(&self) {
        self.0.close();
    }
}

impl Permit {
    /// A permit, if all that it takes is free and nobody waits for it.
    #[must_use]
    pub fn try_take(key: Option<&Slots>, channel: &Slots) -> Option<Self> {
        let key = match key {
            Some(slots) => Some(slots.try_take()?),
            None => None,
        };
        Some(Self { _key: key, _channel: channel.try_take()? })
    }

    /// A place at the end of the line.
    #[must_use]
    pub fn line_up(key: Option<&Slots>, channel: &Slots) -> Turn {
        let (key, channel) = (key.cloned(), channel.clone());
        let mut turn = async move {
            let key = match key {
                Some(slots) => Some(slots.take().await?),
                None => None,
            };
            Some(Self { _key: key, _channel: channel.take().await? })
        }
        .boxed();
        // A semaphore's line begins at the first poll; whoever owns the place may come to poll it later.
        let mut context = Context::from_waker(std::task::Waker::noop());
        match turn.poll_unpin(&mut context) {
            Poll::Ready(permit) => Turn(std::future::ready(permit).boxed()),
            Poll::Pending => Turn(turn),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_served_in_the_order_in_which_they_were_taken() {
        let slots = Slots::new(1);
        let held = slots.try_take().unwrap();
        let (first, second) = (Permit::line_up(None, &slots), Permit::line_up(None, &slots));
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
        drop(Permit::line_up(None, &slots));
        drop(held);
        assert!(slots.try_take().is_some());
    }

    #[test]
    fn a_key_beyond_its_limit_holds_no_slot_of_the_channel() {
        let (key, channel) = (Slots::new(1), Slots::new(2));
        let running = Permit::try_take(Some(&key), &channel).unwrap();
        assert!(Permit::try_take(Some(&key), &channel).is_none());
        let waiting = Permit::line_up(Some(&key), &channel);
        let other = Permit::try_take(None, &channel).unwrap();
        assert!(channel.try_take().is_none());
        drop(running);
        assert!(waiting.now_or_never().flatten().is_some());
        drop(other);
        assert!(Permit::try_take(Some(&key), &channel).is_some());
    }

    #[test]
    fn a_closed_line_ends_in_nothing() {
        let slots = Slots::new(0);
        let turn = Permit::line_up(None, &slots);
        slots.close();
        assert!(turn.now_or_never().unwrap().is_none());
    }
}
