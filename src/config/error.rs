//! The error of a configuration that cannot be used.

use std::fmt;

use super::origin::Origins;
use super::words::worded;
use crate::setting::{Problem, Subject};

/// A configuration that cannot be used. The text is one line: where the value was set, what is wrong with it, and what
/// to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(pub(super) String);

impl ConfigError {
    /// Describes a problem, beginning with the place where the value was set.
    pub(super) fn new(problem: &Problem, origins: &Origins<'_>) -> Self {
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
        Self(format!("{place}: {reason}{rest}"))
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}
