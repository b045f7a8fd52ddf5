//! Medians and percentiles.

use crate::support::statistics::{Durations, median};

#[test]
fn the_median_of_no_values_is_not_a_number() {
    assert!(median(std::iter::empty()).is_nan());
    assert!((median([3.0, 1.0, 2.0].into_iter()) - 2.0).abs() < f64::EPSILON);
    assert!((median([4.0, 1.0].into_iter()) - 2.5).abs() < f64::EPSILON);
}

#[test]
fn percentiles_are_right_to_a_thousandth() {
    let mut durations = Durations::new().unwrap();
    for microseconds in 1..=100_000 {
        durations.add(microseconds * 1_000);
    }
    let spread = durations.spread();
    for (found, right) in [(spread.p50, 50.0), (spread.p99, 99.0), (spread.max, 100.0)] {
        assert!((found - right).abs() <= right / 1_000.0, "{found} for {right}");
    }
}
