//! How long something that fails is tried again, and with which pauses. The time in which this process was frozen, as a
//! laptop that sleeps is, does not count.

use std::time::Duration;

use rand::RngExt as _;
use tokio::time::Instant;

use crate::deadline::{Clock, Moment};

/// The first pause.
const SHORTEST: Duration = Duration::from_millis(500);
/// The longest one, unless the server asks for more.
const LONGEST: Duration = Duration::from_secs(15);
/// A connection that has stood for so long holds.
const HOLDS: Duration = Duration::from_secs(5);

/// Pauses that grow, until nothing has succeeded for too long.
#[derive(Debug)]
pub struct Patience {
    clock: Clock,
    bound: Duration,
    since: Moment,
    pause: Duration,
}

impl Patience {
    /// One that ends `bound` after the last success; now counts as one.
    #[must_use]
    pub fn of(bound: Duration) -> Self {
        let clock = Clock::of_this_thread();
        Self { since: clock.now(), clock, bound, pause: SHORTEST }
    }

    /// Something has succeeded.
    pub fn renew(&mut self) {
        *self = Self::of(self.bound);
    }

    /// Something comes over a connection that was made then, which is no success yet: when it has held, the end is put
    /// off, and the pauses stay. What greets everybody and is cut at once puts nothing off.
    pub fn put_off(&mut self, connected: Instant) {
        if connected.elapsed() >= HOLDS {
            self.since = self.clock.now();
        }
    }

    /// This much of the time was put to use, and does not count.
    pub fn spare(&mut self, time: Duration) {
        self.since = self.since + time;
    }

    /// How long to wait before the next try, as long as was `asked` for if that is more; `None` when it is no use any
    /// more. The last try is at the end of the time, sooner than was asked for if need be.
    pub fn pause(&mut self, asked: Option<Duration>) -> Option<Duration> {
        let left = self.bound.saturating_sub(self.clock.now().since(self.since));
        let asked = asked.unwrap_or_default();
        if left.is_zero() || asked > self.bound {
            return None;
        }
        // Many that were cut at once do not come back at once.
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

    /// Lets time pass in which this thread is awake: to the microsecond, which no timer does.
    async fn pass(mut time: Duration) {
        while !time.is_zero() {
            let step = time.min(Duration::from_millis(50));
            advance(step).await;
            time -= step;
        }
    }

    /// The pauses until it gives up, each waited for.
    async fn pauses(patience: &mut Patience, asked: Option<Duration>) -> Vec<Duration> {
        let mut pauses = Vec::new();
        while let Some(pause) = patience.pause(asked) {
            pass(pause).await;
            pauses.push(pause);
        }
        pauses
    }

    #[actix_rt::test]
    async fn pauses_grow_and_the_last_one_ends_with_the_bound() {
        tokio::time::pause();
        let mut patience = Patience::of(BOUND);
        let first = pauses(&mut patience, None).await;
        let (short, long) = (Duration::from_millis(700), Duration::from_secs(19));
        assert!(first[0] < short && first.iter().all(|pause| *pause < long), "{first:?}");
        assert_eq!(first.iter().sum::<Duration>(), BOUND);
        patience.renew();
        assert!(pauses(&mut patience, None).await[0] < short);
    }

    #[actix_rt::test]
    async fn a_connection_that_holds_puts_the_end_off_and_one_that_is_cut_at_once_does_not() {
        tokio::time::pause();
        let mut patience = Patience::of(BOUND);
        let mut tries = 0;
        while let Some(pause) = patience.pause(None) {
            pass(pause).await;
            patience.put_off(Instant::now());
            tries += 1;
            assert!(tries < 100, "it is tried for ever");
        }
        let connected = Instant::now();
        pass(HOLDS).await;
        patience.put_off(connected);
        assert!(pauses(&mut patience, None).await[0] > Duration::from_secs(10));
    }

    #[actix_rt::test]
    async fn time_that_was_put_to_use_does_not_count() {
        tokio::time::pause();
        let mut patience = Patience::of(BOUND);
        pass(Duration::from_secs(600)).await;
        patience.spare(Duration::from_secs(600));
        assert_eq!(pauses(&mut patience, None).await.iter().sum::<Duration>(), BOUND);
    }

    #[actix_rt::test]
    async fn a_freeze_leaves_as_much_patience_as_there_was() {
        tokio::time::pause();
        let mut patience = Patience::of(BOUND);
        pass(BOUND / 2).await;
        advance(BOUND * 100).await;
        let left = pauses(&mut patience, None).await.iter().sum::<Duration>();
        let rounded = left.as_secs_f64().round();
        assert_eq!(rounded, (BOUND / 2).as_secs_f64());
    }

    #[actix_rt::test]
    async fn a_pause_that_is_asked_for_is_kept_as_far_as_the_bound_or_too_long() {
        tokio::time::pause();
        let mut patience = Patience::of(BOUND);
        let asked = Duration::from_secs(40);
        assert_eq!(pauses(&mut patience, Some(asked)).await, [asked, BOUND - asked]);
        patience.renew();
        assert_eq!(patience.pause(Some(BOUND + Duration::from_secs(1))), None);
    }
}
