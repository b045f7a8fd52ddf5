//! What becomes of a task that an earlier process left unfinished. Pure.

use crate::error::{ErrorCode, Failure};

/// Most runs in a task's life, those of earlier processes included: a task that brings its server down must
/// not do so for ever, and each run may be paid for.
pub const MOST_RUNS: u32 = 3;

/// What is known of an unfinished task at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remains {
    /// Runs that were begun.
    pub runs: u32,
    /// May a subscriber have seen a chunk of it?
    pub published: bool,
    /// Did a caller wait for it who is gone with the process, and whom nobody can stand in for?
    pub leashed: bool,
}

/// What is to be done with it.
#[derive(Debug, Clone, PartialEq)]
pub enum Recovery {
    /// It runs, again or for the first time.
    Run,
    /// It ends with this failure.
    End(Failure),
}

impl Remains {
    /// Decides.
    #[must_use]
    pub fn recovery(self) -> Recovery {
        let reason = match self {
            // Another run would say something else than what was already read.
            Self { published: true, .. } => return Recovery::End(interrupted_stream()),
            Self { leashed: true, .. } => return Recovery::End(interrupted_caller()),
            Self { runs: MOST_RUNS.., .. } => "The service stopped each time that it ran this task",
            Self { .. } => return Recovery::Run,
        };
        Recovery::End(interrupted(reason))
    }
}

/// The failure of a task that the service's stop has ended after a part of its answer was seen.
#[must_use]
pub fn interrupted_stream() -> Failure {
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
pub fn interrupted_caller() -> Failure {
    interrupted("The service stopped while its caller was waiting for the answer")
}

/// The failure of a task that the service's stop has ended.
#[must_use]
pub fn interrupted(reason: &str) -> Failure {
    Failure::new(ErrorCode::TaskInterrupted, format!("{reason}; submit it again"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: Remains = Remains { runs: 0, published: false, leashed: false };

    fn is_ended(remains: Remains) -> bool {
        match remains.recovery() {
            Recovery::Run => false,
            Recovery::End(failure) => {
                assert_eq!((failure.code, failure.retryable), (ErrorCode::TaskInterrupted, true));
                true
            }
        }
    }

    #[test]
    fn a_task_that_nobody_has_seen_anything_of_runs_three_times_at_most() {
        for (runs, ended) in [(0, false), (1, false), (2, false), (3, true), (4, true)] {
            assert_eq!(is_ended(Remains { runs, ..FRESH }), ended, "{runs} runs");
        }
    }

    #[test]
    fn what_was_seen_is_not_said_again() {
        assert!(is_ended(Remains { runs: 1, published: true, ..FRESH }));
    }

    #[test]
    fn nobody_pays_for_an_answer_whose_caller_is_gone() {
        assert!(is_ended(Remains { leashed: true, ..FRESH }));
    }
}
