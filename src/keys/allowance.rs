//! The submits that a key has left in this minute. The queue of tasks enforces the limit on running tasks.

use std::num::NonZeroU32;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use super::KeyLimits;
use crate::error::{ErrorCode, Failure};

/// The submits that one key has left. All holders of the key share it, so the program has one for each key.
#[derive(Debug)]
pub struct Allowance {
    limits: KeyLimits,
    submits: Option<Rate>,
}

impl Allowance {
    /// Makes a full allowance with these limits.
    #[must_use]
    pub fn new(limits: KeyLimits) -> Self {
        Self {
            limits,
            submits: limits.requests_per_minute.map(|limit| Rate::new(limit, DefaultClock::default())),
        }
    }

    /// Returns the limits of this allowance.
    #[must_use]
    pub fn limits(&self) -> KeyLimits {
        self.limits
    }

    /// Uses one submit of the allowance.
    ///
    /// # Errors
    /// `rate_limit_exceeded`, with the time until the next submit is allowed. A refused submit uses nothing.
    pub fn spend(&self) -> Result<(), Failure> {
        self.submits.as_ref().map_or(Ok(()), Rate::spend)
    }
}

/// A rate limit: `limit` submits per minute. After a minute without submits, all may come at once; then they are
/// allowed again one by one.
#[derive(Debug)]
struct Rate<C: Clock = DefaultClock> {
    limit: NonZeroU32,
    limiter: RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<C::Instant>>,
}

impl<C: Clock> Rate<C> {
    fn new(limit: NonZeroU32, clock: C) -> Self {
        Self { limit, limiter: RateLimiter::direct_with_clock(Quota::per_minute(limit), clock) }
    }

    fn spend(&self) -> Result<(), Failure> {
        self.limiter.check().map_err(|not_until| {
            let wait = not_until.wait_time_from(self.limiter.clock().now());
            Failure::new(
                ErrorCode::RateLimitExceeded,
                format!(
                    "This API key has reached its limit of {} submits per minute; try again after Retry-After",
                    self.limit
                ),
            )
            .with_retry_after(wait)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use governor::clock::FakeRelativeClock;

    use super::*;

    fn rate(limit: u32) -> (Rate<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Rate::new(NonZeroU32::new(limit).unwrap(), clock.clone()), clock)
    }

    fn spendable(rate: &Rate<FakeRelativeClock>) -> usize {
        std::iter::from_fn(|| rate.spend().ok()).count()
    }

    #[test]
    fn a_minutes_submits_may_come_at_once_and_return_one_by_one() {
        let (rate, clock) = rate(60);
        assert_eq!(spendable(&rate), 60);
        clock.advance(Duration::from_millis(999));
        assert_eq!(spendable(&rate), 0);
        clock.advance(Duration::from_millis(1));
        assert_eq!(spendable(&rate), 1);
        clock.advance(Duration::from_secs(30));
        assert_eq!(spendable(&rate), 30);
        clock.advance(Duration::from_secs(600));
        assert_eq!(spendable(&rate), 60);
    }

    #[test]
    fn a_refused_submit_gets_the_limit_and_the_time_to_retry() {
        let (rate, clock) = rate(7);
        assert_eq!(spendable(&rate), 7);
        let failure = rate.spend().unwrap_err();
        assert_eq!((failure.code, failure.retryable), (ErrorCode::RateLimitExceeded, true));
        assert!(failure.message.contains(" 7 submits per minute"), "{failure}");
        // 60 s / 7 is 8.57 s.
        assert_eq!(failure.retry_after_seconds, Some(9));
        clock.advance(Duration::from_secs(9));
        assert_eq!(spendable(&rate), 1);
    }

    #[test]
    fn a_refused_submit_uses_no_allowance() {
        let (rate, clock) = rate(60);
        spendable(&rate);
        for _ in 0..100 {
            assert!(rate.spend().is_err());
        }
        clock.advance(Duration::from_secs(1));
        assert_eq!(spendable(&rate), 1);
    }

    #[test]
    fn a_key_without_limits_is_never_refused() {
        let allowance = Allowance::new(KeyLimits::default());
        assert!((0..10_000).all(|_| allowance.spend().is_ok()));
    }

    #[test]
    fn the_largest_limits_work() {
        let allowance = Allowance::new(KeyLimits::new(u32::MAX, u32::MAX));
        assert!((0..1000).all(|_| allowance.spend().is_ok()));
    }
}
