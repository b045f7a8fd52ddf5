//! A clock that stops while its thread is frozen.
//!
//! A paused virtual machine, a stopped process and a swapping machine are detected in the same way. A task of the
//! thread reads the time every [`TICK`]. If the task runs much later than planned, the thread was frozen in between. It
//! could not check its sockets, so this time does not count against the other side.
//!
//! Each thread measures itself, with a task and not with a second thread. If hearken's own work blocks the event loop
//! of a thread, the thread cannot check its sockets, and a second thread would not notice this. Besides, a task uses
//! Tokio's clock, which tests control. A busy event loop that still runs is late only by milliseconds, which do not
//! count as a freeze.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::Add;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

/// The interval at which a thread reads the time while it has a clock.
const TICK: Duration = Duration::from_millis(250);
/// The longest time between two readings without a freeze. If the time is longer, the thread was frozen for all of it
/// except one tick.
const LONGEST_GAP: Duration = TICK.saturating_mul(2);

thread_local! {
    static THREAD: Thread = const { Thread::new() };
}

/// The measurements of a thread.
#[derive(Debug)]
struct Thread {
    /// The number of clocks on the thread.
    clocks: Cell<usize>,
    /// The time of the last reading; `None` while the thread does not read the time.
    last_reading: Cell<Option<Instant>>,
    /// The total time for which the thread was frozen.
    frozen: Cell<Duration>,
    /// The end of the thread's last freeze.
    last_freeze_end: Cell<Option<Moment>>,
}

/// A moment on the clock of a thread, which counts only the time in which the thread was not frozen. It has no meaning
/// on another thread, so the type cannot be sent there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Instant, PhantomData<*const ()>);

/// The clock of a thread. While a clock exists, the thread notices its freezes.
#[derive(Debug)]
pub struct Clock(PhantomData<*const ()>);

/// A guard in the task that reads the time. When it is dropped, the thread no longer reads the time.
#[derive(Debug)]
struct Ticking;

impl Moment {
    fn new(instant: Instant) -> Self {
        Self(instant, PhantomData)
    }

    /// Returns the time since an earlier moment, without freezes. Returns zero for a later moment.
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
            // A thread without a runtime cannot have this task.
            if thread.last_reading.get().is_none()
                && let Ok(runtime) = Handle::try_current()
            {
                thread.last_reading.set(Some(Instant::now()));
                runtime.spawn(tick(Ticking));
            }
        });
        Self(PhantomData)
    }

    /// Returns the present time.
    #[must_use]
    pub fn now(&self) -> Moment {
        THREAD.with(Thread::read)
    }

    /// Returns the total time for which the thread was frozen.
    #[must_use]
    pub fn frozen_time(&self) -> Duration {
        THREAD.with(|thread| {
            thread.read();
            thread.frozen.get()
        })
    }

    /// Returns the end of the thread's last freeze.
    pub(super) fn last_freeze_end(&self) -> Option<Moment> {
        THREAD.with(|thread| thread.last_freeze_end.get())
    }

    /// Returns when a moment will come if there is no freeze until then.
    pub(super) fn expected(&self, moment: Moment) -> Instant {
        moment.0 + THREAD.with(|thread| thread.frozen.get())
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        // The access fails if the thread ends and has dropped its values.
        let _ = THREAD.try_with(|thread| thread.clocks.set(thread.clocks.get().saturating_sub(1)));
    }
}

impl Thread {
    const fn new() -> Self {
        Self {
            clocks: Cell::new(0),
            last_reading: Cell::new(None),
            frozen: Cell::new(Duration::ZERO),
            last_freeze_end: Cell::new(None),
        }
    }

    /// Reads the time, and records a freeze if the last reading was too long ago.
    fn read(&self) -> Moment {
        let now = Instant::now();
        let mut has_thawed = false;
        if let Some(last_reading) = self.last_reading.replace(self.last_reading.get().map(|_| now)) {
            let gap = now.saturating_duration_since(last_reading);
            if gap > LONGEST_GAP {
                self.frozen.set(self.frozen.get() + (gap - TICK));
                has_thawed = true;
            }
        }
        let moment = Moment::new(now.checked_sub(self.frozen.get()).unwrap_or(now));
        if has_thawed {
            self.last_freeze_end.set(Some(moment));
        }
        moment
    }
}

/// Reads the time regularly while a clock exists.
async fn tick(_ticking: Ticking) {
    while THREAD.with(|thread| thread.clocks.get()) > 0 {
        sleep(TICK).await;
        THREAD.with(Thread::read);
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        let _ = THREAD.try_with(|thread| thread.last_reading.set(None));
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
        assert_eq!((clock.now().since(start), clock.frozen_time()), (LONG, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_stops_while_its_thread_is_frozen() {
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
        assert_eq!(clock.frozen_time(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_thread_without_clocks_does_not_tick_and_counts_no_freeze() {
        let is_ticking = || THREAD.with(|thread| thread.last_reading.get().is_some());
        for _ in 0..2 {
            let clock = Clock::of_this_thread();
            assert!(is_ticking());
            drop((Clock::of_this_thread(), clock));
            sleep(TICK * 2).await;
            assert!(!is_ticking());
            sleep(LONG).await;
        }
        assert_eq!(Clock::of_this_thread().frozen_time(), Duration::ZERO);
    }
}
