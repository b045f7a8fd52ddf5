//! What becomes of many figures.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::Outcome;

/// Percentiles are told to this many significant digits.
const DIGITS: u8 = 3;
/// What takes longer is told as this: an hour.
const MOST_NS: u64 = 3_600_000_000_000;

/// The value in the middle; of an even number the mean of the two; of none `NAN`.
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

/// How long many things took, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

/// Collects how long many things took; its size does not depend on how many.
#[derive(Debug)]
pub(crate) struct Durations(Histogram<u64>);

impl Durations {
    pub(crate) fn new() -> Outcome<Self> {
        Ok(Self(Histogram::new_with_max(MOST_NS, DIGITS)?))
    }

    /// Adds one, in nanoseconds.
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
