//! The command lines of the benchmarks: `--name value`, in any order. Cargo also passes on the arguments for the test
//! harness, which these benchmarks do not have, so unknown names are ignored.

use super::Outcome;

/// The largest number: more than any machine holds, and small enough for a product of two.
const MOST: u64 = 1_000_000;

/// The arguments of the command line.
#[derive(Debug)]
pub(crate) struct Arguments(Vec<String>);

impl Arguments {
    pub(crate) fn of(words: impl Iterator<Item = String>) -> Self {
        Self(words.collect())
    }

    /// Returns true if `cargo bench` started this, and not `cargo test`.
    pub(crate) fn is_bench(&self) -> bool {
        self.0.iter().any(|word| word == "--bench")
    }

    /// Returns the values behind a name, in order.
    pub(crate) fn values(&self, name: &str) -> Outcome<Vec<&str>> {
        let places = self.0.iter().enumerate().filter(|(_, word)| *word == name);
        let value = |(at, _)| self.0.get(at + 1).map(String::as_str);
        Ok(places.map(value).collect::<Option<_>>().ok_or_else(|| format!("{name} needs a value"))?)
    }

    /// Returns the last number behind a name, which must be at least `least`.
    pub(crate) fn number<T: TryFrom<u64>>(&self, name: &str, least: u64) -> Outcome<Option<T>> {
        let Some(value) = self.values(name)?.pop() else { return Ok(None) };
        let number = value.parse().ok().filter(|number| (least..=MOST).contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        Ok(Some(number.ok_or_else(|| format!("{name} needs a number from {least} to {MOST}"))?))
    }
}
