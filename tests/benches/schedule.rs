//! Schedules of publishers.

use crate::support::clock::now;
use crate::support::fan::schedule::{Due, Schedule};
use crate::support::fan::workload::Workload;

fn all(workload: &Workload) -> Vec<Due> {
    let (mut schedule, mut found) = (Schedule::begin(workload).unwrap(), Vec::new());
    while let Some(due) = schedule.next() {
        schedule.make(due);
        found.push(due);
    }
    found
}

#[test]
fn tasks_take_turns_and_are_spread_over_the_interval() {
    let found = all(&Workload::new("any", 2, 1, 10, 1));
    assert_eq!(found.len(), 20);
    let begin = found[0].at;
    for (number, due) in found.iter().enumerate() {
        let number = number as u64;
        let (task, index, at) = ((number % 2) as usize, number / 2, begin + number * 50_000_000);
        assert_eq!(*due, Due { task, index, at });
    }
}

#[test]
fn a_publisher_that_was_held_back_is_not_late() {
    let mut schedule = Schedule::begin(&Workload::new("any", 1, 1, 10, 1)).unwrap();
    let begin = schedule.next().unwrap().at;
    schedule.held_since(now() - 5_000_000_000);
    let due = schedule.next().unwrap();
    assert!(due.at >= begin + 5_000_000_000);
    schedule.make(due);
    let published = schedule.published();
    assert_eq!(published.events, 1);
    assert!(published.held >= 5.0 && published.late.max.abs() < f64::EPSILON);
}
