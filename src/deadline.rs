//! Deadlines that do not blame the other side for a freeze of this process: a paused virtual machine, a stopped process,
//! a machine that swaps.
//!
//! After a freeze the timers are due at once, while what the other side has sent in the meantime still lies in the
//! socket. (`epoll_wait` returns with `EINTR` after a stop, so that Tokio fires its timers before it has seen a socket.)
//! Therefore a deadline that has come is not yet passed: there is a grace, in which the event loop looks at
//! its sockets again. It is longer where the timer fired so late that the process must have stood still.

use std::fmt;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// The grace after a deadline that was noticed in time: for one turn of the event loop, and for the tasks that it wakes.
const TURN: Duration = Duration::from_millis(10);
/// A timer that fires so much later than it should tells of a freeze, or of a machine that is as slow as if frozen.
const FREEZE: Duration = Duration::from_millis(100);
/// The grace after a freeze: also for what the other side has to send again because nothing took it.
const THAW: Duration = Duration::from_secs(1);

/// The deadline has passed, and nothing came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the time is over")]
pub struct Passed;

impl From<Passed> for io::Error {
    fn from(_: Passed) -> Self {
        io::ErrorKind::TimedOut.into()
    }
}

/// A point in time until which something must have come.
pub struct Deadline {
    until: Instant,
    /// The end of the grace, once the deadline has come.
    grace: Option<Instant>,
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
    /// Makes a deadline at this time.
    #[must_use]
    pub fn at(until: Instant) -> Self {
        Self { until, grace: None, sleep: Box::pin(sleep_until(until)) }
    }

    /// Makes a deadline after this time from now.
    #[must_use]
    pub fn after(limit: Duration) -> Self {
        // What is longer than any clock counts is far away.
        const FAR: Duration = Duration::from_secs(86_400 * 365 * 30);
        Self::at(Instant::now() + limit.min(FAR))
    }

    /// Moves the deadline. One that stays where it is keeps the end of its grace.
    pub fn reset(&mut self, until: Instant) {
        if until != self.until {
            self.until = until;
            self.grace = None;
            self.sleep.as_mut().reset(until);
        }
    }

    /// Returns true once the deadline and its grace are over; the grace begins when the deadline is first seen to have
    /// come.
    pub fn is_passed(&mut self) -> bool {
        let now = Instant::now();
        if let Some(grace) = self.grace {
            return now >= grace;
        }
        if now >= self.until {
            let grace = if now - self.until > FREEZE { THAW } else { TURN };
            self.grace = Some(now + grace);
            self.sleep.as_mut().reset(now + grace);
        }
        false
    }

    /// Waits until the deadline and its grace are over. To be asked after what is waited for, never before it.
    pub fn poll_passed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            // The clock is asked, too: a task that is always busy uses up its turn before its timer has one.
            if self.is_passed() {
                return Poll::Ready(());
            }
            if self.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

/// Runs a future until it is done or a deadline has passed.
///
/// # Errors
/// [`Passed`], when it was not done in time.
pub async fn timeout_at<F: Future>(until: Instant, future: F) -> Result<F::Output, Passed> {
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
mod tests {
    use std::future::pending;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn a_deadline_passes_one_turn_after_its_time() {
        let started = Instant::now();
        assert_eq!(timeout(LIMIT, pending::<()>()).await, Err(Passed));
        let late = started.elapsed() - LIMIT;
        assert!(late >= TURN && late < FREEZE, "{late:?}");
        assert_eq!(timeout(LIMIT, async { 7 }).await, Ok(7));
        assert_eq!(timeout(Duration::MAX, async { 7 }).await, Ok(7));
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_during_a_freeze_is_in_time() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let waiting = tokio::spawn(timeout(LIMIT, receiver));
        tokio::task::yield_now().await;
        // The clock jumps, and the timer fires before the event loop has looked at its sockets.
        tokio::time::advance(LIMIT * 3).await;
        tokio::task::yield_now().await;
        sender.send(7).unwrap();
        assert_eq!(waiting.await.unwrap(), Ok(Ok(7)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_freeze_without_anything_new_ends_with_its_grace() {
        let started = Instant::now();
        let waiting = tokio::spawn(timeout(LIMIT, pending::<()>()));
        tokio::task::yield_now().await;
        tokio::time::advance(LIMIT * 3).await;
        assert_eq!(waiting.await.unwrap(), Err(Passed));
        assert!(started.elapsed() >= LIMIT * 3 + THAW);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_stays_where_it_is_keeps_its_grace() {
        let until = Instant::now() + LIMIT;
        let mut deadline = Deadline::at(until);
        tokio::time::advance(LIMIT).await;
        assert!(!deadline.is_passed());
        tokio::time::advance(TURN).await;
        deadline.reset(until);
        assert!(deadline.is_passed());
        deadline.reset(until + LIMIT);
        assert!(!deadline.is_passed());
    }
}
