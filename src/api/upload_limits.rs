//! The keys of `[limits]` that limit request bodies.

use serde::Deserialize;

use crate::setting::{Keys, Problem, Section};

/// Limits of request bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadLimits {
    /// Largest request body, in bytes.
    pub max_body_bytes: usize,
    /// Most memory for the bodies of all running uploads, in bytes. A larger body is still received if no other upload
    /// is running.
    pub max_payload_memory_bytes: usize,
}

/// The keys of `[limits]` that limit request bodies, as the file has them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UploadKeys {
    max_body_bytes: Option<usize>,
    max_payload_memory_bytes: Option<usize>,
}

impl Keys for UploadKeys {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[];
}

impl UploadKeys {
    /// Checks the keys. A questionable but usable value adds a warning.
    ///
    /// # Errors
    /// [`Problem`] with the first value that is not valid.
    pub fn checked(self, at: &Section<'_>, warnings: &mut Vec<String>) -> Result<UploadLimits, Problem> {
        let max_body_bytes = at.at_least_one("max_body_bytes", self.max_body_bytes, 29_360_128)?;
        let max_payload_memory_bytes =
            at.at_least_one("max_payload_memory_bytes", self.max_payload_memory_bytes, 256 << 20)?;
        if max_payload_memory_bytes < max_body_bytes {
            warnings.push(format!(
                "limits.max_payload_memory_bytes, {max_payload_memory_bytes}, is less than limits.max_body_bytes, \
                 {max_body_bytes}: a larger body is still received while no other upload runs, and exceeds the limit; \
                 raise limits.max_payload_memory_bytes, or lower limits.max_body_bytes"
            ));
        }
        Ok(UploadLimits { max_body_bytes, max_payload_memory_bytes })
    }
}
