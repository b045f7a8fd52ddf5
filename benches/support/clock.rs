//! The clock that all processes of a machine share: nanoseconds of `CLOCK_MONOTONIC`.

use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Returns the current time, in nanoseconds since a moment that is the same for every process.
pub(crate) fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// Sleeps until `then`, or not at all if it has passed.
pub(crate) fn sleep_until(then: u64) {
    let left = then.saturating_sub(now());
    if left > 0 {
        thread::sleep(Duration::from_nanos(left));
    }
}
