//! Notifies connections that the server drains, at almost no cost before the drain.
//!
//! The HTTP server polls its shutdown signal each time that a connection is woken, so for each event of a stream. The
//! signal that the HTTP server would use by default registers a waker at each poll.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// A signal that the server drains; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Draining(Arc<State>);

#[derive(Debug, Default)]
struct State {
    has_started: AtomicBool,
    waiters: Arc<Notify>,
}

impl Draining {
    /// Signals that the drain has started.
    pub(super) fn start(&self) {
        self.0.has_started.store(true, Ordering::Release);
        self.0.waiters.notify_waiters();
    }

    /// Returns a future that resolves when the drain has started.
    pub(super) fn started(&self) -> DrainStarted {
        DrainStarted { state: Arc::clone(&self.0), waiting: None }
    }
}

/// A future that resolves when the drain has started. It wakes only the task that polled it first, because a connection
/// never moves to another task.
#[derive(Debug)]
pub(super) struct DrainStarted {
    state: Arc<State>,
    waiting: Option<Pin<Box<OwnedNotified>>>,
}

impl Future for DrainStarted {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.waiting.is_none() {
            let mut waiting = Box::pin(Arc::clone(&self.state.waiters).notified_owned());
            if waiting.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            self.waiting = Some(waiting);
        }
        // The flag is checked after the registration, because `start` sets the flag before it notifies.
        if self.state.has_started.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_drain_wakes_waiters_and_later_ones_do_not_wait() {
        let draining = Draining::default();
        let waiting = tokio::spawn(draining.started());
        tokio::task::yield_now().await;
        draining.start();
        waiting.await.unwrap();
        assert!(draining.started().now_or_never().is_some());
    }
}
