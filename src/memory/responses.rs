//! The memory that responses may take while they are built and sent, of all callers together:
//! `limits.max_response_memory_bytes`.
//!
//! A response takes its share before its parts are read, and gives it back when its last byte is with the connection,
//! or the connection has ended. Clients that do not read therefore hold a bounded amount of memory, however many they
//! are. Small responses have a part of the memory for themselves, so that a few large ones do not hold them up. Each API
//! key has at most half of either part, so that the clients of one key do not hold up those of all others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Memory, Share};
use crate::error::{ErrorCode, Failure};
use crate::secret::KeyHash;

/// Responses of at most this many bytes take no share: a connection's buffers hold more.
const TINY: usize = 4 * 1024;
/// Responses of at most this many bytes share the part of the memory that large ones cannot take.
pub const SMALL_RESPONSE: usize = 64 * 1024;
/// The part of the memory that is for small responses: one in so many bytes.
const SMALL_PART: usize = 4;
/// The part of either part that is for one key: one byte in so many.
const KEY_PART: usize = 2;
/// Keys that are known before those without responses are forgotten.
const FEW: usize = 64;
/// When a caller that found no room may come back.
const RETRY: Duration = Duration::from_secs(5);

/// The memory for responses; cheap to clone.
#[derive(Debug, Clone)]
pub struct ResponseMemory {
    small: Memory,
    large: Memory,
    /// A lock and no actor: a share that is free is taken at once, and each look takes as long as a look into a map. What
    /// is given back does not come here.
    of_keys: Arc<Mutex<OfKeys>>,
}

#[derive(Debug, Default)]
struct OfKeys {
    /// What each key may take. Those without responses are forgotten when there are twice as many as were left the last
    /// time.
    known: HashMap<KeyHash, OfKey>,
    kept: usize,
}

/// What one key may take.
#[derive(Debug)]
struct OfKey {
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
        Self { small: Memory::new(small), large: Memory::new(bytes - small), of_keys: Arc::default() }
    }

    /// Waits for the share of a response of this many bytes to a client with this key; `None` where it is so small that it
    /// takes none.
    ///
    /// # Errors
    /// `queue_full` when there is no room within 20 s, or when too many callers wait for room already.
    pub async fn share(&self, key: KeyHash, bytes: usize) -> Result<Option<Share>, Failure> {
        if bytes <= TINY {
            return Ok(None);
        }
        let memory = self.of_key(key, bytes <= SMALL_RESPONSE);
        memory.share(bytes).await.map(Some).map_err(|_| {
            Failure::new(
                ErrorCode::QueueFull,
                "Too many large answers are being sent already, to this API key or to all; try again shortly",
            )
            .with_retry_after(RETRY)
        })
    }

    fn of_key(&self, key: KeyHash, is_small: bool) -> Memory {
        let mut of_keys = self.of_keys.lock().unwrap_or_else(PoisonError::into_inner);
        let OfKeys { known, kept } = &mut *of_keys;
        if known.len() >= (*kept * 2).max(FEW) && !known.contains_key(&key) {
            known.retain(|_, OfKey { small, large }| small.is_used() || large.is_used());
            *kept = known.len();
        }
        let part = |memory: &Memory| memory.part((memory.taken().1 / KEY_PART).max(1));
        let of_key =
            known.entry(key).or_insert_with(|| OfKey { small: part(&self.small), large: part(&self.large) });
        if is_small { of_key.small.clone() } else { of_key.large.clone() }
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
        // As many of its callers as may wait for room do, and hold up no other key.
        let mut waiting: Vec<_> = (0..1000).map(|_| Box::pin(memory.share(key("a"), 256 << 10))).collect();
        waiting.retain_mut(|share| {
            let refused = share.as_mut().now_or_never();
            refused.is_none_or(|refused| refused.unwrap_err().code != ErrorCode::QueueFull)
        });
        assert_eq!(memory.waiting(), 64);
        let other = memory.share(key("b"), 1 << 20).now_or_never().unwrap().unwrap();
        let third = memory.share(key("c"), 512 << 10).now_or_never().unwrap().unwrap();
        assert_eq!(memory.taken().0, 3 << 20);
        // What one response of a key gives back, the next one of the key gets.
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
        assert!(known <= FEW, "{known}");
        assert!(memory.share(key("first"), 1 << 20).now_or_never().is_none());
        drop(held);
    }
}
