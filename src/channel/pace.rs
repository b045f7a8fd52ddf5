//! The pace at which waiting tasks get a slot. The `Retry-After` of a refused submit is computed from it.

use std::time::{Duration, Instant};

/// The length of a window. The turns of the current window and the one before it are counted.
const WINDOW: Duration = Duration::from_secs(60);
/// The wait that is returned before any task had its turn.
const UNKNOWN: Duration = Duration::from_secs(5);
/// The longest wait that is returned, because the load may change before it ends.
const LONGEST: Duration = Duration::from_secs(300);

/// The pace of a queue: how many waiting tasks have got a slot (a turn) in how much time. Each turn frees a place in
/// the queue. Turns may come in bursts, so the average over a window is used.
#[derive(Debug, Default)]
pub struct Pace {
    /// When the current window began.
    window: Option<Instant>,
    turns: u32,
    /// The turns of the window before, and its length.
    before: (u32, Duration),
    /// When the last turn was, or when the queue began.
    last: Option<Instant>,
}

impl Pace {
    /// Records that a task begins to wait in an empty queue. The time before this does not count.
    pub fn queue_begins(&mut self, now: Instant) {
        if let Some(window) = self.window {
            self.close(window, self.last.unwrap_or(now));
        }
        self.window = Some(now);
        self.last = Some(now);
    }

    /// Records that a waiting task got a slot.
    pub fn record_turn(&mut self, now: Instant) {
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

    /// Returns the expected time until a place in the queue is free.
    #[must_use]
    pub fn expected_wait(&self, now: Instant) -> Duration {
        let age = |since: Option<Instant>| {
            since.map(|since| now.saturating_duration_since(since)).unwrap_or_default()
        };
        let (turns, time) = self.before;
        let gap = match turns.saturating_add(self.turns) {
            0 => UNKNOWN,
            turns => (time + age(self.window)) / turns,
        };
        // If the last turn was longer ago than the average, the next one is not expected earlier than that.
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
    fn the_wait_is_the_average_time_of_a_turn() {
        let start = Instant::now();
        let mut pace = Pace::default();
        pace.queue_begins(start);
        let mut now = start;
        for _ in 0..50 {
            now += Duration::from_secs(3);
            pace.record_turn(now);
        }
        assert_eq!(seconds(pace.expected_wait(now)), 3);
    }

    #[test]
    fn the_wait_for_turns_in_bursts_is_their_average_distance() {
        let start = Instant::now();
        let mut pace = Pace::default();
        pace.queue_begins(start);
        let mut now = start;
        for _ in 0..4 {
            now += Duration::from_secs(40);
            (0..8).for_each(|_| pace.record_turn(now));
        }
        assert!((3..=6).contains(&seconds(pace.expected_wait(now))), "{:?}", pace.expected_wait(now));
    }

    #[test]
    fn a_queue_that_does_not_move_makes_the_wait_longer() {
        let start = Instant::now();
        let mut pace = Pace::default();
        pace.queue_begins(start);
        pace.record_turn(start + Duration::from_secs(1));
        assert!((40..=41).contains(&seconds(pace.expected_wait(start + Duration::from_secs(41)))));
        assert_eq!(pace.expected_wait(start + Duration::from_secs(4000)), LONGEST);
    }

    #[test]
    fn time_without_a_queue_does_not_count() {
        let start = Instant::now();
        let mut pace = Pace::default();
        pace.queue_begins(start);
        pace.record_turn(start + Duration::from_secs(2));
        let later = start + Duration::from_secs(1000);
        pace.queue_begins(later);
        assert_eq!(seconds(pace.expected_wait(later)), 2);
        assert_eq!(seconds(Pace::default().expected_wait(later)), 5);
    }
}
