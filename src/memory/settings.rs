//! The setting `limits.max_response_memory_bytes`.

use serde::Deserialize;

use crate::setting::{Keys, Problem, Section};

/// The key `max_response_memory_bytes` of `[limits]`, as the file has it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResponseKeys {
    max_response_memory_bytes: Option<usize>,
}

impl Keys for ResponseKeys {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[];
}

impl ResponseKeys {
    /// Returns the most memory for all responses together, in bytes. A single larger response may exceed it, if no
    /// other response takes memory.
    ///
    /// # Errors
    /// [`Problem`] if the value is wrong.
    pub fn checked(self, at: &Section<'_>) -> Result<usize, Problem> {
        at.at_least_one("max_response_memory_bytes", self.max_response_memory_bytes, 256 << 20)
    }
}
