//! The memory that request bodies of all callers together may take: `limits.max_payload_memory_bytes`.
//!
//! A body takes its share after its beginning was read, and returns the share when its last slice is dropped. If no
//! share is free, the upload pauses; after a time the client gets an error and may try again. Small bodies take no
//! share.

use std::time::Duration;

use crate::error::{ErrorCode, Failure};
use crate::memory::Memory;

pub(super) use crate::memory::Share;

/// The time after which a client that got no share may try again.
const RETRY: Duration = Duration::from_secs(5);

/// The memory for request bodies; cheap to clone.
#[derive(Debug, Clone)]
pub struct PayloadMemory(Memory);

impl PayloadMemory {
    /// Creates a memory of this many bytes, of which none is taken.
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
                "Too many large uploads are running already; try again after Retry-After",
            )
            .with_retry_after(RETRY)
        })
    }

    /// Returns the bytes that are taken, and the bytes of the whole memory.
    #[must_use]
    pub fn taken(&self) -> (usize, usize) {
        self.0.taken()
    }

    /// Returns how many uploads pause until a share is free.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.waiting()
    }
}
