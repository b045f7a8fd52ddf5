//! How long something that fails is tried again, and with which pauses.

use std::time::Duration;

use rand::RngExt as _;
use tokio::time::Instant;

/// The first pause.
const SHORTEST: Duration = Duration::from_millis(500);
/// The longest one, unless the server asks for more.
const LONGEST: Duration = Duration::from_secs(15);
/// A connection that has stood for so long holds.
const HOLDS: Duration = Duration::from_secs(5);

/// Pauses that grow, until nothing has succeeded for too long.
#[derive(Debug)]
pub struct Patience {
    bound: Duration,
    since: Instant,
    pause: Duration,
}

impl Patience {
    /// One that ends `bound` after the last success; now counts as one.
    #[must_use]
    pub fn of(bound: Duration) -> Self {
        Self { bound, since: Instant::now(), pause: SHORTEST }
    }

    /// Something has succeeded.
    pub fn renew(&mut self) {
        *self = Self::of(self.bound);
    }

    /// Something comes over a connection that was made then, which is no success yet: when it has held, the end is put
    /// off, and the pauses stay. What greets everybody and is cut at once puts nothing off.
    pub fn put_off(&mut self, connected: Instant) {
        if connected.elapsed() >= HOLDS {
            self.since = Instant::now();
        }
    }

    /// This much of the time was put to use, and does not count.
    pub fn spare(&mut self, time: Duration) {
        self.since += time;
    }

    /// How long to wait before the next try, at least as long as was `asked` for; `None` when it is no use any more.
    pub fn pause(&mut self, asked: Option<Duration>) -> Option<Duration> {
        // Many that were cut at once do not come back at once.
        let own = self.pause.mul_f64(rand::rng().random_range(0.75..1.25));
        self.pause = (self.pause * 2).min(LONGEST);
        let pause = asked.unwrap_or_default().max(own);
        (self.since.elapsed() + pause <= self.bound).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pauses until it gives up, each waited for.
    async fn pauses(patience: &mut Patience) -> Vec<f64> {
        let mut pauses = Vec::new();
        while let Some(pause) = patience.pause(None) {
            tokio::time::advance(pause).await;
            pauses.push(pause.as_secs_f64());
        }
        pauses
    }

    #[actix_rt::test]
    async fn pauses_grow_and_end_within_the_bound() {
        tokio::time::pause();
        let mut patience = Patience::of(Duration::from_secs(60));
        let first = pauses(&mut patience).await;
        assert!(first[0] < 0.7 && first.iter().all(|pause| *pause < 19.0), "{first:?}");
        let sum: f64 = first.iter().sum();
        assert!((30.0..=60.0).contains(&sum), "{first:?}");
        patience.renew();
        assert!(pauses(&mut patience).await[0] < 0.7);
    }

    #[actix_rt::test]
    async fn a_connection_that_holds_puts_the_end_off_and_one_that_is_cut_at_once_does_not() {
        tokio::time::pause();
        let mut patience = Patience::of(Duration::from_secs(60));
        let mut tries = 0;
        while let Some(pause) = patience.pause(None) {
            tokio::time::advance(pause).await;
            patience.put_off(Instant::now());
            tries += 1;
            assert!(tries < 100, "it is tried for ever");
        }
        let connected = Instant::now();
        tokio::time::advance(HOLDS).await;
        patience.put_off(connected);
        assert!(pauses(&mut patience).await[0] > 10.0);
    }

    #[actix_rt::test]
    async fn time_that_was_put_to_use_does_not_count() {
        tokio::time::pause();
        let mut patience = Patience::of(Duration::from_secs(60));
        tokio::time::advance(Duration::from_secs(600)).await;
        patience.spare(Duration::from_secs(600));
        let sum: f64 = pauses(&mut patience).await.iter().sum();
        assert!((30.0..=60.0).contains(&sum), "{sum}");
    }

    #[actix_rt::test]
    async fn a_pause_that_is_asked_for_is_kept_or_too_long() {
        tokio::time::pause();
        let mut patience = Patience::of(Duration::from_secs(60));
        assert_eq!(patience.pause(Some(Duration::from_secs(40))), Some(Duration::from_secs(40)));
        assert_eq!(patience.pause(Some(Duration::from_secs(61))), None);
    }
}
