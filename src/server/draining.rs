//! Signals connections that the server drains, at almost no cost before the drain.
//!
//! The HTTP server polls its shutdown signal each time that a connection is woken, which is for each event of a stream.
//! The HTTP server's own signal registers a waker anew each time.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// Shows whether the server drains.
#[derive(Debug, Clone, Default)]
pub(super) struct Draining(Arc<State>);

#[derive(Debug, Default)]
struct State {
    is_told: AtomicBool,
    told: Arc<Notify>,
}

impl Draining {
    /// Signals that the drain has started.
    pub(super) fn tell(&self) {
        self.0.is_told.store(true, Ordering::Release);
        self.0.told.notify_waiters();
    }

    /// Returns a future that resolves when the drain has started.
    pub(super) fn told(&self) -> Told {
        Told { state: Arc::clone(&self.0), waiting: None }
    }
}

/// Resolves when the drain has started. It wakes the task that polled it first, because a connection never moves to
/// another task.
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
        // Checked after the registration: `tell` sets the flag first and then notifies.
        if self.state.is_told.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_drain_wakes_waiters_and_later_ones_do_not_wait() {
        let draining = Draining::default();
        let waiting = tokio::spawn(draining.told());
        tokio::task::yield_now().await;
        draining.tell();
        waiting.await.unwrap();
        assert!(draining.told().now_or_never().is_some());
    }
}
