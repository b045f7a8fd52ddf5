//! The life of a task as a pure function: (state, event) -> (state, effects).
//!
//! ```text
//! Waiting --SlotGranted--> Running --End--> Ending --Recorded--> Ended
//!   | |                       |               ^
//!   | `----------End----------|---------------|
//!   `--------Park----------> Parked --End-----'
//! ```
//! The first end wins, whatever else is on its way: completion, failure, cancel, timeout and interruption all
//! try to enter `Ending`, and from there only the store's word leads on. An end is announced only once it is
//! durable; where the store has an end already, from before a crash, that one is announced. `Parked` is no
//! end: the server stops, and the task stays in the store for its next start; only who cancels it in the last
//! moment still ends it. Whoever holds a `Life` carries out the effects; nothing here waits, sends or reads a
//! clock.

use crate::error::Failure;

/// How a task ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// With an answer.
    Completed,
    /// Without one, or with a part of one.
    Failed(Failure),
}

/// Where a task is in its life.
#[derive(Debug, Clone, PartialEq)]
pub enum Life {
    /// It has no slot yet.
    Waiting,
    /// It has a slot, and an upstream call is under way.
    Running,
    /// Its outcome is chosen and is being made durable.
    Ending(Outcome),
    /// Its outcome is durable and announced.
    Ended(Outcome),
    /// It is left for the server's next start.
    Parked,
}

/// What happens to a task.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The task may run.
    SlotGranted,
    /// The upstream finished or failed, somebody cancelled, time ran out, the task crashed.
    End(Outcome),
    /// The outcome is durable.
    Recorded,
    /// Another outcome was durable already.
    RecordedBefore(Outcome),
    /// The server stops.
    Park,
}

/// What has to be done about it, in the order of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Call the upstream.
    StartUpstream,
    /// Close the upstream connection, let go of the audio and give the slot back.
    Release,
    /// Make the outcome durable.
    Record,
    /// Publish the end of the stream and the final status.
    Announce,
    /// Tell who waits that nothing follows in this process.
    LetGo,
}

impl Life {
    /// The next state, and what has to be done.
    #[must_use]
    pub fn on(self, event: Event) -> (Self, &'static [Effect]) {
        match (self, event) {
            (Self::Waiting, Event::SlotGranted) => (Self::Running, &[Effect::StartUpstream]),
            (Self::Waiting | Self::Running, Event::End(outcome)) => {
                (Self::Ending(outcome), &[Effect::Release, Effect::Record])
            }
            // The server still lives when somebody cancels what it has put aside.
            (Self::Parked, Event::End(outcome)) => (Self::Ending(outcome), &[Effect::Record]),
            (Self::Ending(outcome), Event::Recorded) => (Self::Ended(outcome), &[Effect::Announce]),
            (Self::Ending(_), Event::RecordedBefore(outcome)) => (Self::Ended(outcome), &[Effect::Announce]),
            (Self::Waiting | Self::Running, Event::Park) => (Self::Parked, &[Effect::Release, Effect::LetGo]),
            // Too late, or out of turn: nothing changes.
            (life, _) => (life, &[]),
        }
    }

    /// The outcome, once it is chosen.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        match self {
            Self::Waiting | Self::Running | Self::Parked => None,
            Self::Ending(outcome) | Self::Ended(outcome) => Some(outcome),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorCode;

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let failed = |code| Event::End(Outcome::Failed(Failure::new(code, "")));
        let event = prop_oneof![
            Just(Event::SlotGranted),
            Just(Event::Recorded),
            Just(Event::Park),
            Just(Event::End(Outcome::Completed)),
            Just(failed(ErrorCode::TaskCancelled)),
            Just(failed(ErrorCode::UpstreamTimeout)),
        ];
        prop::collection::vec(event, 0..12)
    }

    proptest! {
        #[test]
        fn whatever_happens_there_is_one_outcome_and_it_is_the_first(events in events()) {
            let parked = events.iter().position(|event| *event == Event::Park);
            let first = events.iter().enumerate().find_map(|(at, event)| match event {
                Event::End(outcome) => Some((at, outcome.clone())),
                _ => None,
            });
            let parks = match (parked, &first) {
                (Some(parked), Some((ended, _))) => parked < *ended,
                (parked, _) => parked.is_some(),
            };
            let first = first.map(|(_, outcome)| outcome);
            let mut life = Life::Waiting;
            let mut effects = Vec::new();
            for event in events {
                let before = life.clone();
                let (after, todo) = life.on(event);
                if matches!(before, Life::Ended(_)) {
                    prop_assert_eq!(&after, &before);
                }
                if before == Life::Parked {
                    prop_assert!(!todo.contains(&Effect::StartUpstream));
                }
                effects.extend_from_slice(todo);
                life = after;
            }
            let count = |effect| effects.iter().filter(|done| **done == effect).count();
            prop_assert_eq!(life.outcome(), first.as_ref());
            prop_assert!(count(Effect::StartUpstream) <= 1);
            prop_assert_eq!(count(Effect::Record), usize::from(first.is_some()));
            prop_assert_eq!(count(Effect::Release), usize::from(first.is_some() || parks));
            prop_assert_eq!(count(Effect::LetGo), usize::from(parks));
            prop_assert_eq!(count(Effect::Announce), usize::from(matches!(life, Life::Ended(_))));
        }
    }

    #[test]
    fn an_end_that_was_durable_before_is_the_one() {
        let (life, _) = Life::Running.on(Event::End(Outcome::Failed(Failure::internal())));
        let (life, effects) = life.on(Event::RecordedBefore(Outcome::Completed));
        assert_eq!(life, Life::Ended(Outcome::Completed));
        assert_eq!(effects, [Effect::Announce]);
    }

    #[test]
    fn an_upstream_is_never_called_after_the_end() {
        let (life, _) = Life::Waiting.on(Event::End(Outcome::Completed));
        assert_eq!(life.on(Event::SlotGranted).1, &[]);
    }
}
