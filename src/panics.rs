//! Catches panics of third-party code: if a step of a library panics because of bad bytes, only that step fails.
//!
//! The panic hook runs before a panic is caught, and cannot know that it will be caught. So the thread records that it
//! runs a guarded step, and the [log](crate::logging) then writes no line. Otherwise a damaged file of many packets
//! would write a line for each packet.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    /// True while this thread runs a guarded step.
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs a step of a library; returns `None` if the step panics. The caller must count or report the failure, because
/// the log does not.
pub fn guarded<T>(step: impl FnOnce() -> T) -> Option<T> {
    let outer = IS_GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(step));
    IS_GUARDED.set(outer);
    result.ok()
}

/// Returns true if a panic of this thread would be caught by [`guarded`].
#[must_use]
pub fn is_guarded() -> bool {
    IS_GUARDED.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_guarded_while_the_outermost_step_runs() {
        let inside = guarded(|| {
            let panicked: Option<()> = guarded(|| panic!("this panic is part of the test"));
            (panicked, is_guarded(), std::thread::spawn(is_guarded).join().unwrap())
        });
        assert_eq!(inside, Some((None, true, false)));
        assert!(!is_guarded());
    }
}
