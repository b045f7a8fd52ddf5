//! The pace at which waiting tasks get their turn: what a submit that finds no place is told about when to come back.

use std::time::{Duration, Instant};

/// The weight of the newest gap in the mean.
const NEWEST: f64 = 0.2;
/// What is said before anything is known.
const UNKNOWN: Duration = Duration::from_secs(5);
/// Nobody is sent away for longer: much may happen meanwhile.
const LONGEST: Duration = Duration::from_secs(300);

/// The pace of a line: how far apart its turns are. With each turn a place comes free.
#[derive(Debug, Default)]
pub struct Pace {
    /// The mean gap between two turns, in seconds.
    gap: Option<f64>,
    /// The last turn, or when the line began.
    last: Option<Instant>,
}

impl Pace {
    /// Somebody begins to wait where nobody did: the time before this says nothing.
    pub fn begins(&mut self, now: Instant) {
        self.last = Some(now);
    }

    /// Somebody who waited got their turn.
    pub fn turn(&mut self, now: Instant) {
        if let Some(last) = self.last.replace(now) {
            let gap = now.saturating_duration_since(last).as_secs_f64();
            self.gap = Some(self.gap.map_or(gap, |mean| mean + NEWEST * (gap - mean)));
        }
    }

    /// After what time there will be a place, as far as anybody can know.
    #[must_use]
    pub fn next(&self, now: Instant) -> Duration {
        let since = self.last.map(|last| now.saturating_duration_since(last)).unwrap_or_default();
        let gap = self.gap.and_then(|gap| Duration::try_from_secs_f64(gap).ok()).unwrap_or(UNKNOWN);
        // A line that has stood for longer than it used to will not move at once.
        gap.max(since).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(wait: Duration) -> u64 {
        wait.as_secs_f64().round() as u64
    }

    #[test]
    fn it_is_told_how_long_a_turn_takes() {
        let start = Instant::now();
        let mut pace = Pace::default();
        pace.begins(start);
        let mut now = start;
        for _ in 0..50 {
            now += Duration::from_secs(3);
            pace.turn(now);
        }
        assert_eq!(seconds(pace.next(now)), 3);
    }

    #[test]
    fn a_line_that_stands_is_not_said_to_move() {
        let start = Instant::now();
        let mut pace = Pace::default();
        pace.begins(start);
        pace.turn(start + Duration::from_secs(1));
        assert_eq!(seconds(pace.next(start + Duration::from_secs(41))), 40);
        assert_eq!(pace.next(start + Duration::from_secs(4000)), LONGEST);
    }

    #[test]
    fn time_without_a_line_says_nothing() {
        let start = Instant::now();
        let mut pace = Pace::default();
        pace.begins(start);
        pace.turn(start + Duration::from_secs(2));
        let later = start + Duration::from_secs(1000);
        pace.begins(later);
        assert_eq!(seconds(pace.next(later)), 2);
        assert_eq!(seconds(Pace::default().next(later)), 5);
    }
}
