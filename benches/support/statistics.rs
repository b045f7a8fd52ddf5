//! Medians, percentiles and spreads of many figures.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::Outcome;

/// The significant digits of percentiles.
const DIGITS: u8 = 3;
/// The longest time that is distinguished: an hour.
const MOST_NS: u64 = 3_600_000_000_000;

/// Returns the median: the value in the middle, or the mean of the two in the middle; `NAN` if there are no values.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle), values.len() % 2) {
        (Some(upper), 0) => f64::midpoint(values.get(middle - 1).copied().unwrap_or(*upper), *upper),
        (Some(value), _) => *value,
        (None, _) => f64::NAN,
    }
}

/// The distribution of many durations, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

/// Collects many durations; its size does not depend on how many.
#[derive(Debug)]
pub(crate) struct Durations(Histogram<u64>);

impl Durations {
    pub(crate) fn new() -> Outcome<Self> {
        Ok(Self(Histogram::new_with_max(MOST_NS, DIGITS)?))
    }

    /// Adds a duration, in nanoseconds.
    pub(crate) fn add(&mut self, nanoseconds: u64) {
        self.0.saturating_record(nanoseconds);
    }

    pub(crate) fn spread(&self) -> Spread {
        let milliseconds = |nanoseconds: u64| nanoseconds as f64 / 1e6;
        Spread {
            p50: milliseconds(self.0.value_at_quantile(0.5)),
            p99: milliseconds(self.0.value_at_quantile(0.99)),
            max: milliseconds(self.0.max()),
        }
    }
}
