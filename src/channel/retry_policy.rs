//! The retry policy of one task. After each call that failed before any part of its answer was seen, it decides whether
//! to call the same channel again, another one, or none. It neither waits nor reads a clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::{Rng, RngExt};

use super::{Channel, RetryBudget};
use crate::error::{ErrorCode, Failure};
use crate::upstream::{Remedy, UpstreamError, try_again_in};

/// The pause before the first repeat, on average three quarters of it. It doubles with each further repeat, as in
/// OpenAI's and Google's own clients.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause without a hint of the upstream.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// A repeat may come later than the upstream requested by up to this fraction, so that not all repeats come at the same
/// moment.
const HINT_JITTER: f64 = 0.1;
/// The `Retry-After` if all channels have failed and none has given a hint.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(10);

/// How often a call is repeated that failed before any part of its answer was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryRule {
    /// Most calls beyond the first one, per task.
    pub max_retries: u32,
    /// Longest wait before a call. If the upstream requests a longer one, there is no further call.
    pub max_wait: Duration,
}

/// The step after a failed call.
#[derive(Debug, Clone, PartialEq)]
pub enum NextCall {
    /// The same channel is called again after this pause.
    SameChannel(Duration),
    /// One of the remaining candidates is called.
    OtherChannel,
    /// No further call: the task ends with this failure.
    End(Failure),
}

/// The retry policy of one task: its remaining channels, and the calls that it has made.
#[derive(Debug)]
pub struct RetryPolicy {
    /// The current channel, and those that were not called yet.
    remaining: Vec<Arc<Channel>>,
    /// How many channels have failed permanently.
    failed: usize,
    /// Calls to the current channel.
    calls: u32,
    budget: RetryBudget,
    /// Number of all calls, and when the first one began.
    spent: u32,
    began: Option<Instant>,
    /// The soonest retry hint of the failed channels, and whether a later retry may succeed at one of them.
    soonest: Option<Duration>,
    retryable: bool,
    /// The failure of the last failed channel.
    last: Option<Failure>,
}

impl RetryPolicy {
    /// Creates the policy for candidates in the order in which they are tried. A task that does not run has none.
    #[must_use]
    pub fn new(candidates: Vec<Arc<Channel>>, budget: RetryBudget) -> Self {
        Self {
            remaining: candidates,
            failed: 0,
            calls: 0,
            budget,
            spent: 0,
            began: None,
            soonest: None,
            retryable: false,
            last: None,
        }
    }

    /// Returns the channels where the task may still run.
    #[must_use]
    pub fn candidates(&self) -> &[Arc<Channel>] {
        &self.remaining
    }

    /// Returns the number of channels, including those that have failed permanently.
    #[must_use]
    pub fn count(&self) -> usize {
        self.remaining.len() + self.failed
    }

    /// Removes the candidates that cannot take the audio, once it is known.
    ///
    /// # Errors
    /// The refusal of the last candidate, if none can take it.
    pub fn remove_unfit(&mut self, check: impl Fn(&Channel) -> Result<(), Failure>) -> Result<(), Failure> {
        let mut refusal = None;
        self.remaining.retain(|channel| check(channel).map_err(|failure| refusal = Some(failure)).is_ok());
        match refusal {
            Some(failure) if self.remaining.is_empty() => Err(failure),
            _ => Ok(()),
        }
    }

    /// Checks that a further call may still begin, because the total time is limited.
    ///
    /// # Errors
    /// The failure of the previous call.
    pub fn check(&self, now: Instant) -> Result<(), Failure> {
        match (&self.last, self.began) {
            (Some(last), Some(began)) if now > began + self.budget.time => Err(last.clone()),
            _ => Ok(()),
        }
    }

    /// Records that a call begins.
    pub fn begins(&mut self, now: Instant) {
        self.calls += 1;
        self.spent += 1;
        self.began.get_or_insert(now);
    }

    /// Decides what follows after the call to `channel` has failed and no part of its answer was seen.
    pub fn failed(
        &mut self,
        channel: &Channel,
        err: UpstreamError,
        now: Instant,
        rng: &mut impl Rng,
    ) -> NextCall {
        let remedy = err.remedy();
        let in_time = |pause: Duration| {
            let until = self.began.map_or(now, |began| began + self.budget.time);
            now + pause <= until
        };
        // Every other channel is called once before one is called again.
        let others = self.remaining.len().saturating_sub(1) as u32;
        let affordable = |pause| self.spent.saturating_add(others) < self.budget.calls && in_time(pause);
        match remedy {
            Remedy::Nothing => return NextCall::End(err.into()),
            Remedy::Repeat(hint) => {
                let pause = self.pause(channel, hint, rng);
                let others_work = self
                    .remaining
                    .iter()
                    .any(|other| other.place != channel.place && !other.breaker.is_resting(now));
                // A resting channel is called again only by tasks that have no other channel.
                let rests = channel.breaker.is_resting(now) && others_work;
                if let Some(pause) = pause.filter(|pause| !rests && affordable(*pause)) {
                    return NextCall::SameChannel(pause);
                }
            }
            Remedy::OtherChannel => {}
        }
        let affordable = self.spent < self.budget.calls && in_time(Duration::ZERO);
        self.remaining.retain(|other| other.place != channel.place);
        self.failed += 1;
        self.calls = 0;
        let reason = Failure::from(err.clone().without_hint()).message;
        let failure = Failure::from(err);
        self.retryable |= failure.retryable;
        if let Some(seconds) = failure.retry_after_seconds {
            let hint = Duration::from_secs(seconds);
            self.soonest = Some(self.soonest.map_or(hint, |soonest| soonest.min(hint)));
        }
        match (self.remaining.is_empty(), self.failed) {
            (false, _) if affordable => {
                self.last = Some(failure);
                NextCall::OtherChannel
            }
            (_, 2..) => NextCall::End(self.exhausted(&failure, &reason)),
            _ => NextCall::End(failure),
        }
    }

    /// Returns the pause before the channel is called again, if it may be.
    fn pause(&self, channel: &Channel, hint: Option<Duration>, rng: &mut impl Rng) -> Option<Duration> {
        let rule = channel.retry;
        if self.calls > rule.max_retries {
            return None;
        }
        let doubled = FIRST_PAUSE.saturating_mul(1 << (self.calls.clamp(1, 16) - 1)).min(LONGEST_PAUSE);
        let own = doubled.min(rule.max_wait).mul_f64(rng.random_range(0.5..=1.0));
        match hint {
            Some(hint) if hint > rule.max_wait => None,
            Some(hint) => {
                let later = hint.mul_f64(1.0 + rng.random_range(0.0..=HINT_JITTER));
                Some(own.max(later).min(rule.max_wait))
            }
            None => Some(own),
        }
    }

    /// Returns the failure after several channels failed. `reason` is the last channel's message without its own retry
    /// hint, because another channel may be available sooner.
    fn exhausted(&self, last: &Failure, reason: &str) -> Failure {
        let failed = self.failed;
        let mut message = if self.remaining.is_empty() {
            format!("All {failed} channels that serve this model failed; the last failure: {reason}")
        } else {
            format!(
                "{failed} channels that serve this model failed, and the task may make no more calls; \
                 the last failure: {reason}"
            )
        };
        if let Some(soonest) = self.soonest {
            message = format!("{}; {}", message.trim_end_matches('.'), try_again_in(soonest.as_secs()));
        }
        let failure = Failure::new(ErrorCode::AllChannelsExhausted, message)
            .with_retryable(self.retryable)
            .with_retry_after(self.soonest.unwrap_or(DEFAULT_RETRY_AFTER));
        match last.upstream_status {
            Some(status) => failure.with_upstream_status(status),
            None => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::channel::Channels;
    use crate::channel::breaker::Breaker;
    use crate::channel::breaker::BreakerRule;
    use crate::upstream::Fault;
    use crate::upstream::testing::silent_channel;

    const BUDGET: RetryBudget = RetryBudget { calls: 12, time: Duration::from_secs(900) };

    /// The calls of a task under test, and its current channel.
    struct TestCalls {
        policy: RetryPolicy,
        channels: Vec<Arc<Channel>>,
        now: Instant,
        rng: StdRng,
    }

    impl TestCalls {
        fn over(retries: &[u32]) -> Self {
            let now = Instant::now();
            let channel = |max_retries: &u32| Channel {
                retry: RetryRule { max_retries: *max_retries, max_wait: Duration::from_secs(30) },
                breaker: Arc::new(Breaker::new(
                    BreakerRule { failures: 1, rest: Duration::from_secs(10) },
                    now,
                )),
                ..silent_channel("c", &["*"])
            };
            let channels: Vec<_> = Channels::new(retries.iter().map(channel)).iter().cloned().collect();
            let policy = RetryPolicy::new(channels.clone(), BUDGET);
            Self { policy, channels, now, rng: StdRng::seed_from_u64(7) }
        }

        /// Lets a call to the first remaining channel fail with this error.
        fn fails(&mut self, err: UpstreamError) -> NextCall {
            let channel = Arc::clone(&self.policy.candidates()[0]);
            self.policy.begins(self.now);
            self.policy.failed(&channel, err, self.now, &mut self.rng)
        }
    }

    fn refused(fault: Fault, status: u16, retry_after: Option<u64>) -> UpstreamError {
        let retry_after = retry_after.map(Duration::from_secs);
        UpstreamError::Refused { fault, status: Some(status), message: "its words".into(), retry_after }
    }

    fn busy() -> UpstreamError {
        refused(Fault::Upstream, 503, None)
    }

    fn end(next: NextCall) -> Failure {
        match next {
            NextCall::End(failure) => failure,
            other => panic!("not the end: {other:?}"),
        }
    }

    #[test]
    fn one_candidate_is_called_again_and_then_its_failure_is_returned() {
        let mut calls = TestCalls::over(&[2]);
        let pauses: Vec<_> = (0..2)
            .map(|_| match calls.fails(busy()) {
                NextCall::SameChannel(pause) => pause.as_millis(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert!((250..=500).contains(&pauses[0]) && (500..=1000).contains(&pauses[1]), "{pauses:?}");
        let failure = end(calls.fails(busy()));
        assert_eq!((failure.code, failure.upstream_status), (ErrorCode::UpstreamError, Some(503)));
    }

    #[test]
    fn the_next_candidate_has_retries_of_its_own() {
        let mut calls = TestCalls::over(&[1, 1]);
        assert!(matches!(calls.fails(busy()), NextCall::SameChannel(_)));
        assert_eq!(calls.fails(busy()), NextCall::OtherChannel);
        assert_eq!(calls.policy.candidates().len(), 1);
        assert!(matches!(calls.fails(UpstreamError::Disconnected), NextCall::SameChannel(_)));
        let failure = end(calls.fails(refused(Fault::Upstream, 500, None)));
        assert_eq!((failure.code, failure.upstream_status), (ErrorCode::AllChannelsExhausted, Some(500)));
        assert_eq!((failure.retryable, failure.retry_after_seconds), (true, Some(10)));
        assert!(failure.message.contains("All 2 channels") && failure.message.contains("its words"));
        assert_eq!(calls.policy.count(), 2);
    }

    #[test]
    fn a_failure_of_the_request_itself_is_returned_at_once() {
        let mut calls = TestCalls::over(&[2, 2]);
        assert_eq!(end(calls.fails(refused(Fault::Request, 400, None))).code, ErrorCode::UpstreamRejected);
        let mut calls = TestCalls::over(&[2, 2]);
        assert_eq!(
            end(calls.fails(UpstreamError::Blocked("why".into()))).code,
            ErrorCode::ContentPolicyViolation
        );
    }

    #[test]
    fn a_channel_that_would_fail_again_is_not_called_again() {
        for err in [
            refused(Fault::Credentials, 401, None),
            refused(Fault::NotServed, 404, None),
            refused(Fault::Quota, 429, Some(3)),
        ] {
            let code = Failure::from(err.clone()).code;
            assert_eq!(TestCalls::over(&[2, 2]).fails(err.clone()), NextCall::OtherChannel);
            assert_eq!(end(TestCalls::over(&[2]).fails(err)).code, code);
        }
    }

    #[test]
    fn a_retry_hint_is_followed_up_to_the_longest_wait() {
        let mut calls = TestCalls::over(&[2]);
        let NextCall::SameChannel(pause) = calls.fails(refused(Fault::RateLimit, 429, Some(29))) else {
            panic!()
        };
        assert!((29_000..=30_000).contains(&pause.as_millis()), "{pause:?}");
        assert_eq!(
            TestCalls::over(&[2, 2]).fails(refused(Fault::RateLimit, 429, Some(31))),
            NextCall::OtherChannel
        );
        let failure = end(TestCalls::over(&[2]).fails(refused(Fault::RateLimit, 429, Some(31))));
        assert_eq!((failure.code, failure.retry_after_seconds), (ErrorCode::UpstreamRateLimited, Some(31)));
    }

    #[test]
    fn the_soonest_hint_is_passed_on_when_all_have_failed() {
        let mut calls = TestCalls::over(&[0, 0]);
        assert_eq!(calls.fails(refused(Fault::RateLimit, 429, Some(50))), NextCall::OtherChannel);
        let failure = end(calls.fails(refused(Fault::RateLimit, 429, Some(70))));
        assert_eq!((failure.code, failure.retry_after_seconds), (ErrorCode::AllChannelsExhausted, Some(50)));
        assert!(failure.message.ends_with("its words; try again in 50 seconds"), "{failure}");
    }

    #[test]
    fn a_resting_channel_is_called_again_only_if_there_is_no_other() {
        let mut calls = TestCalls::over(&[2, 2]);
        calls.channels[0].breaker.failed(None, false, calls.now);
        assert_eq!(calls.fails(busy()), NextCall::OtherChannel);
        let mut calls = TestCalls::over(&[2]);
        calls.channels[0].breaker.failed(None, false, calls.now);
        assert!(matches!(calls.fails(busy()), NextCall::SameChannel(_)));
    }

    #[test]
    fn a_tasks_budget_limits_its_calls_and_its_time() {
        let mut calls = TestCalls::over(&[100]);
        let again = (0..100).take_while(|_| matches!(calls.fails(busy()), NextCall::SameChannel(_))).count();
        assert_eq!(again, 11, "the twelfth call is the last");

        let mut calls = TestCalls::over(&[100, 100]);
        assert!(matches!(calls.fails(busy()), NextCall::SameChannel(_)));
        calls.now += BUDGET.time + Duration::from_secs(1);
        // Only one of two channels has failed. Its own failure is returned, because the other one was not called.
        assert_eq!(end(calls.fails(busy())).code, ErrorCode::UpstreamError);
    }

    #[test]
    fn each_candidate_has_its_turn_before_the_budget_goes_to_repeats() {
        let mut calls = TestCalls::over(&[9, 9, 9]);
        calls.policy.budget.calls = 4;
        assert!(matches!(calls.fails(busy()), NextCall::SameChannel(_)));
        assert_eq!(calls.fails(busy()), NextCall::OtherChannel);
        assert_eq!(calls.fails(busy()), NextCall::OtherChannel);
        assert_eq!(end(calls.fails(busy())).code, ErrorCode::AllChannelsExhausted);
        let mut calls = TestCalls::over(&[0, 0, 0]);
        calls.policy.budget.calls = 2;
        assert_eq!(calls.fails(busy()), NextCall::OtherChannel);
        let failure = end(calls.fails(busy()));
        assert_eq!(failure.code, ErrorCode::AllChannelsExhausted);
        assert!(failure.message.starts_with("2 channels"), "{failure}");
    }

    #[test]
    fn the_wait_for_another_channel_counts_for_the_time_limit() {
        let mut calls = TestCalls::over(&[0, 0]);
        assert!(calls.policy.check(calls.now).is_ok());
        assert_eq!(calls.fails(busy()), NextCall::OtherChannel);
        assert!(calls.policy.check(calls.now + BUDGET.time).is_ok());
        let late = calls.now + BUDGET.time + Duration::from_secs(1);
        assert_eq!(calls.policy.check(late).unwrap_err().code, ErrorCode::UpstreamError);
    }

    #[test]
    fn pauses_grow_up_to_a_limit() {
        let mut calls = TestCalls::over(&[11]);
        let mut longest = Duration::ZERO;
        while let NextCall::SameChannel(pause) = calls.fails(busy()) {
            longest = longest.max(pause);
        }
        assert!(longest > LONGEST_PAUSE / 2 && longest <= LONGEST_PAUSE, "{longest:?}");
    }

    #[test]
    fn candidates_that_cannot_take_the_audio_are_removed() {
        let mut calls = TestCalls::over(&[0, 0]);
        let too_large = |_: &Channel| Err(Failure::new(ErrorCode::AudioTooLarge, "large"));
        assert!(
            calls
                .policy
                .remove_unfit(|channel| if channel.place == 0 { too_large(channel) } else { Ok(()) })
                .is_ok()
        );
        assert_eq!(calls.policy.candidates()[0].place, 1);
        assert_eq!(end(calls.fails(busy())).code, ErrorCode::UpstreamError, "there was one candidate");
        let mut calls = TestCalls::over(&[0]);
        assert_eq!(calls.policy.remove_unfit(too_large).unwrap_err().code, ErrorCode::AudioTooLarge);
    }
}
