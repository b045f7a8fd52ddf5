//! The breaker of a channel. After several failures in a row the channel rests for a while. Then one call, the probe,
//! tests it. If the probe succeeds, the channel is used as before; if not, it rests for twice as long.
//!
//! There are two counters of failures in a row. The first counts calls that fail before any part of an answer arrives.
//! The first words of any answer reset it, because an answer may take minutes. The second counts calls that break after
//! their first words. Only a completed answer resets it, because a channel that breaks every answer does not work.
//!
//! Many threads use the breaker, and no thread waits for another: it consists of atomics, and takes the time as an
//! argument. The caller decides whether a resting channel is called anyway because there is no other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The longest rest, as a multiple of the first one.
const MOST_RESTS: u32 = 8;

/// When a channel rests, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerRule {
    /// Failures in a row after which the channel rests. With 0 it never rests.
    pub failures: u32,
    /// Length of the first rest. It doubles up to eight times this length.
    pub rest: Duration,
}

/// The state of a channel's breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// The channel works.
    Closed,
    /// The channel rests.
    Open,
    /// The channel is being probed, or will be with the next call.
    HalfOpen,
}

impl BreakerState {
    /// All words that [`as_str`](Self::as_str) returns.
    pub const WORDS: [&'static str; 3] =
        [Self::Closed.as_str(), Self::Open.as_str(), Self::HalfOpen.as_str()];

    /// Returns the word for the state in the metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// The breaker of one channel. Each value is consistent on its own. If two calls change the values at the same moment,
/// there may be one probe more or less. Nothing else can happen.
#[derive(Debug)]
pub struct Breaker {
    rule: BreakerRule,
    origin: Instant,
    /// Calls that have failed before their first words, since the last call that got words.
    unanswered: AtomicU32,
    /// Calls that have broken after their first words, since the last call that completed.
    broken_answers: AtomicU32,
    /// True if the channel rests because of `broken_answers`.
    is_broken: AtomicBool,
    /// When the probe may start, in milliseconds after the origin; 0 while the channel works.
    probe_at: AtomicU64,
    /// True while the probe runs.
    probing: AtomicBool,
    /// Length of the current rest, in milliseconds.
    rest: AtomicU64,
}

/// The right to make the one call that shows whether a channel works again. If it is dropped unused, another call may
/// take it.
#[derive(Debug)]
pub struct Probe(Arc<Breaker>);

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.probing.store(false, Relaxed);
    }
}

impl Breaker {
    /// Creates the breaker of a channel without known failures.
    #[must_use]
    pub fn new(rule: BreakerRule, now: Instant) -> Self {
        Self {
            rule,
            origin: now,
            unanswered: AtomicU32::new(0),
            broken_answers: AtomicU32::new(0),
            is_broken: AtomicBool::new(false),
            probe_at: AtomicU64::new(0),
            probing: AtomicBool::new(false),
            rest: AtomicU64::new(0),
        }
    }

    /// Returns true while the channel should not be called.
    #[must_use]
    pub fn is_resting(&self, now: Instant) -> bool {
        let due = self.probe_at.load(Relaxed);
        due != 0 && (self.ms(now) < due || self.probing.load(Relaxed))
    }

    /// Returns the breaker's state at this moment.
    #[must_use]
    pub fn state(&self, now: Instant) -> BreakerState {
        match self.probe_at.load(Relaxed) {
            0 => BreakerState::Closed,
            due if self.ms(now) < due => BreakerState::Open,
            _ => BreakerState::HalfOpen,
        }
    }

    /// Registers a call that is about to start. It gets the probe if that is due and not taken.
    #[must_use]
    pub fn enter(self: &Arc<Self>, now: Instant) -> Option<Probe> {
        let due = self.probe_at.load(Relaxed);
        let is_due = due != 0 && self.ms(now) >= due;
        (is_due && !self.probing.swap(true, Relaxed)).then(|| Probe(Arc::clone(self)))
    }

    /// Records that the first words of an answer have arrived. Returns true if the channel was resting and now counts
    /// as working.
    pub fn answer_begun(&self) -> bool {
        self.unanswered.store(0, Relaxed);
        !self.is_broken.load(Relaxed) && self.close()
    }

    /// Records that a call has completed. Returns true if the channel was resting.
    pub fn completed(&self) -> bool {
        self.unanswered.store(0, Relaxed);
        self.broken_answers.store(0, Relaxed);
        self.is_broken.store(false, Relaxed);
        self.close()
    }

    fn close(&self) -> bool {
        let closes = self.probe_at.load(Relaxed) != 0 && self.probe_at.swap(0, Relaxed) != 0;
        if closes {
            // The probe has succeeded, although its call may go on for minutes. The next rest gets its own probe.
            self.probing.store(false, Relaxed);
        }
        closes
    }

    /// Records a call that failed through the channel's fault; `answer_begun` is true if that was after its first words.
    /// Returns how long the channel rests, if a rest begins now.
    pub fn failed(&self, probe: Option<Probe>, answer_begun: bool, now: Instant) -> Option<Duration> {
        let first = self.rule.rest.as_millis() as u64;
        let open = self.probe_at.load(Relaxed);
        let rest = if open == 0 {
            let row = if answer_begun { &self.broken_answers } else { &self.unanswered };
            let failures = row.fetch_add(1, Relaxed).saturating_add(1);
            if self.rule.failures == 0 || failures < self.rule.failures {
                return None;
            }
            first
        } else if probe.is_some() {
            (self.rest.load(Relaxed) * 2).min(first * u64::from(MOST_RESTS))
        } else {
            // The rest has begun already. This call ran before, or its task had no other channel.
            return None;
        };
        let until = self.ms(now) + rest.max(1);
        self.rest.store(rest, Relaxed);
        self.is_broken.store(answer_begun, Relaxed);
        let begun = self.probe_at.compare_exchange(open, until, Relaxed, Relaxed);
        begun.is_ok().then_some(Duration::from_millis(rest))
    }

    fn ms(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.origin).as_millis() as u64 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: BreakerRule = BreakerRule { failures: 3, rest: Duration::from_secs(10) };

    fn at(origin: Instant, seconds: u64) -> Instant {
        origin + Duration::from_secs(seconds)
    }

    /// Returns a breaker whose channel rests after repeated failures.
    fn resting() -> (Arc<Breaker>, Instant) {
        let now = Instant::now();
        let breaker = Arc::new(Breaker::new(RULE, now));
        let rests: Vec<_> = (0..3).map(|_| breaker.failed(None, false, now)).collect();
        assert_eq!(rests, [None, None, Some(RULE.rest)]);
        (breaker, now)
    }

    #[test]
    fn a_channel_that_fails_repeatedly_rests_for_a_while() {
        let (breaker, start) = resting();
        assert!(breaker.is_resting(at(start, 9)));
        assert!(!breaker.is_resting(at(start, 10)));
        let states = [9, 10].map(|seconds| breaker.state(at(start, seconds)));
        assert_eq!(states, [BreakerState::Open, BreakerState::HalfOpen]);
        assert!(breaker.completed());
        assert_eq!(breaker.state(at(start, 10)), BreakerState::Closed);
    }

    #[test]
    fn failures_count_only_in_a_row() {
        let now = Instant::now();
        let breaker = Breaker::new(RULE, now);
        for _ in 0..20 {
            assert_eq!(breaker.failed(None, false, now), None);
            assert_eq!(breaker.failed(None, false, now), None);
            assert!(!breaker.completed());
        }
        assert!(!breaker.is_resting(now));
    }

    #[test]
    fn first_words_reset_one_counter_and_only_an_end_resets_both() {
        let now = Instant::now();
        let breaker = Breaker::new(RULE, now);
        for _ in 0..20 {
            assert_eq!(breaker.failed(None, false, now), None);
            assert_eq!(breaker.failed(None, false, now), None);
            assert!(!breaker.answer_begun());
        }
        for _ in 0..2 {
            assert!(!breaker.answer_begun());
            assert_eq!(breaker.failed(None, true, now), None);
        }
        assert_eq!(breaker.failed(None, true, now), Some(RULE.rest));
        assert!(!breaker.answer_begun(), "first words do not close it");
        assert!(breaker.is_resting(now));
        assert!(breaker.completed());
        assert!(!breaker.is_resting(now));
    }

    #[test]
    fn one_probe_decides_even_if_it_takes_a_long_time() {
        let (breaker, start) = resting();
        assert!(breaker.enter(at(start, 5)).is_none());
        let probe = breaker.enter(at(start, 10)).unwrap();
        assert!(breaker.is_resting(at(start, 500)), "while the probe runs, no other call is made");
        assert!(breaker.enter(at(start, 500)).is_none());
        assert!(breaker.completed());
        drop(probe);
        assert!(!breaker.is_resting(at(start, 501)));
        assert!(breaker.enter(at(start, 501)).is_none());
    }

    #[test]
    fn each_failed_probe_doubles_the_rest_up_to_a_limit() {
        let (breaker, start) = resting();
        let mut now = start;
        let rests: Vec<u64> = (0..5)
            .map(|_| {
                while breaker.is_resting(now) {
                    now += Duration::from_secs(1);
                }
                let probe = breaker.enter(now);
                assert!(probe.is_some());
                breaker.failed(probe, false, now).unwrap().as_secs()
            })
            .collect();
        assert_eq!(rests, [20, 40, 80, 80, 80]);
    }

    #[test]
    fn calls_that_ran_before_the_rest_do_not_prolong_it() {
        let (breaker, start) = resting();
        assert_eq!(breaker.failed(None, false, at(start, 9)), None);
        assert!(!breaker.is_resting(at(start, 10)));
    }

    #[test]
    fn a_probe_whose_call_goes_on_does_not_block_the_next_probe() {
        let (breaker, start) = resting();
        let _goes_on = breaker.enter(at(start, 10)).unwrap();
        assert!(breaker.answer_begun());
        for _ in 0..3 {
            breaker.failed(None, false, at(start, 20));
        }
        assert!(breaker.is_resting(at(start, 29)));
        assert!(!breaker.is_resting(at(start, 30)));
        assert!(breaker.enter(at(start, 30)).is_some());
    }

    #[test]
    fn an_unused_probe_goes_to_another_call() {
        let (breaker, start) = resting();
        drop(breaker.enter(at(start, 10)).unwrap());
        assert!(!breaker.is_resting(at(start, 10)));
        assert!(breaker.enter(at(start, 10)).is_some());
    }

    #[test]
    fn a_channel_without_a_limit_never_rests() {
        let now = Instant::now();
        let breaker = Breaker::new(BreakerRule { failures: 0, ..RULE }, now);
        assert!((0..1000).all(|_| breaker.failed(None, false, now).is_none()));
        assert!(!breaker.is_resting(now));
    }
}
