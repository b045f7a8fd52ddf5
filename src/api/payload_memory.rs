//! The memory that request bodies of all callers together may take: `limits.max_payload_memory_bytes`.
//!
//! A body takes its share before more than its beginning is read, and gives the share back when its last slice is
//! dropped. An upload that finds no room pauses; after a time its caller gets an error and may retry. Small bodies take
//! no share.

use std::time::Duration;

use crate::error::{ErrorCode, Failure};
use crate::memory::Memory;

pub(super) use crate::memory::Share;

/// After which time a caller that found no room may retry.
const RETRY: Duration = Duration::from_secs(5);

/// The memory for request bodies; cheap to clone.
#[derive(Debug, Clone)]
pub struct PayloadMemory(Memory);

impl PayloadMemory {
    /// Creates a memory of `bytes` to share out.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self(Memory::new(bytes))
    }

    /// Waits for a share of this many bytes, or of the whole memory if that is less.
    ///
    /// # Errors
    /// `queue_full` if there is no room within 20 s, or if too many uploads already wait for room.
    pub async fn share(&self, bytes: usize) -> Result<Share, Failure> {
        self.0.share(bytes).await.map_err(|_| {
            Failure::new(
                ErrorCode::QueueFull,
                "Too many large uploads are running already; try again shortly",
            )
            .with_retry_after(RETRY)
        })
    }

    /// Returns the bytes that are shared out, and the whole memory.
    #[must_use]
    pub fn taken(&self) -> (usize, usize) {
        self.0.taken()
    }

    /// Returns how many uploads pause until there is room.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.waiting()
    }
}
