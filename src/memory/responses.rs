//! Limits the memory of all responses together while they are built and sent: `limits.max_response_memory_bytes`.
//!
//! A response takes its share before its parts are read. It returns the share when the connection has taken its last
//! byte, or when the connection has ended. So clients that do not read hold a limited amount of memory, however many
//! they are. Small responses have their own part of the memory, so that a few large responses do not delay them. Each
//! API key may use at most half of either part, so that the clients of one key do not delay the clients of all others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Memory, Share};
use crate::error::{ErrorCode, Failure};
use crate::secret::KeyHash;

/// Responses of at most this many bytes take no share, because the buffers of a connection are larger.
const TINY: usize = 4 * 1024;
/// Responses of at most this many bytes share the part of the memory that large responses cannot take.
pub const SMALL_RESPONSE: usize = 64 * 1024;
/// The fraction of the memory for small responses: 1/`SMALL_PART`.
const SMALL_PART: usize = 4;
/// The fraction of either part that one key may use: 1/`KEY_PART`.
const KEY_PART: usize = 2;
/// The number of keys up to which keys without responses are kept.
const KEPT_KEYS: usize = 64;
/// The time after which a client that got no share may try again.
const RETRY: Duration = Duration::from_secs(5);

/// Memory for responses; cheap to clone.
#[derive(Debug, Clone)]
pub struct ResponseMemory {
    small: Memory,
    large: Memory,
    /// The memory of each key, behind a lock and not in an actor, so that a free share is taken at once. The lock is
    /// held only for one access to a map. A share is returned without the lock.
    of_keys: Arc<Mutex<OfKeys>>,
}

#[derive(Debug, Default)]
struct OfKeys {
    /// The memory of each key. When there are twice as many keys as after the last removal, keys without responses are
    /// removed.
    known: HashMap<KeyHash, OfKey>,
    kept: usize,
}

/// The memory that one key may use.
#[derive(Debug)]
struct OfKey {
    small: Memory,
    large: Memory,
}

/// A value with the share of memory that it takes.
#[derive(Debug)]
pub struct Held<T> {
    /// The value.
    pub value: T,
    /// The share of the value; `None` if the value is small.
    pub share: Option<Share>,
}

impl<T> Held<T> {
    /// Wraps a small value, which takes no share.
    pub fn small(value: T) -> Self {
        Self { value, share: None }
    }
}

impl ResponseMemory {
    /// Makes memory of this many bytes, of which none is taken.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let small = bytes / SMALL_PART;
        Self { small: Memory::new(small), large: Memory::new(bytes - small), of_keys: Arc::default() }
    }

    /// Waits for the share of a response of this many bytes to a client with this key. Returns `None` if the response
    /// is so small that it takes no share.
    ///
    /// # Errors
    /// `queue_full` when no share is free within 20 s, or when too many callers wait already.
    pub async fn share(&self, key: KeyHash, bytes: usize) -> Result<Option<Share>, Failure> {
        if bytes <= TINY {
            return Ok(None);
        }
        let memory = self.of_key(key, bytes <= SMALL_RESPONSE);
        memory.share(bytes).await.map(Some).map_err(|_| {
            Failure::new(
                ErrorCode::QueueFull,
                "Too many large answers are being sent already, to this API key or to all keys; try again after \
                 Retry-After",
            )
            .with_retry_after(RETRY)
        })
    }

    fn of_key(&self, key: KeyHash, is_small: bool) -> Memory {
        let mut of_keys = self.of_keys.lock().unwrap_or_else(PoisonError::into_inner);
        let OfKeys { known, kept } = &mut *of_keys;
        if known.len() >= (*kept * 2).max(KEPT_KEYS) && !known.contains_key(&key) {
            known.retain(|_, OfKey { small, large }| small.is_used() || large.is_used());
            *kept = known.len();
        }
        let part = |memory: &Memory| memory.part((memory.taken().1 / KEY_PART).max(1));
        let of_key =
            known.entry(key).or_insert_with(|| OfKey { small: part(&self.small), large: part(&self.large) });
        if is_small { of_key.small.clone() } else { of_key.large.clone() }
    }

    /// Returns the number of bytes in shares, and the size of the memory.
    #[must_use]
    pub fn taken(&self) -> (usize, usize) {
        let (small, large) = (self.small.taken(), self.large.taken());
        (small.0 + large.0, small.1 + large.1)
    }

    /// Returns how many responses wait for a share.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.small.waiting() + self.large.waiting()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn key(name: &str) -> KeyHash {
        KeyHash::of(name)
    }

    #[tokio::test(start_paused = true)]
    async fn large_responses_leave_room_for_small_ones() {
        let memory = ResponseMemory::new(4 << 20);
        let large = memory.share(key("a"), 64 << 20).await.unwrap();
        assert_eq!(memory.taken(), (3 << 20, 4 << 20));
        assert!(memory.share(key("b"), SMALL_RESPONSE + 1).now_or_never().is_none());
        assert!(memory.share(key("a"), SMALL_RESPONSE).await.unwrap().is_some());
        assert!(memory.share(key("a"), TINY).await.unwrap().is_none());
        let refused = memory.share(key("b"), 1 << 20).await.unwrap_err();
        assert_eq!((refused.code, refused.retry_after_seconds), (ErrorCode::QueueFull, Some(5)));
        drop(large);
        assert!(memory.share(key("b"), 1 << 20).await.unwrap().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn one_key_gets_half_of_the_memory_and_others_the_rest() {
        let memory = ResponseMemory::new(4 << 20);
        let mut held = Vec::new();
        while let Some(share) = memory.share(key("a"), 256 << 10).now_or_never() {
            held.push(share.unwrap());
        }
        assert_eq!(memory.taken().0, 3 << 19);
        // As many callers of the key as possible wait for a share; they do not delay other keys.
        let mut waiting: Vec<_> = (0..1000).map(|_| Box::pin(memory.share(key("a"), 256 << 10))).collect();
        waiting.retain_mut(|share| {
            let refused = share.as_mut().now_or_never();
            refused.is_none_or(|refused| refused.unwrap_err().code != ErrorCode::QueueFull)
        });
        assert_eq!(memory.waiting(), 64);
        let other = memory.share(key("b"), 1 << 20).now_or_never().unwrap().unwrap();
        let third = memory.share(key("c"), 512 << 10).now_or_never().unwrap().unwrap();
        assert_eq!(memory.taken().0, 3 << 20);
        // When a response of a key returns its share, the next response of the same key gets it.
        held.pop();
        let next: Vec<_> = waiting.iter_mut().filter_map(|share| share.as_mut().now_or_never()).collect();
        assert!(next.len() == 1 && next[0].is_ok());
        assert_eq!(memory.taken().0, 3 << 20);
        drop((other, third, held, next, waiting));
        assert_eq!(memory.taken().0, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_without_responses_is_forgotten() {
        let memory = ResponseMemory::new(4 << 20);
        let held = memory.share(key("first"), 1 << 20).await.unwrap();
        for number in 0..1000 {
            memory.share(key(&number.to_string()), 1 << 20).await.unwrap();
        }
        let known = memory.of_keys.lock().unwrap().known.len();
        assert!(known <= KEPT_KEYS, "{known}");
        assert!(memory.share(key("first"), 1 << 20).now_or_never().is_none());
        drop(held);
    }
}
