//! Checks the values of one section of the configuration.

use std::collections::HashSet;
use std::time::Duration;

use super::number::zero_problem;
use super::{Problem, Variables};
use crate::secret::Secret;

/// The longest time that a key can set, a century. A sum of such a time and a clock's time does not overflow.
const LONGEST_SECONDS: u64 = 3_153_600_000;

/// A section whose values are checked. It knows its path, and the variables that its keys may name.
#[derive(Debug, Clone)]
pub struct Section<'a> {
    path: String,
    variables: &'a Variables,
}

impl<'a> Section<'a> {
    /// Makes a section with its path, as in `fetch` and `channels[0]`. The path of the top level is empty.
    #[must_use]
    pub fn new(path: impl Into<String>, variables: &'a Variables) -> Self {
        Self { path: path.into(), variables }
    }

    /// Returns the path of a key, as in `fetch.max_bytes`.
    #[must_use]
    pub fn key(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Returns the variables that keys may name.
    #[must_use]
    pub fn variables(&self) -> &'a Variables {
        self.variables
    }

    /// Makes a problem with a key. The reason says what to do.
    #[must_use]
    pub fn problem(&self, name: &str, reason: impl Into<String>) -> Problem {
        Problem::new(self.key(name), reason)
    }

    /// Makes a problem with the value of a key. Its message ends with an example of a good value.
    #[must_use]
    pub fn wrong(&self, name: &str, reason: impl Into<String>) -> Problem {
        Problem::value(self.key(name), reason)
    }

    /// Checks a number of 1 or more, and limits it to a century in milliseconds.
    ///
    /// # Errors
    /// [`Problem`] for 0.
    pub fn positive(&self, name: &str, value: Option<u64>, default: u64) -> Result<u64, Problem> {
        match value {
            Some(0) => Err(zero_problem(&self.key(name))),
            Some(value) => Ok(value.min(LONGEST_SECONDS * 1000)),
            None => Ok(default),
        }
    }

    /// Checks a count of 1 or more.
    ///
    /// # Errors
    /// [`Problem`] for 0.
    pub fn at_least_one(&self, name: &str, value: Option<usize>, default: usize) -> Result<usize, Problem> {
        self.positive(name, value.map(|value| value as u64), default as u64).map(|value| value as usize)
    }

    /// Checks a time of at least 1 s.
    ///
    /// # Errors
    /// [`Problem`] for 0.
    pub fn seconds(&self, name: &str, value: Option<u64>, default: u64) -> Result<Duration, Problem> {
        self.positive(name, value, default).map(Duration::from_secs)
    }

    /// Checks a time of at least 1 ms.
    ///
    /// # Errors
    /// [`Problem`] for 0.
    pub fn milliseconds(&self, name: &str, value: Option<u64>, default: u64) -> Result<Duration, Problem> {
        self.positive(name, value, default).map(Duration::from_millis)
    }

    /// Returns a time that may be 0, limited to a century.
    #[must_use]
    pub fn any_time(value: Duration) -> Duration {
        value.min(Duration::from_secs(LONGEST_SECONDS))
    }

    /// Returns a secret, either from the configuration itself or from the variable that `{name}_env` names.
    ///
    /// # Errors
    /// [`Problem`] if both or neither are set, or if the value cannot be a secret. The problem never contains the
    /// value.
    pub fn secret(&self, name: &str, text: Option<String>, named: Option<&str>) -> Result<Secret, Problem> {
        let key = self.key(name);
        let (key, text, found) = match (text.filter(|text| !text.is_empty()), named) {
            (Some(_), Some(_)) => {
                let problem = Problem::new(&*key, format!("{key}_env is also set"));
                return Err(problem.advise("remove one of the two"));
            }
            (Some(text), None) => (key, text, "it".to_owned()),
            (None, Some(name)) => {
                let (plain, key) = (&key, format!("{key}_env"));
                let unset = || {
                    Problem::new(&*key, format!("{name} is not set in the environment"))
                        .advise(format!("set it, or set {plain} instead"))
                };
                let text = self.variables.text(name)?.ok_or_else(unset)?.trim().to_owned();
                (key, text, format!("the value of {name}"))
            }
            (None, None) => {
                let advice = format!("set it, or {key}_env to the name of a variable");
                return Err(Problem::value(key, "it is missing or empty").advise(advice));
            }
        };
        if let [b'"' | b'\'', .., b'"' | b'\''] = text.as_bytes() {
            let reason = format!("the quotes around {found} are a part of it");
            return Err(Problem::new(key, reason).advise("remove them"));
        }
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Secret::new(text))
        } else {
            let reason = format!("{found} contains white space or characters that no API key has");
            Err(Problem::new(key, reason).advise("copy the key again"))
        }
    }
}

/// Checks that no two entries of a list have the same name.
///
/// # Errors
/// [`Problem`] with the name of the second entry.
pub fn distinct_names<'a>(list: &str, names: impl Iterator<Item = &'a str>) -> Result<(), Problem> {
    let mut seen = HashSet::new();
    for (index, name) in names.enumerate() {
        if !seen.insert(name) {
            let reason = format!("{name:?} is also the name of another entry of {list}");
            let problem = Problem::value(format!("{list}[{index}].name"), reason);
            return Err(problem.advise("give it another name"));
        }
    }
    Ok(())
}
