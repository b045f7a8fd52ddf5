//! Texts about numbers, with their units.

use super::Problem;

/// Describes a whole number, with its unit if the key's name has one.
#[must_use]
pub fn whole(key: &str) -> String {
    let units = [("_bytes", "bytes"), ("_ms", "milliseconds"), ("_seconds", "seconds")];
    match units.into_iter().find(|(end, _)| key.ends_with(end)) {
        Some((_, unit)) => format!("a whole number of {unit}"),
        None => "a whole number".to_owned(),
    }
}

/// Makes the problem that a number is 0 and a key needs 1 or more.
pub(super) fn is_zero(key: &str) -> Problem {
    Problem::value(key, format!("{} of 1 or more is needed, and this is 0", whole(key)))
}
