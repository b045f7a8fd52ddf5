//! The life of a task as a pure function: (state, event) -> (state, effect).
//!
//! ```text
//! Waiting --SlotGranted--> Running --End--> Ending --Recorded--> Ended
//!   | |                       |               ^
//!   | `----------End----------|---------------|
//!   `-----Drain, Stop-----> Parked -Cancel----'
//! ```
//! The first end wins. Completion, failure, cancel, timeout and interruption all try to enter `Ending`, and only the
//! store's confirmation leads further. An end is announced only when it is durable. If the store already has an end
//! from before a crash, that end is announced. `Parked` is not an end: the server stops, and the task stays in the
//! store for the next start. Only a client that cancels the task at the last moment still ends it.
//!
//! The actor of the task reports each event and carries out the effect. An event that comes too late has no effect; for
//! example, a cancelled future that is polled once more may send one. Nothing here waits, sends or reads a clock.

use super::outcome::Outcome;
use super::progress::Progress;
use super::recovery::{interrupted_caller, interrupted_stream};
use super::snapshot::State;
use crate::error::{ErrorCode, Failure};

/// The stages of a task's life.
#[derive(Debug, Clone, PartialEq)]
pub enum Life {
    /// The task has no slot yet.
    Waiting,
    /// The task has a slot, and its upstream call is running.
    Running,
    /// The outcome is decided, and the store is making it durable.
    Ending,
    /// The outcome is durable, and the clients are informed.
    Ended(Outcome),
    /// The task waits for the server's next start.
    Parked,
}

/// The recipient of a task's answer: a caller that waits for it on an open connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recipient {
    /// No caller waits.
    None,
    /// A caller with an `Idempotency-Key`: if it repeats the submit, it gets this task's answer.
    Replaceable,
    /// A caller without an `Idempotency-Key`: it cannot get the answer in another way, so the task does not run again
    /// after a restart.
    Irreplaceable,
}

/// An event in the life of a task. `Slot` is the type of the slot that its run needs.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<Slot> {
    /// The task may run.
    SlotGranted(Slot),
    /// The upstream has finished or failed, a timeout has passed, or the task has crashed.
    End(Outcome),
    /// A client cancels the task.
    Cancel,
    /// The caller that waited has disconnected.
    CallerDisconnected,
    /// The server begins to drain: a task that has not begun does not begin any more.
    Drain(Recipient),
    /// The server stops.
    Stop {
        /// The caller that waits for the answer.
        recipient: Recipient,
        /// True if a subscriber may have seen a part of the answer.
        is_seen: bool,
    },
    /// The task needs another slot, and the server grants no more slots.
    NoSlot,
    /// The store has recorded this outcome. It differs from the one of `End` if the store already had one.
    Recorded(Outcome),
}

/// The work that the actor must do after an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect<Slot> {
    /// Do nothing: the event came too late, or changes nothing.
    None,
    /// Call the upstream.
    Start(Slot),
    /// Close the upstream connection, release the audio and the slot, and make this outcome durable.
    End(Outcome),
    /// Publish the end of the stream and the final status.
    Announce(Outcome),
    /// Close the upstream connection, release the audio and the slot, and notify all waiting readers and callers that
    /// nothing follows in this process.
    Park,
}

impl Life {
    /// Returns the state that clients see at this stage. An end that is not durable yet is not shown.
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

    /// Returns the next stage, and the work that the event requires.
    #[must_use]
    pub fn on<Slot>(self, event: Event<Slot>) -> (Self, Effect<Slot>) {
        match (self, event) {
            (Self::Waiting, Event::SlotGranted(slot)) => (Self::Running, Effect::Start(slot)),
            (Self::Waiting | Self::Running, Event::End(outcome)) => (Self::Ending, Effect::End(outcome)),
            // The server may still run when a client cancels a parked task.
            (Self::Waiting | Self::Running | Self::Parked, Event::Cancel) => end(cancelled()),
            // A parked task is not cancelled when its caller disconnects, because the caller was notified that the
            // server stops.
            (Self::Waiting | Self::Running, Event::CallerDisconnected) => end(cancelled()),
            (Self::Waiting, Event::Drain(Recipient::Replaceable | Recipient::Irreplaceable)) => {
                (Self::Parked, Effect::Park)
            }
            (Self::Waiting | Self::Running, Event::Stop { is_seen: true, .. }) => end(interrupted_stream()),
            // The caller gets the failure now that the next start would record. If it submits again, the same work may
            // be paid for twice.
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
    Failure::new(ErrorCode::TaskCancelled, "The task was cancelled before it ended").with_retryable(false)
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
            Just(Event::CallerDisconnected),
            recipient.clone().prop_map(Event::Drain),
            (recipient, any::<bool>()).prop_map(|(recipient, is_seen)| Event::Stop { recipient, is_seen }),
            Just(Event::NoSlot),
            Just(Event::Recorded(failed(ErrorCode::InternalError))),
        ];
        prop::collection::vec(event, 0..12)
    }

    proptest! {
        #[test]
        fn a_task_has_exactly_one_end_after_any_events(events in events()) {
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
    fn only_a_cancel_ends_a_parked_task() {
        for event in
            [Event::CallerDisconnected, Event::NoSlot, Event::End(failed(ErrorCode::UpstreamTimeout))]
        {
            assert_eq!(Life::Parked.on::<()>(event), (Life::Parked, Effect::None));
        }
        let (life, effect) = Life::Parked.on::<()>(Event::Cancel);
        let Effect::End(outcome) = effect else { panic!("{effect:?}") };
        assert_eq!((life, code(&outcome)), (Life::Ending, Some(ErrorCode::TaskCancelled)));
    }

    #[test]
    fn a_stop_ends_seen_tasks_and_irreplaceable_calls_and_parks_the_rest() {
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
