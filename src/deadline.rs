//! Deadlines for the other side of a connection. A freeze of this process does not count: a paused virtual machine, a
//! stopped process, a machine that swaps, or a thread of hearken that is busy with other work for seconds.
//!
//! Two mechanisms ensure this. First, a deadline is a moment on a [`Clock`] that stops while its thread is frozen, so a
//! freeze moves the deadline. Second, a deadline passes only after a grace period, in which the event loop checks its
//! sockets again. This is needed because `epoll_wait` returns with `EINTR` after a stop, so that Tokio fires its timers
//! before it has checked any socket.

mod clock;

use std::fmt;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep_until};

pub use clock::{Clock, Moment};

/// The grace period after a deadline: time for one turn of the event loop, and for the tasks that it wakes.
const GRACE: Duration = Duration::from_millis(10);
/// The time after a freeze in which no deadline passes. The other side may have to send lost data again, and the clock
/// measures the length of a freeze only to a quarter of a second.
const AFTER_FREEZE: Duration = Duration::from_secs(1);
/// The longest time of a deadline. A longer time might overflow the clock.
const LONGEST: Duration = Duration::from_secs(86_400 * 365 * 30);

/// The error of a wait whose deadline passed before the event came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the time limit is over")]
pub struct Passed;

impl From<Passed> for io::Error {
    fn from(_: Passed) -> Self {
        Self::new(io::ErrorKind::TimedOut, Passed)
    }
}

/// A moment before which an event must come.
pub struct Deadline {
    clock: Clock,
    until: Moment,
    /// The end of the grace period, once the time of the deadline has come.
    grace: Option<Moment>,
    /// The timer. It fires at the time of the deadline, at the end of the grace period, or earlier. A postponed
    /// deadline does not change the timer, and a timer that fires too early is set again. So frequent postponements
    /// cost little.
    sleep: Pin<Box<Sleep>>,
}

impl fmt::Debug for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deadline")
            .field("until", &self.until)
            .field("grace", &self.grace)
            .finish_non_exhaustive()
    }
}

impl Deadline {
    /// Makes a deadline at this moment.
    #[must_use]
    pub fn at(until: Moment) -> Self {
        let clock = Clock::of_this_thread();
        let sleep = Box::pin(sleep_until(clock.expected(until)));
        Self { clock, until, grace: None, sleep }
    }

    /// Makes a deadline at this time from now.
    #[must_use]
    pub fn after(limit: Duration) -> Self {
        let clock = Clock::of_this_thread();
        Self::at(clock.now() + limit.min(LONGEST))
    }

    /// Returns the present time on the deadline's clock.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Moves the deadline. If the time does not change, the deadline keeps its grace period.
    pub fn reset(&mut self, until: Moment) {
        if until != self.until {
            self.until = until;
            self.grace = None;
        }
    }

    /// Moves the deadline to this time from now.
    pub fn restart(&mut self, limit: Duration) {
        self.reset(self.clock.now() + limit.min(LONGEST));
    }

    /// Returns true once the deadline and its grace period are over. The grace period begins with the first call after
    /// the time of the deadline.
    pub fn is_passed(&mut self) -> bool {
        let now = self.clock.now();
        if self.grace.is_none() && now >= self.until {
            let turn = now + GRACE;
            self.grace = Some(
                self.clock
                    .last_freeze_end()
                    .map_or(turn, |last_freeze_end| turn.max(last_freeze_end + AFTER_FREEZE)),
            );
        }
        self.grace.is_some_and(|end| now >= end)
    }

    /// Waits until the deadline and its grace period are over. Callers must poll the awaited event first, and then the
    /// deadline.
    pub fn poll_passed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            // The clock is checked in addition to the timer, because Tokio may not poll the timer of a task that is
            // always busy.
            if self.is_passed() {
                return Poll::Ready(());
            }
            let next = self.clock.expected(self.grace.unwrap_or(self.until));
            if self.sleep.deadline() > next {
                self.sleep.as_mut().reset(next);
            }
            if self.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.sleep.as_mut().reset(next);
        }
    }
}

/// Runs a future until it is ready or a deadline has passed.
///
/// # Errors
/// Returns [`Passed`] if the future was not ready in time.
pub async fn timeout_at<F: Future>(until: Moment, future: F) -> Result<F::Output, Passed> {
    within(Deadline::at(until), future).await
}

/// Runs a future until it is ready or this time is over.
///
/// # Errors
/// Returns [`Passed`] if the future was not ready in time.
pub async fn timeout<F: Future>(limit: Duration, future: F) -> Result<F::Output, Passed> {
    within(Deadline::after(limit), future).await
}

async fn within<F: Future>(mut deadline: Deadline, future: F) -> Result<F::Output, Passed> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => deadline.poll_passed(cx).map(|()| Err(Passed)),
    })
    .await
}

#[cfg(test)]
mod tests;
