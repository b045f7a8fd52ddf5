//! The memory that responses may take while they are built and sent, of all callers together:
//! `limits.max_response_memory_bytes`.
//!
//! A response takes its share before its parts are read, and gives it back when its last byte is with the connection,
//! or the connection has ended. Clients that do not read therefore hold a bounded amount of memory, however many they
//! are. Small responses have a part of the memory for themselves, so that a few large ones do not hold them up.

use std::time::Duration;

use super::{Memory, Share};
use crate::error::{ErrorCode, Failure};

/// Responses of at most this many bytes take no share: a connection's buffers hold more.
const TINY: usize = 4 * 1024;
/// Responses of at most this many bytes share the part of the memory that large ones cannot take.
pub const SMALL_RESPONSE: usize = 64 * 1024;
/// The part of the memory that is for small responses: one in so many bytes.
const SMALL_PART: usize = 4;
/// When a caller that found no room may come back.
const RETRY: Duration = Duration::from_secs(5);

/// The memory for responses; cheap to clone.
#[derive(Debug, Clone)]
pub struct ResponseMemory {
    small: Memory,
    large: Memory,
}

/// Something with the share of memory that it takes.
#[derive(Debug)]
pub struct Held<T> {
    /// What is held.
    pub value: T,
    /// Its share; `None` where it is small.
    pub share: Option<Share>,
}

impl<T> Held<T> {
    /// Something that is small.
    pub fn small(value: T) -> Self {
        Self { value, share: None }
    }
}

impl ResponseMemory {
    /// Makes memory of `bytes` to share out.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let small = bytes / SMALL_PART;
        Self { small: Memory::new(small), large: Memory::new(bytes - small) }
    }

    /// Waits for the share of a response of this many bytes; `None` where it is so small that it takes none.
    ///
    /// # Errors
    /// `queue_full` when there is no room within 20 s, or when too many callers wait for room already.
    pub async fn share(&self, bytes: usize) -> Result<Option<Share>, Failure> {
        let memory = match bytes {
            0..=TINY => return Ok(None),
            _ if bytes <= SMALL_RESPONSE => &self.small,
            _ => &self.large,
        };
        memory.share(bytes).await.map(Some).map_err(|_| {
            Failure::new(
                ErrorCode::QueueFull,
                "Too many large answers are being sent already; try again shortly",
            )
            .with_retry_after(RETRY)
        })
    }

    /// Returns the bytes that are shared out, and all of them.
    #[must_use]
    pub fn taken(&self) -> (usize, usize) {
        let (small, large) = (self.small.taken(), self.large.taken());
        (small.0 + large.0, small.1 + large.1)
    }

    /// Returns how many responses wait for room.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.small.waiting() + self.large.waiting()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn large_responses_leave_room_for_small_ones() {
        let memory = ResponseMemory::new(4 << 20);
        let large = memory.share(64 << 20).await.unwrap();
        assert_eq!(memory.taken(), (3 << 20, 4 << 20));
        assert!(memory.share(SMALL_RESPONSE + 1).now_or_never().is_none());
        assert!(memory.share(SMALL_RESPONSE).await.unwrap().is_some());
        assert!(memory.share(TINY).await.unwrap().is_none());
        let refused = memory.share(1 << 20).await.unwrap_err();
        assert_eq!((refused.code, refused.retry_after_seconds), (ErrorCode::QueueFull, Some(5)));
        drop(large);
        assert!(memory.share(1 << 20).await.unwrap().is_some());
    }
}
