//! Tells connections that the server drains, at next to no cost as long as it does not.
//!
//! The HTTP server looks at this each time that a connection is woken, which is for each event of a stream. Its own
//! signal registers anew each time.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// Whether the server drains.
#[derive(Debug, Clone, Default)]
pub(super) struct Draining(Arc<State>);

#[derive(Debug, Default)]
struct State {
    is_told: AtomicBool,
    told: Arc<Notify>,
}

impl Draining {
    /// It does.
    pub(super) fn tell(&self) {
        self.0.is_told.store(true, Ordering::Release);
        self.0.told.notify_waiters();
    }

    /// Resolves when it does.
    pub(super) fn told(&self) -> Told {
        Told { state: Arc::clone(&self.0), waiting: None }
    }
}

/// Resolves when the server drains. It wakes the task that polled it first: a connection is never moved to another.
#[derive(Debug)]
pub(super) struct Told {
    state: Arc<State>,
    waiting: Option<Pin<Box<OwnedNotified>>>,
}

impl Future for Told {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.waiting.is_none() {
            let mut waiting = Box::pin(Arc::clone(&self.state.told).notified_owned());
            if waiting.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            self.waiting = Some(waiting);
        }
        // After the registration: whoever tells does so in the opposite order.
        if self.state.is_told.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn whoever_waits_is_woken_and_whoever_comes_later_does_not_wait() {
        let draining = Draining::default();
        let waiting = tokio::spawn(draining.told());
        tokio::task::yield_now().await;
        draining.tell();
        waiting.await.unwrap();
        assert!(draining.told().now_or_never().is_some());
    }
}
