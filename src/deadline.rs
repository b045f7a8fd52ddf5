//! Deadlines that do not blame the other side for a freeze of this process: a paused virtual machine, a stopped process,
//! a machine that swaps, a thread of ours that does something else for seconds.
//!
//! Two things see to that. A deadline is a point on a [`Clock`] that stands still while its thread does, so that a freeze
//! moves it. And a deadline that has come is not yet passed: there is a grace, in which the event loop looks at its
//! sockets again. (`epoll_wait` returns with `EINTR` after a stop, so that Tokio fires its timers before it has seen a
//! socket.)

mod clock;

use std::fmt;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep_until};

pub use clock::{Clock, Moment};

/// The grace after a deadline: for one turn of the event loop, and for the tasks that it wakes.
const TURN: Duration = Duration::from_millis(10);
/// No deadline passes so soon after a freeze: the other side may have to send again what was not taken, and the clock
/// notices a freeze only up to a quarter of a second.
const THAW: Duration = Duration::from_secs(1);
/// What is longer than any clock counts is far away.
const FAR: Duration = Duration::from_secs(86_400 * 365 * 30);

/// The deadline has passed, and nothing came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the time is over")]
pub struct Passed;

impl From<Passed> for io::Error {
    fn from(_: Passed) -> Self {
        Self::new(io::ErrorKind::TimedOut, Passed)
    }
}

/// A point in time until which something must have come.
pub struct Deadline {
    clock: Clock,
    until: Moment,
    /// The end of the grace, once the deadline has come.
    grace: Option<Moment>,
    /// Goes off when the deadline or its grace is over, or before: a deadline that is put off leaves it as it is, and one
    /// that goes off too early is set again. So a deadline that is put off again and again costs no timer each time.
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

    /// Makes a deadline after this time from now.
    #[must_use]
    pub fn after(limit: Duration) -> Self {
        let clock = Clock::of_this_thread();
        Self::at(clock.now() + limit.min(FAR))
    }

    /// Returns what time it is on the deadline's clock.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Moves the deadline. One that stays where it is keeps the end of its grace.
    pub fn reset(&mut self, until: Moment) {
        if until != self.until {
            self.until = until;
            self.grace = None;
        }
    }

    /// Moves the deadline to this time from now.
    pub fn restart(&mut self, limit: Duration) {
        self.reset(self.clock.now() + limit.min(FAR));
    }

    /// Returns true once the deadline and its grace are over; the grace begins when the deadline is first seen to have
    /// come.
    pub fn is_passed(&mut self) -> bool {
        let now = self.clock.now();
        if self.grace.is_none() && now >= self.until {
            let turn = now + TURN;
            self.grace = Some(self.clock.thawed().map_or(turn, |thawed| turn.max(thawed + THAW)));
        }
        self.grace.is_some_and(|end| now >= end)
    }

    /// Waits until the deadline and its grace are over. To be asked after what is waited for, never before it.
    pub fn poll_passed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            // The clock is asked, too: a task that is always busy uses up its turn before its timer has one.
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

/// Runs a future until it is done or a deadline has passed.
///
/// # Errors
/// [`Passed`], when it was not done in time.
pub async fn timeout_at<F: Future>(until: Moment, future: F) -> Result<F::Output, Passed> {
    within(Deadline::at(until), future).await
}

/// Runs a future until it is done or this time is over.
///
/// # Errors
/// [`Passed`], when it was not done in time.
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
