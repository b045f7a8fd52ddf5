//! A wrong value of the configuration, before the place where it was set is known.

use std::fmt::{self, Display};

use serde::de::{self, Expected, Unexpected};
use toml::Value;

use super::nearest;

/// A wrong value: the key, what is wrong with it, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key or variable.
    pub subject: Subject,
    /// The mistake.
    pub mistake: Mistake,
    /// Advice for the user, if the reason does not say what to do.
    pub advice: Option<String>,
    /// True if the message ends with an example of a good value.
    pub wants_example: bool,
}

/// The key or variable that a problem is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A key, as in `channels[0].api_key`.
    Key(String),
    /// A variable of the environment that sets no key.
    Variable(String),
}

/// The mistake in a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mistake {
    /// The reason, in words.
    Reason(String),
    /// The key is unknown. The list has the known keys.
    UnknownKey(Vec<&'static str>),
    /// The value does not have the type that is needed.
    Mismatch(NeededType, FoundValue),
}

/// A value of a wrong type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundValue {
    /// Text in the file.
    Text(String),
    /// The value of a variable, which has no type.
    Variable(String),
    /// A number, as the file has it.
    Number(String),
    /// True or false.
    Bool(bool),
    /// A date or a time, as the file has it.
    Date(String),
    /// A list.
    List,
    /// A section.
    Section,
}

/// A type that is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NeededType {
    /// A whole number within these bounds.
    Whole(i64, i64),
    /// Any number.
    Number,
    /// True or false.
    Bool,
    /// A list.
    List,
    /// A section.
    Section,
    /// Text.
    Text,
}

impl Problem {
    /// Creates a problem with a key. The reason says what to do.
    #[must_use]
    pub fn new(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::of(key, Mistake::Reason(reason.into()))
    }

    /// Creates a problem with a value. Its message ends with an example of a good value.
    #[must_use]
    pub fn value(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { wants_example: true, ..Self::new(key, reason) }
    }

    /// Creates a problem with a variable that sets no key.
    #[must_use]
    pub fn of_variable(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { subject: Subject::Variable(name.into()), ..Self::new("", reason) }
    }

    pub(super) fn of(key: impl Into<String>, mistake: Mistake) -> Self {
        Self { subject: Subject::Key(key.into()), mistake, advice: None, wants_example: false }
    }

    /// Returns the same problem with another subject.
    #[must_use]
    pub fn with_subject(self, subject: Subject) -> Self {
        Self { subject, ..self }
    }

    /// Adds what to do. The text comes before the example.
    #[must_use]
    pub fn advise(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }

    /// Returns the same problem, with a key that begins with `outer`.
    #[must_use]
    pub(super) fn within(mut self, outer: &str) -> Self {
        if let Subject::Key(key) = &mut self.subject {
            let dot = if outer.is_empty() || key.is_empty() || key.starts_with('[') { "" } else { "." };
            *key = format!("{outer}{dot}{key}");
        }
        self
    }
}

impl de::Error for Problem {
    fn custom<T: Display>(reason: T) -> Self {
        Self::new("", reason.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::of("", Mistake::Mismatch(NeededType::of(expected), FoundValue::of(&found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(word: &str, known: &'static [&'static str]) -> Self {
        let hint = nearest(word, known.iter().copied())
            .map_or_else(String::new, |near| format!(" (did you mean `{near}`?)"));
        let known: Vec<_> = known.iter().map(|word| format!("`{word}`")).collect();
        Self::new("", format!("{word:?} is unknown{hint}: use one of {}", known.join(", ")))
    }

    fn unknown_field(_: &str, known: &'static [&'static str]) -> Self {
        Self::of("", Mistake::UnknownKey(known.to_vec()))
    }
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {:?}", self.subject, self.mistake)
    }
}

impl std::error::Error for Problem {}

impl FoundValue {
    /// Converts serde's description of a value that it found.
    fn of(found: &Unexpected<'_>) -> Self {
        match *found {
            Unexpected::Bool(choice) => Self::Bool(choice),
            Unexpected::Signed(number) => Self::Number(number.to_string()),
            Unexpected::Unsigned(number) => Self::Number(number.to_string()),
            Unexpected::Float(number) => Self::Number(format!("{number:?}")),
            Unexpected::Seq => Self::List,
            Unexpected::Map => Self::Section,
            Unexpected::Other(date) => Self::Date(date.to_owned()),
            Unexpected::Str(text) => Self::Text(text.to_owned()),
            _ => Self::Text(String::new()),
        }
    }
}

impl From<&Value> for FoundValue {
    fn from(value: &Value) -> Self {
        match value {
            Value::String(text) => Self::Text(text.clone()),
            Value::Integer(number) => Self::Number(number.to_string()),
            Value::Float(number) => Self::Number(format!("{number:?}")),
            Value::Boolean(choice) => Self::Bool(*choice),
            Value::Datetime(date) => Self::Date(date.to_string()),
            Value::Array(_) => Self::List,
            Value::Table(_) => Self::Section,
        }
    }
}

impl NeededType {
    /// Converts serde's description of an expected type.
    fn of(expected: &dyn Expected) -> Self {
        // TOML has only signed numbers of 64 bits.
        match expected.to_string().as_str() {
            "u16" => Self::Whole(0, u16::MAX.into()),
            "u32" => Self::Whole(0, u32::MAX.into()),
            "u64" | "usize" => Self::Whole(0, i64::MAX),
            "i64" => Self::Whole(i64::MIN, i64::MAX),
            "f32" | "f64" => Self::Number,
            "a boolean" => Self::Bool,
            "a sequence" => Self::List,
            other if other.starts_with("struct ") => Self::Section,
            _ => Self::Text,
        }
    }
}
