//! Decides how long a failing request is repeated, and with which pauses. Time in which the process was frozen, as on a
//! sleeping laptop, does not count.

use std::time::Duration;

use rand::RngExt as _;
use tokio::time::Instant;

use crate::deadline::{Clock, Moment};

/// The first pause.
const SHORTEST: Duration = Duration::from_millis(500);
/// The longest pause, unless the server asks for more.
const LONGEST: Duration = Duration::from_secs(15);
/// A connection that was open for this long counts as lasting.
const LASTING: Duration = Duration::from_secs(5);

/// Growing pauses between attempts. They end when no attempt has succeeded for too long.
#[derive(Debug)]
pub struct Backoff {
    clock: Clock,
    bound: Duration,
    since: Moment,
    pause: Duration,
}

impl Backoff {
    /// Creates pauses that end when `bound` has passed since the last success. The creation counts as a success.
    #[must_use]
    pub fn of(bound: Duration) -> Self {
        let clock = Clock::of_this_thread();
        Self { since: clock.now(), clock, bound, pause: SHORTEST }
    }

    /// Records a success.
    pub fn reset(&mut self) {
        *self = Self::of(self.bound);
    }

    /// Records data on a connection that was opened at this time. If the connection has lasted, the end of the pauses
    /// is postponed, but the pauses do not become shorter. A server that sends data on every connection and then closes
    /// it postpones nothing.
    pub fn extend_if_lasting(&mut self, connected: Instant) {
        if connected.elapsed() >= LASTING {
            self.since = self.clock.now();
        }
    }

    /// Excludes a time in which there was progress.
    pub fn exclude(&mut self, time: Duration) {
        self.since = self.since + time;
    }

    /// Returns the pause before the next attempt; `None` if there is no further attempt. The pause is at least as long
    /// as the server has `asked` for. The last attempt is when the bound is reached, even if the server has asked for
    /// more.
    pub fn pause(&mut self, asked: Option<Duration>) -> Option<Duration> {
        let left = self.bound.saturating_sub(self.clock.now().since(self.since));
        let asked = asked.unwrap_or_default();
        if left.is_zero() || asked > self.bound {
            return None;
        }
        // The pause is random, so that clients that were disconnected at the same time do not all return together.
        let own = self.pause.mul_f64(rand::rng().random_range(0.75..1.25));
        self.pause = (self.pause * 2).min(LONGEST);
        Some(asked.max(own).min(left))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const BOUND: Duration = Duration::from_secs(60);

    /// Lets time pass while this thread stays awake: exact to the microsecond, unlike a timer.
    async fn pass(mut time: Duration) {
        while !time.is_zero() {
            let step = time.min(Duration::from_millis(50));
            advance(step).await;
            time -= step;
        }
    }

    /// Waits for each pause until the attempts end, and returns the pauses.
    async fn pauses(backoff: &mut Backoff, asked: Option<Duration>) -> Vec<Duration> {
        let mut pauses = Vec::new();
        while let Some(pause) = backoff.pause(asked) {
            pass(pause).await;
            pauses.push(pause);
        }
        pauses
    }

    #[actix_rt::test]
    async fn pauses_grow_and_the_last_one_ends_with_the_bound() {
        tokio::time::pause();
        let mut backoff = Backoff::of(BOUND);
        let first = pauses(&mut backoff, None).await;
        let (short, long) = (Duration::from_millis(700), Duration::from_secs(19));
        assert!(first[0] < short && first.iter().all(|pause| *pause < long), "{first:?}");
        assert_eq!(first.iter().sum::<Duration>(), BOUND);
        backoff.reset();
        assert!(pauses(&mut backoff, None).await[0] < short);
    }

    #[actix_rt::test]
    async fn only_a_lasting_connection_postpones_the_end() {
        tokio::time::pause();
        let mut backoff = Backoff::of(BOUND);
        let mut tries = 0;
        while let Some(pause) = backoff.pause(None) {
            pass(pause).await;
            backoff.extend_if_lasting(Instant::now());
            tries += 1;
            assert!(tries < 100, "the attempts never end");
        }
        let connected = Instant::now();
        pass(LASTING).await;
        backoff.extend_if_lasting(connected);
        assert!(pauses(&mut backoff, None).await[0] > Duration::from_secs(10));
    }

    #[actix_rt::test]
    async fn excluded_time_does_not_count() {
        tokio::time::pause();
        let mut backoff = Backoff::of(BOUND);
        pass(Duration::from_secs(600)).await;
        backoff.exclude(Duration::from_secs(600));
        assert_eq!(pauses(&mut backoff, None).await.iter().sum::<Duration>(), BOUND);
    }

    #[actix_rt::test]
    async fn a_freeze_does_not_count_as_waiting() {
        tokio::time::pause();
        let mut backoff = Backoff::of(BOUND);
        pass(BOUND / 2).await;
        advance(BOUND * 100).await;
        let left = pauses(&mut backoff, None).await.iter().sum::<Duration>();
        let rounded = left.as_secs_f64().round();
        assert_eq!(rounded, (BOUND / 2).as_secs_f64());
    }

    #[actix_rt::test]
    async fn a_requested_pause_is_kept_up_to_the_bound() {
        tokio::time::pause();
        let mut backoff = Backoff::of(BOUND);
        let asked = Duration::from_secs(40);
        assert_eq!(pauses(&mut backoff, Some(asked)).await, [asked, BOUND - asked]);
        backoff.reset();
        assert_eq!(backoff.pause(Some(BOUND + Duration::from_secs(1))), None);
    }
}
