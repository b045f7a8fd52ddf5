//! Decides, as a pure function, what happens to a task that an earlier process left unfinished.

use crate::error::{ErrorCode, Failure};

/// The most runs in a task's life, including those of earlier processes. A task that crashes its server must not do so
/// forever, and each run may cost money.
pub(super) const MOST_RUNS: u32 = 3;

/// The facts about an unfinished task when the server starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecoveryFacts {
    /// The number of runs that were begun.
    pub runs: u32,
    /// True if a subscriber may have seen a chunk.
    pub published: bool,
    /// True if a blocking caller without an `Idempotency-Key` was waiting; a rerun would have no recipient.
    pub irreplaceable_caller: bool,
}

impl RecoveryFacts {
    /// Decides whether the task runs, for the first time or again.
    ///
    /// # Errors
    /// Returns the failure with which the task ends if it does not run.
    pub fn may_run(self) -> Result<(), Failure> {
        Err(match self {
            // The answer of another run would differ from the part that a subscriber has already read.
            Self { published: true, .. } => interrupted_stream(),
            Self { irreplaceable_caller: true, .. } => interrupted_caller(),
            Self { runs: MOST_RUNS.., .. } => interrupted("The service stopped each time it ran this task"),
            Self { .. } => return Ok(()),
        })
    }
}

/// Returns the failure of a task whose stream was interrupted by a stop of the service after a part was seen.
#[must_use]
pub(super) fn interrupted_stream() -> Failure {
    interrupted("The service stopped while the answer was being streamed")
}

/// Returns the failure of an interrupted task whose streamed answer is damaged, so that not all of it can be shown.
#[must_use]
pub fn interrupted_damaged_stream() -> Failure {
    interrupted(
        "The service stopped while the answer was being streamed, and the rest of the stream is damaged on the \
         service's disk",
    )
}

/// Returns the failure of a task that a stop of the service interrupted while its only caller was waiting.
#[must_use]
pub(super) fn interrupted_caller() -> Failure {
    interrupted("The service stopped while the caller was waiting for the answer")
}

/// Returns the failure of a task that a stop of the service interrupted.
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
    fn a_task_without_seen_chunks_runs_at_most_three_times() {
        for (runs, ended) in [(0, false), (1, false), (2, false), (3, true), (4, true)] {
            assert_eq!(is_ended(RecoveryFacts { runs, ..FRESH }), ended, "{runs} runs");
        }
    }

    #[test]
    fn a_task_with_seen_chunks_is_not_run_again() {
        assert!(is_ended(RecoveryFacts { runs: 1, published: true, ..FRESH }));
    }

    #[test]
    fn a_task_whose_only_caller_is_gone_is_not_run_again() {
        assert!(is_ended(RecoveryFacts { irreplaceable_caller: true, ..FRESH }));
    }
}
