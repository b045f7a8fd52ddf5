//! What is wrong with a configuration, in one line: where the value was set, what was found, what to write.

use std::fmt;

use super::origin::Origins;

/// A configuration that cannot be used, as one line: where, which key, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(pub(super) String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// A value that is wrong, before it is known where it was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) subject: Subject,
    /// What is wrong.
    pub(super) reason: String,
    advice: Option<String>,
    wants_example: bool,
}

/// What a problem is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    /// A key, as in `channels[0].api_key`.
    Key(String),
    /// A variable of the environment that is no key's.
    Variable(String),
}

impl Problem {
    /// Creates a problem whose reason says what to do.
    pub(super) fn new(key: impl Into<String>, reason: impl Into<String>) -> Self {
        let subject = Subject::Key(key.into());
        Self { subject, reason: reason.into(), advice: None, wants_example: false }
    }

    /// Creates a problem with a value; the message ends with an example of a good one.
    pub(super) fn value(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { wants_example: true, ..Self::new(key, reason) }
    }

    /// Creates a problem with a variable that is no key's.
    pub(super) fn of_variable(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { subject: Subject::Variable(name.into()), ..Self::new("", reason) }
    }

    /// Says it of another subject.
    pub(super) fn about(self, subject: Subject) -> Self {
        Self { subject, ..self }
    }

    /// Adds what to do, before the example.
    pub(super) fn advise(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }

    /// Says it, with the place where the value was set.
    pub(super) fn told(&self, origins: &Origins<'_>) -> ConfigError {
        let (place, example) = match &self.subject {
            Subject::Variable(name) => (format!("{name} (environment)"), None),
            Subject::Key(key) => {
                let origin = origins.of(key);
                let example = if self.wants_example { origin.example(key) } else { None };
                (origin.place, example)
            }
        };
        let rest = match (&self.advice, example) {
            (Some(advice), Some(example)) => format!(": {advice}, as in {example}"),
            (Some(advice), None) => format!(": {advice}"),
            (None, Some(example)) => format!(": write it as in {example}"),
            (None, None) => String::new(),
        };
        ConfigError(format!("{place}: {}{rest}", self.reason))
    }
}
