//! The variables of the process's environment, as text.

use std::ffi::{OsStr, OsString};

use super::Problem;

/// The variables of an environment.
#[derive(Debug, Clone, Default)]
pub struct Variables(Vec<(OsString, OsString)>);

/// A variable whose value is not text. The error does not repeat the value: it may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} (environment): {NOT_TEXT}")]
pub struct NotText {
    name: String,
}

/// The message about a value that is not text.
const NOT_TEXT: &str = "text in UTF-8 is needed, and the value holds other bytes: set it again, or unset it";

impl NotText {
    /// Names a variable whose value is not text.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned() }
    }
}

impl Variables {
    /// Returns the variables of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// Returns the value of a variable. Returns nothing if it is not set or empty.
    ///
    /// # Errors
    /// [`NotText`] if the value is not UTF-8.
    pub fn text(&self, name: &str) -> Result<Option<&str>, NotText> {
        match self.0.iter().find(|(known, _)| known == name) {
            None => Ok(None),
            Some((_, value)) => {
                let text = value.to_str().ok_or_else(|| NotText::new(name))?;
                Ok(Some(text).filter(|text| !text.is_empty()))
            }
        }
    }

    /// Returns all variables.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }
}

impl From<NotText> for Problem {
    fn from(NotText { name }: NotText) -> Self {
        Self::of_variable(name, NOT_TEXT)
    }
}

impl<N: Into<OsString>, V: Into<OsString>> FromIterator<(N, V)> for Variables {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(variables: T) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}
