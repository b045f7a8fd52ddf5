//! Describes a problem in one line: where the value was set, what is wrong with it, what to write.

use std::fmt;

use super::origin::Origins;
use super::words::worded;
use crate::setting::{Problem, Subject};

/// A configuration that cannot be used, described in one line: the place, the key, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(pub(super) String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// Describes a problem, with the place where the value was set.
pub(super) fn told(problem: &Problem, origins: &Origins<'_>) -> ConfigError {
    let (reason, advice, wants_example) = worded(problem);
    let (place, example) = match &problem.subject {
        Subject::Variable(name) => (format!("{name} (environment)"), None),
        Subject::Key(key) => {
            let origin = origins.of(key);
            let example = if wants_example { origin.example(key) } else { None };
            (origin.place, example)
        }
    };
    let rest = match (advice, example) {
        (Some(advice), Some(example)) => format!(": {advice}, as in {example}"),
        (Some(advice), None) => format!(": {advice}"),
        (None, Some(example)) => format!(": write it as in {example}"),
        (None, None) => String::new(),
    };
    ConfigError(format!("{place}: {reason}{rest}"))
}
