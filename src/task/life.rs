//! The life of a task as a pure function: (state, event) -> (state, effect).
//!
//! ```text
//! Waiting --SlotGranted--> Running --End--> Ending --Recorded--> Ended
//!   | |                       |               ^
//!   | `----------End----------|---------------|
//!   `-----Drain, Stop-----> Parked -Cancel----'
//! ```
//! The first end wins: completion, failure, cancel, timeout and interruption all try to enter `Ending`, and from there
//! only the store's word leads on. An end is announced only once it is durable; where the store has an end already, from
//! before a crash, that one is announced. `Parked` is no end: the server stops, and the task stays in the store for the
//! next start; only a client that cancels it at the last moment still ends it.
//!
//! The actor of the task tells what happens and carries out the effect, and asks nothing else: an event that comes too
//! late, as that of a future that was cancelled and polled once more, has no effect. Nothing here waits, sends or reads a
//! clock.

use super::outcome::Outcome;
use super::progress::Progress;
use super::recovery::{interrupted_caller, interrupted_stream};
use super::snapshot::State;
use crate::error::{ErrorCode, Failure};

/// Where a task is in its life.
#[derive(Debug, Clone, PartialEq)]
pub enum Life {
    /// The task has no slot yet.
    Waiting,
    /// The task has a slot, and its upstream call is under way.
    Running,
    /// The outcome is chosen and is being made durable.
    Ending,
    /// The outcome is durable and announced.
    Ended(Outcome),
    /// The task is left for the server's next start.
    Parked,
}

/// The recipient of a task's answer: a caller that waits for it over its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recipient {
    /// None: no caller waits.
    None,
    /// One whose place a repeat of the submit can take, with its `Idempotency-Key`.
    Replaceable,
    /// The only one there can be: after a restart the task is not run again.
    Irreplaceable,
}

/// What happens to a task. `Slot` is what its run needs.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<Slot> {
    /// The task may run.
    SlotGranted(Slot),
    /// The upstream has finished or failed, time ran out, the task crashed.
    End(Outcome),
    /// A client cancels the task.
    Cancel,
    /// The caller that waited has left.
    CallerLeft,
    /// The server begins to drain: what has not begun does not begin any more.
    Drain(Recipient),
    /// The server stops.
    Stop {
        /// The caller that waits.
        recipient: Recipient,
        /// True if a subscriber may have seen a part of the answer.
        is_seen: bool,
    },
    /// The task needs another slot, and the server gives out no more.
    NoSlot,
    /// The store has this outcome; another than that of `End` where it had one before.
    Recorded(Outcome),
}

/// What has to be done about it.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect<Slot> {
    /// Nothing: the event came too late, or changes nothing.
    None,
    /// Call the upstream.
    Start(Slot),
    /// Close the upstream connection, give back audio and slot, and make this outcome durable.
    End(Outcome),
    /// Publish the end of the stream and the final status.
    Announce(Outcome),
    /// Close the upstream connection, give back audio and slot, and tell all who wait that nothing follows in this process.
    Park,
}

impl Life {
    /// Returns what is told of a task that has come this far: an end that is not durable yet is not.
    #[must_use]
    pub fn state(&self, progress: Progress) -> State {
        let has_begun = progress.has_begun();
        let progress = progress.percent();
        match self {
            Self::Ended(Outcome::Completed(completed)) => State::Completed(completed.completion.clone()),
            Self::Ended(Outcome::Failed(failure)) => State::Failed { failure: failure.clone(), progress },
            Self::Waiting | Self::Running | Self::Ending | Self::Parked if has_begun => {
                State::Processing { progress }
            }
            Self::Waiting | Self::Running | Self::Ending | Self::Parked => State::Pending,
        }
    }

    /// Returns the next state, and what has to be done.
    #[must_use]
    pub fn on<Slot>(self, event: Event<Slot>) -> (Self, Effect<Slot>) {
        match (self, event) {
            (Self::Waiting, Event::SlotGranted(slot)) => (Self::Running, Effect::Start(slot)),
            (Self::Waiting | Self::Running, Event::End(outcome)) => (Self::Ending, Effect::End(outcome)),
            // The server still lives when a client cancels what was put aside.
            (Self::Waiting | Self::Running | Self::Parked, Event::Cancel) => end(cancelled()),
            // A caller that was told that the server stops leaves as well: that cancels nothing.
            (Self::Waiting | Self::Running, Event::CallerLeft) => end(cancelled()),
            (Self::Waiting, Event::Drain(Recipient::Replaceable | Recipient::Irreplaceable)) => {
                (Self::Parked, Effect::Park)
            }
            (Self::Waiting | Self::Running, Event::Stop { is_seen: true, .. }) => end(interrupted_stream()),
            // The caller is told what the next start would find: a repeat may pay for the same work again.
            (Self::Running, Event::Stop { recipient: Recipient::Irreplaceable, .. }) => {
                end(interrupted_caller())
            }
            (Self::Waiting | Self::Running, Event::Stop { .. } | Event::NoSlot) => {
                (Self::Parked, Effect::Park)
            }
            (Self::Ending, Event::Recorded(outcome)) => {
                (Self::Ended(outcome.clone()), Effect::Announce(outcome))
            }
            (life, _) => (life, Effect::None),
        }
    }
}

fn end<Slot>(failure: Failure) -> (Life, Effect<Slot>) {
    (Life::Ending, Effect::End(failure.into()))
}

fn cancelled() -> Failure {
    Failure::new(ErrorCode::TaskCancelled, "The task was cancelled before it had ended").with_retryable(false)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn failed(code: ErrorCode) -> Outcome {
        Failure::new(code, "").into()
    }

    fn code(outcome: &Outcome) -> Option<ErrorCode> {
        outcome.failure().map(|failure| failure.code)
    }

    fn events() -> impl Strategy<Value = Vec<Event<()>>> {
        let recipient =
            prop_oneof![Just(Recipient::None), Just(Recipient::Replaceable), Just(Recipient::Irreplaceable)];
        let event = prop_oneof![
            Just(Event::SlotGranted(())),
            Just(Event::End(failed(ErrorCode::UpstreamTimeout))),
            Just(Event::Cancel),
            Just(Event::CallerLeft),
            recipient.clone().prop_map(Event::Drain),
            (recipient, any::<bool>()).prop_map(|(recipient, is_seen)| Event::Stop { recipient, is_seen }),
            Just(Event::NoSlot),
            Just(Event::Recorded(failed(ErrorCode::InternalError))),
        ];
        prop::collection::vec(event, 0..12)
    }

    proptest! {
        #[test]
        fn a_task_has_one_end_whatever_happens(events in events()) {
            let mut life = Life::Waiting;
            let (mut starts, mut ends, mut announced, mut parks) = (0, 0, Vec::new(), 0);
            for event in events {
                let (before, recorded) = (life.clone(), matches!(event, Event::Recorded(_)));
                let (after, effect) = life.on(event);
                match effect {
                    Effect::None => prop_assert_eq!(&after, &before),
                    Effect::Start(()) => {
                        prop_assert_eq!(&before, &Life::Waiting);
                        starts += 1;
                    }
                    Effect::End(_) => ends += 1,
                    Effect::Announce(outcome) => {
                        prop_assert!(recorded && before == Life::Ending);
                        announced.push(outcome);
                    }
                    Effect::Park => parks += 1,
                }
                life = after;
            }
            prop_assert!(starts <= 1 && ends <= 1 && parks <= 1 && announced.len() <= ends);
            match &life {
                Life::Waiting => prop_assert_eq!((starts, ends, parks), (0, 0, 0)),
                Life::Running => prop_assert_eq!((starts, ends, parks), (1, 0, 0)),
                Life::Parked => prop_assert_eq!((ends, parks), (0, 1)),
                Life::Ending => prop_assert_eq!((ends, announced.len()), (1, 0)),
                Life::Ended(outcome) => prop_assert_eq!(&announced, std::slice::from_ref(outcome)),
            }
        }
    }

    #[test]
    fn an_upstream_is_never_called_after_the_end() {
        let (life, _) = Life::Waiting.on(Event::<()>::Cancel);
        assert_eq!(life.on(Event::SlotGranted(())).1, Effect::None);
    }

    #[test]
    fn a_parked_task_is_ended_by_a_cancel_and_by_nothing_else() {
        for event in [Event::CallerLeft, Event::NoSlot, Event::End(failed(ErrorCode::UpstreamTimeout))] {
            assert_eq!(Life::Parked.on::<()>(event), (Life::Parked, Effect::None));
        }
        let (life, effect) = Life::Parked.on::<()>(Event::Cancel);
        let Effect::End(outcome) = effect else { panic!("{effect:?}") };
        assert_eq!((life, code(&outcome)), (Life::Ending, Some(ErrorCode::TaskCancelled)));
    }

    #[test]
    fn a_stop_ends_what_was_seen_or_has_an_irreplaceable_caller_and_parks_the_rest() {
        let stop = |life: Life, recipient, is_seen| match life.on::<()>(Event::Stop { recipient, is_seen }).1
        {
            Effect::Park => None,
            Effect::End(outcome) => code(&outcome),
            other => panic!("{other:?}"),
        };
        let interrupted = Some(ErrorCode::TaskInterrupted);
        for recipient in [Recipient::None, Recipient::Replaceable, Recipient::Irreplaceable] {
            assert_eq!(stop(Life::Running, recipient, true), interrupted);
            assert_eq!(stop(Life::Waiting, recipient, false), None);
        }
        assert_eq!(stop(Life::Running, Recipient::Replaceable, false), None);
        assert_eq!(stop(Life::Running, Recipient::Irreplaceable, false), interrupted);
    }

    #[test]
    fn a_drain_parks_a_waiting_task_whose_caller_waits() {
        let drain = |life: Life, recipient| life.on::<()>(Event::Drain(recipient)).1;
        assert_eq!(drain(Life::Waiting, Recipient::Replaceable), Effect::Park);
        assert_eq!(drain(Life::Waiting, Recipient::None), Effect::None);
        assert_eq!(drain(Life::Running, Recipient::Irreplaceable), Effect::None);
    }
}
