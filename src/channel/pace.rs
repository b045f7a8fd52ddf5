//! The pace at which waiting tasks get their turn: what a submit that finds no place is told about when to come back.

use std::time::{Duration, Instant};

/// Turns are counted over the current window of this length and the one before it.
const WINDOW: Duration = Duration::from_secs(60);
/// What is said before anything is known.
const UNKNOWN: Duration = Duration::from_secs(5);
/// Nobody is sent away for longer: much may happen meanwhile.
const LONGEST: Duration = Duration::from_secs(300);

/// The pace of a line: how many have had their turn in how much time. With each turn a place comes free. They may come
/// in bursts, so it is not the gaps that count.
#[derive(Debug, Default)]
pub struct Pace {
    /// When the current window began.
    window: Option<Instant>,
    turns: u32,
    /// Those of the window before, and how long it was.
    before: (u32, Duration),
    /// The last turn, or when the line began.
    last: Option<Instant>,
}

impl Pace {
    /// Somebody begins to wait where nobody did: the time before this says nothing.
    pub fn begins(&mut self, now: Instant) {
        if let Some(window) = self.window {
            self.close(window, self.last.unwrap_or(now));
        }
        self.window = Some(now);
        self.last = Some(now);
    }

    /// Somebody who waited got their turn.
    pub fn turn(&mut self, now: Instant) {
        match self.window {
            Some(window) if now.saturating_duration_since(window) < WINDOW => {}
            Some(window) => {
                self.close(window, now);
                self.window = Some(now);
            }
            None => self.window = Some(now),
        }
        self.turns = self.turns.saturating_add(1);
        self.last = Some(now);
    }

    fn close(&mut self, window: Instant, end: Instant) {
        if self.turns > 0 {
            self.before = (self.turns, end.saturating_duration_since(window));
        }
        self.turns = 0;
    }

    /// After what time there will be a place, as far as anybody can know.
    #[must_use]
    pub fn next(&self, now: Instant) -> Duration {
        let age = |since: Option<Instant>| {
            since.map(|since| now.saturating_duration_since(since)).unwrap_or_default()
        };
        let (turns, time) = self.before;
        let gap = match turns.saturating_add(self.turns) {
            0 => UNKNOWN,
            turns => (time + age(self.window)) / turns,
        };
        // A line that has stood for longer than it used to will not move at once.
        gap.max(age(self.last)).min(LONGEST)
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
    fn turns_that_come_in_bursts_are_as_far_apart_as_they_are_on_average() {
        let start = Instant::now();
        let mut pace = Pace::default();
        pace.begins(start);
        let mut now = start;
        for _ in 0..4 {
            now += Duration::from_secs(40);
            (0..8).for_each(|_| pace.turn(now));
        }
        assert!((3..=6).contains(&seconds(pace.next(now))), "{:?}", pace.next(now));
    }

    #[test]
    fn a_line_that_stands_is_not_said_to_move() {
        let start = Instant::now();
        let mut pace = Pace::default();
        pace.begins(start);
        pace.turn(start + Duration::from_secs(1));
        assert!((40..=41).contains(&seconds(pace.next(start + Duration::from_secs(41)))));
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
