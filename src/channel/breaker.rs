//! The breaker of a channel: after several failures in a row the channel is left alone for a while, then tried with
//! one call, the probe. If that works, all is as before; if not, it is left alone for twice as long.
//!
//! It is asked and told from many threads and waits for none of them: it is made of atomics, and of the time that is
//! passed in. Whether a channel that rests is asked all the same, because there is no other, is not decided here.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::config::BreakerRule;

/// The longest rest, as a multiple of the first one.
const MOST_RESTS: u32 = 8;

/// The breaker of one channel. Each value is right by itself; that two of them may be changed by different calls at
/// the same moment can cost a probe more or less, and nothing else.
#[derive(Debug)]
pub struct Breaker {
    rule: BreakerRule,
    origin: Instant,
    /// Failures since a call worked.
    failures: AtomicU32,
    /// When the probe may go, in milliseconds after the origin; 0 while the channel works.
    probe_at: AtomicU64,
    /// How long the channel rests at present, in milliseconds.
    rest: AtomicU64,
}

/// As what a call goes to the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// As one of many.
    Plain,
    /// As the one by which is seen whether the channel works again.
    Probe,
}

impl Breaker {
    /// A breaker of a channel of which nothing bad is known.
    #[must_use]
    pub fn new(rule: BreakerRule, now: Instant) -> Self {
        Self {
            rule,
            origin: now,
            failures: AtomicU32::new(0),
            probe_at: AtomicU64::new(0),
            rest: AtomicU64::new(0),
        }
    }

    /// Is the channel to be left alone?
    #[must_use]
    pub fn is_resting(&self, now: Instant) -> bool {
        self.ms(now) < self.probe_at.load(Relaxed)
    }

    /// A call goes to the channel. While it rests, and where others have sent the probe already, this one is plain.
    #[must_use]
    pub fn enter(&self, now: Instant) -> Entry {
        let (due, now) = (self.probe_at.load(Relaxed), self.ms(now));
        if due == 0 || now < due {
            return Entry::Plain;
        }
        // Should nothing be heard of the probe, the next one goes after as long again.
        let next = now + self.rest.load(Relaxed).max(1);
        match self.probe_at.compare_exchange(due, next, Relaxed, Relaxed) {
            Ok(_) => Entry::Probe,
            Err(_) => Entry::Plain,
        }
    }

    /// A call has worked. Returns whether the channel was thought not to.
    pub fn worked(&self) -> bool {
        self.failures.store(0, Relaxed);
        self.probe_at.load(Relaxed) != 0 && self.probe_at.swap(0, Relaxed) != 0
    }

    /// A call has failed in a way that speaks against the channel. Returns how long it is left alone, if that begins
    /// or begins again with this.
    pub fn failed(&self, entry: Entry, now: Instant) -> Option<Duration> {
        let first = self.rule.rest.as_millis() as u64;
        let open = self.probe_at.load(Relaxed);
        let rest = if open == 0 {
            let failures = self.failures.fetch_add(1, Relaxed).saturating_add(1);
            if self.rule.failures == 0 || failures < self.rule.failures {
                return None;
            }
            first
        } else if entry == Entry::Probe {
            (self.rest.load(Relaxed) * 2).min(first * u64::from(MOST_RESTS))
        } else {
            // One of those that were under way when it began, or that had no other channel.
            return None;
        };
        let until = self.ms(now) + rest.max(1);
        self.rest.store(rest, Relaxed);
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

    /// A breaker whose channel has just failed so often that it rests.
    fn resting() -> (Breaker, Instant) {
        let now = Instant::now();
        let breaker = Breaker::new(RULE, now);
        let rests: Vec<_> = (0..3).map(|_| breaker.failed(Entry::Plain, now)).collect();
        assert_eq!(rests, [None, None, Some(RULE.rest)]);
        (breaker, now)
    }

    #[test]
    fn a_channel_that_fails_repeatedly_is_left_alone_for_a_while() {
        let (breaker, start) = resting();
        assert!(breaker.is_resting(at(start, 9)));
        assert!(!breaker.is_resting(at(start, 10)));
    }

    #[test]
    fn failures_count_only_in_a_row() {
        let now = Instant::now();
        let breaker = Breaker::new(RULE, now);
        for _ in 0..20 {
            assert_eq!(breaker.failed(Entry::Plain, now), None);
            assert_eq!(breaker.failed(Entry::Plain, now), None);
            assert!(!breaker.worked());
        }
        assert!(!breaker.is_resting(now));
    }

    #[test]
    fn one_probe_decides() {
        let (breaker, start) = resting();
        let due = at(start, 10);
        assert_eq!(breaker.enter(at(start, 5)), Entry::Plain);
        assert_eq!(breaker.enter(due), Entry::Probe);
        assert!(breaker.is_resting(due), "while the probe is under way the others stay away");
        assert_eq!(breaker.enter(due), Entry::Plain);
        assert!(breaker.worked());
        assert!(!breaker.is_resting(due));
        assert_eq!(breaker.enter(due), Entry::Plain);
    }

    #[test]
    fn each_probe_that_fails_doubles_the_rest_up_to_a_bound() {
        let (breaker, start) = resting();
        let mut now = start;
        let rests: Vec<u64> = (0..5)
            .map(|_| {
                while breaker.is_resting(now) {
                    now += Duration::from_secs(1);
                }
                assert_eq!(breaker.enter(now), Entry::Probe);
                breaker.failed(Entry::Probe, now).unwrap().as_secs()
            })
            .collect();
        assert_eq!(rests, [20, 40, 80, 80, 80]);
    }

    #[test]
    fn calls_that_were_under_way_prolong_nothing() {
        let (breaker, start) = resting();
        assert_eq!(breaker.failed(Entry::Plain, at(start, 9)), None);
        assert!(!breaker.is_resting(at(start, 10)));
    }

    #[test]
    fn a_probe_of_which_nothing_is_heard_is_followed_by_another() {
        let (breaker, start) = resting();
        assert_eq!(breaker.enter(at(start, 10)), Entry::Probe);
        assert!(breaker.is_resting(at(start, 19)));
        assert_eq!(breaker.enter(at(start, 20)), Entry::Probe);
    }

    #[test]
    fn without_a_rule_nothing_is_left_alone() {
        let now = Instant::now();
        let breaker = Breaker::new(BreakerRule { failures: 0, ..RULE }, now);
        assert!((0..1000).all(|_| breaker.failed(Entry::Plain, now).is_none()));
        assert!(!breaker.is_resting(now));
    }
}
