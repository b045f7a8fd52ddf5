//! `limits.max_response_memory_bytes`.

use serde::Deserialize;

use crate::setting::{Keys, Problem, Section};

/// That key of `[limits]`, as it may be written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResponseKeys {
    max_response_memory_bytes: Option<usize>,
}

impl Keys for ResponseKeys {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[];
}

impl ResponseKeys {
    /// Returns the most memory for responses that are made and sent, of all callers together, in bytes; a single larger
    /// response passes it, alone.
    ///
    /// # Errors
    /// [`Problem`] where the value is wrong.
    pub fn checked(self, at: &Section<'_>) -> Result<usize, Problem> {
        at.at_least_one("max_response_memory_bytes", self.max_response_memory_bytes, 256 << 20)
    }
}
