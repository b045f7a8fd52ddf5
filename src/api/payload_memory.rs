//! The memory that request bodies may take, of all callers together: `limits.max_payload_memory_bytes`.
//!
//! A body takes its share before it is read beyond its beginning, and gives it back with the last slice of it. An
//! upload that finds no room stands still; after a time its caller is told to come back. Small bodies take no share.

use std::time::Duration;

use crate::error::{ErrorCode, Failure};
use crate::memory::Memory;

pub(super) use crate::memory::Share;

/// When a caller that found no room may come back.
const RETRY: Duration = Duration::from_secs(5);

/// The memory for request bodies; cheap to clone.
#[derive(Debug, Clone)]
pub struct PayloadMemory(Memory);

impl PayloadMemory {
    /// Makes memory of `bytes` to share out.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self(Memory::new(bytes))
    }

    /// Waits for a share of this many bytes, or of all there is where that is less.
    ///
    /// # Errors
    /// `queue_full` when there is no room within 20 s, or when too many uploads wait for room already.
    pub async fn share(&self, bytes: usize) -> Result<Share, Failure> {
        self.0.share(bytes).await.map_err(|_| {
            Failure::new(
                ErrorCode::QueueFull,
                "Too many large uploads are under way already; try again shortly",
            )
            .with_retry_after(RETRY)
        })
    }

    /// Returns the bytes that are shared out, and all of them.
    #[must_use]
    pub fn taken(&self) -> (usize, usize) {
        self.0.taken()
    }

    /// Returns how many uploads stand still until there is room.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.waiting()
    }
}
