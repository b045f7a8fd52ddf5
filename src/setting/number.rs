//! Describes numbers, with their units.

use super::Problem;

/// Describes a whole number, with its unit if the key's name has one.
#[must_use]
pub fn whole_number(key: &str) -> String {
    let units = [("_bytes", "bytes"), ("_ms", "milliseconds"), ("_seconds", "seconds")];
    match units.into_iter().find(|(end, _)| key.ends_with(end)) {
        Some((_, unit)) => format!("a whole number of {unit}"),
        None => "a whole number".to_owned(),
    }
}

/// Makes the problem of a key that needs 1 or more and has 0.
pub(super) fn zero_problem(key: &str) -> Problem {
    Problem::value(key, format!("{} of 1 or more is needed, and this is 0", whole_number(key)))
}
