//! The breaker of a channel: after several failures in a row the channel is left alone for a while, then tried with
//! one call, the probe. If that works, all is as before; if not, it is left alone for twice as long.
//!
//! There are two rows. Calls that fail before anything is heard of an answer are a row that the first words of any
//! call end: an answer may take minutes, and a channel that speaks works. Calls that break behind their first words are a
//! row that only an answer's end does: a channel that cuts each of them does not.
//!
//! It is asked and told from many threads and waits for none of them: it is made of atomics, and of the time that is
//! passed in. Whether a channel that rests is asked all the same, because there is no other, is not decided here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The longest rest, as a multiple of the first one.
const MOST_RESTS: u32 = 8;

/// When a channel is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerRule {
    /// Failures in a row; with 0 it is never left alone.
    pub failures: u32,
    /// How long, the first time; it doubles up to eight times as long.
    pub rest: Duration,
}

/// What a channel's breaker says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// The channel works.
    Closed,
    /// The channel is left alone.
    Open,
    /// The channel is probed, or will be with the next call.
    HalfOpen,
}

impl BreakerState {
    /// Every word that [`as_str`](Self::as_str) returns.
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

/// The breaker of one channel. Each value is right by itself; that two of them may be changed by different calls at
/// the same moment can cost a probe more or less, and nothing else.
#[derive(Debug)]
pub struct Breaker {
    rule: BreakerRule,
    origin: Instant,
    /// Calls that have failed without a word since any had one.
    silences: AtomicU32,
    /// Calls that have broken behind their first words since any came to its end.
    breaks: AtomicU32,
    /// True if the channel rests because of those.
    is_broken: AtomicBool,
    /// When the probe may go, in milliseconds after the origin; 0 while the channel works.
    probe_at: AtomicU64,
    /// True while the probe is under way.
    probing: AtomicBool,
    /// How long the channel rests at present, in milliseconds.
    rest: AtomicU64,
}

/// The right to be the one call by which is seen whether a channel works again. Dropped unused, it is there for another
/// call.
#[derive(Debug)]
pub struct Probe(Arc<Breaker>);

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.probing.store(false, Relaxed);
    }
}

impl Breaker {
    /// A breaker of a channel of which nothing bad is known.
    #[must_use]
    pub fn new(rule: BreakerRule, now: Instant) -> Self {
        Self {
            rule,
            origin: now,
            silences: AtomicU32::new(0),
            breaks: AtomicU32::new(0),
            is_broken: AtomicBool::new(false),
            probe_at: AtomicU64::new(0),
            probing: AtomicBool::new(false),
            rest: AtomicU64::new(0),
        }
    }

    /// Returns true while the channel is to be left alone.
    #[must_use]
    pub fn is_resting(&self, now: Instant) -> bool {
        let due = self.probe_at.load(Relaxed);
        due != 0 && (self.ms(now) < due || self.probing.load(Relaxed))
    }

    /// What it says at this moment.
    #[must_use]
    pub fn state(&self, now: Instant) -> BreakerState {
        match self.probe_at.load(Relaxed) {
            0 => BreakerState::Closed,
            due if self.ms(now) < due => BreakerState::Open,
            _ => BreakerState::HalfOpen,
        }
    }

    /// Somebody is about to call the channel: as its probe, if that is due and nobody is it.
    #[must_use]
    pub fn enter(self: &Arc<Self>, now: Instant) -> Option<Probe> {
        let due = self.probe_at.load(Relaxed);
        let is_due = due != 0 && self.ms(now) >= due;
        (is_due && !self.probing.swap(true, Relaxed)).then(|| Probe(Arc::clone(self)))
    }

    /// The first words of an answer have come. Returns whether the channel was thought not to work, and is not any more.
    pub fn spoke(&self) -> bool {
        self.silences.store(0, Relaxed);
        !self.is_broken.load(Relaxed) && self.close()
    }

    /// A call has come to its end. Returns whether the channel was thought not to work.
    pub fn worked(&self) -> bool {
        self.silences.store(0, Relaxed);
        self.breaks.store(0, Relaxed);
        self.is_broken.store(false, Relaxed);
        self.close()
    }

    fn close(&self) -> bool {
        let closes = self.probe_at.load(Relaxed) != 0 && self.probe_at.swap(0, Relaxed) != 0;
        if closes {
            // The probe has done its work, although its call may go on for minutes: the next rest has one of its own.
            self.probing.store(false, Relaxed);
        }
        closes
    }

    /// A call has failed in a way that speaks against the channel, behind its first words if `spoke`. Returns how long
    /// the channel is left alone, if that begins or begins again with this.
    pub fn failed(&self, probe: Option<Probe>, spoke: bool, now: Instant) -> Option<Duration> {
        let first = self.rule.rest.as_millis() as u64;
        let open = self.probe_at.load(Relaxed);
        let rest = if open == 0 {
            let row = if spoke { &self.breaks } else { &self.silences };
            let failures = row.fetch_add(1, Relaxed).saturating_add(1);
            if self.rule.failures == 0 || failures < self.rule.failures {
                return None;
            }
            first
        } else if probe.is_some() {
            (self.rest.load(Relaxed) * 2).min(first * u64::from(MOST_RESTS))
        } else {
            // One of those that were under way when it began, or that had no other channel.
            return None;
        };
        let until = self.ms(now) + rest.max(1);
        self.rest.store(rest, Relaxed);
        self.is_broken.store(spoke, Relaxed);
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
    fn resting() -> (Arc<Breaker>, Instant) {
        let now = Instant::now();
        let breaker = Arc::new(Breaker::new(RULE, now));
        let rests: Vec<_> = (0..3).map(|_| breaker.failed(None, false, now)).collect();
        assert_eq!(rests, [None, None, Some(RULE.rest)]);
        (breaker, now)
    }

    #[test]
    fn a_channel_that_fails_repeatedly_is_left_alone_for_a_while() {
        let (breaker, start) = resting();
        assert!(breaker.is_resting(at(start, 9)));
        assert!(!breaker.is_resting(at(start, 10)));
        let states = [9, 10].map(|seconds| breaker.state(at(start, seconds)));
        assert_eq!(states, [BreakerState::Open, BreakerState::HalfOpen]);
        assert!(breaker.worked());
        assert_eq!(breaker.state(at(start, 10)), BreakerState::Closed);
    }

    #[test]
    fn failures_count_only_in_a_row() {
        let now = Instant::now();
        let breaker = Breaker::new(RULE, now);
        for _ in 0..20 {
            assert_eq!(breaker.failed(None, false, now), None);
            assert_eq!(breaker.failed(None, false, now), None);
            assert!(!breaker.worked());
        }
        assert!(!breaker.is_resting(now));
    }

    #[test]
    fn first_words_end_the_row_of_silences_and_only_an_end_that_of_breaks() {
        let now = Instant::now();
        let breaker = Breaker::new(RULE, now);
        for _ in 0..20 {
            assert_eq!(breaker.failed(None, false, now), None);
            assert_eq!(breaker.failed(None, false, now), None);
            assert!(!breaker.spoke());
        }
        for _ in 0..2 {
            assert!(!breaker.spoke());
            assert_eq!(breaker.failed(None, true, now), None);
        }
        assert_eq!(breaker.failed(None, true, now), Some(RULE.rest));
        assert!(!breaker.spoke(), "that it speaks says nothing new");
        assert!(breaker.is_resting(now));
        assert!(breaker.worked());
        assert!(!breaker.is_resting(now));
    }

    #[test]
    fn one_probe_decides_however_long_it_takes() {
        let (breaker, start) = resting();
        assert!(breaker.enter(at(start, 5)).is_none());
        let probe = breaker.enter(at(start, 10)).unwrap();
        assert!(breaker.is_resting(at(start, 500)), "while the probe is under way the others stay away");
        assert!(breaker.enter(at(start, 500)).is_none());
        assert!(breaker.worked());
        drop(probe);
        assert!(!breaker.is_resting(at(start, 501)));
        assert!(breaker.enter(at(start, 501)).is_none());
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
                let probe = breaker.enter(now);
                assert!(probe.is_some());
                breaker.failed(probe, false, now).unwrap().as_secs()
            })
            .collect();
        assert_eq!(rests, [20, 40, 80, 80, 80]);
    }

    #[test]
    fn calls_that_were_under_way_prolong_nothing() {
        let (breaker, start) = resting();
        assert_eq!(breaker.failed(None, false, at(start, 9)), None);
        assert!(!breaker.is_resting(at(start, 10)));
    }

    #[test]
    fn a_probe_whose_call_goes_on_does_not_stand_in_the_way_of_the_next_one() {
        let (breaker, start) = resting();
        let _goes_on = breaker.enter(at(start, 10)).unwrap();
        assert!(breaker.spoke());
        for _ in 0..3 {
            breaker.failed(None, false, at(start, 20));
        }
        assert!(breaker.is_resting(at(start, 29)));
        assert!(!breaker.is_resting(at(start, 30)));
        assert!(breaker.enter(at(start, 30)).is_some());
    }

    #[test]
    fn a_probe_that_was_not_used_is_there_for_another() {
        let (breaker, start) = resting();
        drop(breaker.enter(at(start, 10)).unwrap());
        assert!(!breaker.is_resting(at(start, 10)));
        assert!(breaker.enter(at(start, 10)).is_some());
    }

    #[test]
    fn without_a_rule_nothing_is_left_alone() {
        let now = Instant::now();
        let breaker = Breaker::new(BreakerRule { failures: 0, ..RULE }, now);
        assert!((0..1000).all(|_| breaker.failed(None, false, now).is_none()));
        assert!(!breaker.is_resting(now));
    }
}
