//! What becomes of a task that an earlier process left unfinished. Pure.

use crate::error::{ErrorCode, Failure};

/// Most runs in a task's life, those of earlier processes included: a task that brings its server down must
/// not do so for ever, and each run may be paid for.
pub(super) const MOST_RUNS: u32 = 3;

/// What is known of an unfinished task at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecoveryFacts {
    /// Runs that were begun.
    pub runs: u32,
    /// True if a subscriber may have seen a chunk.
    pub published: bool,
    /// True if a blocking caller without an `Idempotency-Key` was waiting; a rerun would have no recipient.
    pub irreplaceable_caller: bool,
}

impl RecoveryFacts {
    /// Decides whether the task runs, again or for the first time.
    ///
    /// # Errors
    /// With what the task ends where it does not run.
    pub fn may_run(self) -> Result<(), Failure> {
        Err(match self {
            // Another run would say something else than what was already read.
            Self { published: true, .. } => interrupted_stream(),
            Self { irreplaceable_caller: true, .. } => interrupted_caller(),
            Self { runs: MOST_RUNS.., .. } => {
                interrupted("The service stopped each time that it ran this task")
            }
            Self { .. } => return Ok(()),
        })
    }
}

/// The failure of a task that the service's stop has ended after a part of its answer was seen.
#[must_use]
pub(super) fn interrupted_stream() -> Failure {
    interrupted("The service stopped while the answer was being streamed")
}

/// The failure of a task of whose streamed answer not all can be shown any more.
#[must_use]
pub fn interrupted_damaged_stream() -> Failure {
    interrupted(
        "The service stopped while the answer was being streamed, and the rest of what was streamed is damaged on its \
         disk",
    )
}

/// The failure of a task that the service's stop has ended while a caller waited for it who is gone with that.
#[must_use]
pub(super) fn interrupted_caller() -> Failure {
    interrupted("The service stopped while its caller was waiting for the answer")
}

/// The failure of a task that the service's stop has ended.
#[must_use]
pub(super) fn interrupted(reason: &str) -> Failure {
    Failure::new(ErrorCode::TaskInterrupted, format!("{reason}; submit it again"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: RecoveryFacts = RecoveryFacts { runs: 0, published: false, irreplaceable_caller: false };

    fn is_ended(facts: RecoveryFacts) -> bool {
        let failure = facts.may_run().err();
        failure.is_some_and(|failure| {
            assert_eq!((failure.code, failure.retryable), (ErrorCode::TaskInterrupted, true));
            true
        })
    }

    #[test]
    fn a_task_of_which_nothing_was_seen_runs_three_times_at_most() {
        for (runs, ended) in [(0, false), (1, false), (2, false), (3, true), (4, true)] {
            assert_eq!(is_ended(RecoveryFacts { runs, ..FRESH }), ended, "{runs} runs");
        }
    }

    #[test]
    fn a_task_whose_chunks_were_seen_is_not_run_again() {
        assert!(is_ended(RecoveryFacts { runs: 1, published: true, ..FRESH }));
    }

    #[test]
    fn a_task_whose_caller_is_gone_is_not_run_again() {
        assert!(is_ended(RecoveryFacts { irreplaceable_caller: true, ..FRESH }));
    }
}
