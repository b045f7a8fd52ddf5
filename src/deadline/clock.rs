//! A clock that stands still while its thread does.
//!
//! A paused virtual machine, a stopped process and a swapping machine are detected in the same way. A task of the
//! thread looks at the time every [`TICK`]. If the task runs much later than it should, its thread could do nothing in
//! between. The thread could not look at its sockets either, so this time does not count for the other side.
//!
//! Each thread measures itself, with a task and not with a second thread. If our own work blocks a thread's event loop,
//! that thread is as blind as a stopped process, and a second thread would not notice. Besides, a task uses Tokio's
//! clock, which tests control. An event loop that is busy but still turns is late by milliseconds, and loses no time.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::Add;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

/// How often a thread looks at the time while a clock exists on it.
const TICK: Duration = Duration::from_millis(250);
/// A longer time between two looks means that the thread stood still for all of that time except one tick.
const STILL: Duration = TICK.saturating_mul(2);

thread_local! {
    static THREAD: Thread = const { Thread::new() };
}

/// The facts about a thread's own time.
#[derive(Debug)]
struct Thread {
    /// The number of clocks on the thread.
    clocks: Cell<usize>,
    /// When the thread last looked at the time; `None` while it does not tick.
    seen: Cell<Option<Instant>>,
    /// The total time for which the thread has stood still.
    still: Cell<Duration>,
    /// When the thread last continued after it had stood still.
    thawed: Cell<Option<Moment>>,
}

/// A point on the time scale of a thread, which counts only the time in which the thread was awake. It has no meaning
/// on another thread, so its type cannot be sent there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Instant, PhantomData<*const ()>);

/// The clock of a thread. While a clock exists, the thread notices when it stands still.
#[derive(Debug)]
pub struct Clock(PhantomData<*const ()>);

/// A guard of the task that looks at the time. When it is dropped, the thread no longer ticks.
#[derive(Debug)]
struct Ticking;

impl Moment {
    fn new(instant: Instant) -> Self {
        Self(instant, PhantomData)
    }

    /// Returns how long the thread was awake since an earlier moment; zero for a later moment.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_duration_since(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self::new(self.0 + time)
    }
}

impl Clock {
    /// Returns the clock of this thread.
    #[must_use]
    pub fn of_this_thread() -> Self {
        THREAD.with(|thread| {
            thread.clocks.set(thread.clocks.get() + 1);
            // Without a runtime, a thread cannot wait for a timer.
            if thread.seen.get().is_none()
                && let Ok(runtime) = Handle::try_current()
            {
                thread.seen.set(Some(Instant::now()));
                runtime.spawn(tick(Ticking));
            }
        });
        Self(PhantomData)
    }

    /// Returns the present time.
    #[must_use]
    pub fn now(&self) -> Moment {
        THREAD.with(Thread::look)
    }

    /// Returns the total time for which the thread has stood still.
    #[must_use]
    pub fn stood_still(&self) -> Duration {
        THREAD.with(|thread| {
            thread.look();
            thread.still.get()
        })
    }

    /// Returns when the thread last continued after it had stood still.
    pub(super) fn thawed(&self) -> Option<Moment> {
        THREAD.with(|thread| thread.thawed.get())
    }

    /// Returns when a moment will come if the thread does not stand still until then.
    pub(super) fn expected(&self, moment: Moment) -> Instant {
        moment.0 + THREAD.with(|thread| thread.still.get())
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        // A thread that ends has dropped its values, so the access may fail.
        let _ = THREAD.try_with(|thread| thread.clocks.set(thread.clocks.get().saturating_sub(1)));
    }
}

impl Thread {
    const fn new() -> Self {
        Self {
            clocks: Cell::new(0),
            seen: Cell::new(None),
            still: Cell::new(Duration::ZERO),
            thawed: Cell::new(None),
        }
    }

    /// Looks at the time, and records a freeze if the last look was long ago.
    fn look(&self) -> Moment {
        let now = Instant::now();
        let mut has_thawed = false;
        if let Some(seen) = self.seen.replace(self.seen.get().map(|_| now)) {
            let gap = now.saturating_duration_since(seen);
            if gap > STILL {
                self.still.set(self.still.get() + (gap - TICK));
                has_thawed = true;
            }
        }
        let moment = Moment::new(now.checked_sub(self.still.get()).unwrap_or(now));
        if has_thawed {
            self.thawed.set(Some(moment));
        }
        moment
    }
}

/// Looks at the time regularly while a clock exists.
async fn tick(_ticking: Ticking) {
    while THREAD.with(|thread| thread.clocks.get()) > 0 {
        sleep(TICK).await;
        THREAD.with(Thread::look);
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        let _ = THREAD.try_with(|thread| thread.seen.set(None));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    #[tokio::test(start_paused = true)]
    async fn a_clock_counts_the_time_in_which_its_thread_is_awake() {
        let clock = Clock::of_this_thread();
        let start = clock.now();
        sleep(LONG).await;
        assert_eq!((clock.now().since(start), clock.stood_still()), (LONG, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_stands_still_while_its_thread_does() {
        let clock = Clock::of_this_thread();
        let start = clock.now();
        for times in 1..=3 {
            sleep(LONG).await;
            tokio::time::advance(LONG).await;
            let awake = clock.now().since(start);
            assert!(awake >= LONG * times && awake <= (LONG + TICK) * times, "{awake:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_thread_that_is_slightly_late_loses_no_time() {
        let clock = Clock::of_this_thread();
        for _ in 0..100 {
            tokio::time::advance(TICK).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(clock.stood_still(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_thread_without_clocks_does_not_tick_and_counts_no_freeze() {
        let is_ticking = || THREAD.with(|thread| thread.seen.get().is_some());
        for _ in 0..2 {
            let clock = Clock::of_this_thread();
            assert!(is_ticking());
            drop((Clock::of_this_thread(), clock));
            sleep(TICK * 2).await;
            assert!(!is_ticking());
            sleep(LONG).await;
        }
        assert_eq!(Clock::of_this_thread().stood_still(), Duration::ZERO);
    }
}
