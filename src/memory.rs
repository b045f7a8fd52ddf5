//! Limits the memory that several callers take together.
//!
//! A caller takes a [`Share`] before it has the bytes. The share is returned when the last slice of the bytes is
//! dropped. If too little memory is left, callers wait in order; after a time, they get an error. Memory can be a
//! [part](Memory::part) of other memory: then each share also counts in the other memory.

mod responses;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::deadline::timeout;

pub use responses::{Held, ResponseMemory, SMALL_RESPONSE};
pub use settings::ResponseKeys;

/// Most callers that wait for a share. The memory that a waiting caller already has is not counted: for an upload, that
/// is its beginning, half a megabyte with the connection's buffers.
const MOST_WAITING: usize = 128;
/// The longest wait for a share.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// The size of the blocks in which memory is shared.
const BLOCK: usize = 1024;

/// An amount of memory that callers share; cheap to clone.
#[derive(Debug, Clone)]
pub struct Memory {
    own: Pool,
    /// The memory that this memory is a part of.
    whole: Option<Pool>,
}

#[derive(Debug, Clone)]
struct Pool {
    free: Arc<Semaphore>,
    all: u32,
    places: Arc<Semaphore>,
}

/// A share of memory, returned when dropped.
#[derive(Debug)]
pub struct Share {
    own: OwnedSemaphorePermit,
    of_whole: Option<OwnedSemaphorePermit>,
}

/// The error of a caller that got no share for 20 s, or that came when too many callers waited already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crowded;

impl Memory {
    /// Makes memory of this many bytes, of which none is taken.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self { own: Pool::new(bytes, MOST_WAITING), whole: None }
    }

    /// Makes a part of this memory, with at most `bytes` in its shares. Half as many callers can wait for the part as
    /// for this memory. A share that is larger than the part takes the whole part, and its full size in
    /// this memory.
    #[must_use]
    pub fn part(&self, bytes: usize) -> Self {
        Self { own: Pool::new(bytes, MOST_WAITING / 2), whole: Some(self.own.clone()) }
    }

    /// Waits for a share of this many bytes, or of the whole memory if that is smaller. Shares are given in the order
    /// of the requests.
    ///
    /// # Errors
    /// When no share is free within 20 s, or too many callers wait already.
    pub async fn share(&self, bytes: usize) -> Result<Share, Crowded> {
        if let Some(share) = self.share_at_once(bytes) {
            return Ok(share);
        }
        let _own_place = self.own.places.try_acquire().map_err(|_| Crowded)?;
        let _place =
            self.whole.as_ref().map(|whole| whole.places.try_acquire()).transpose().map_err(|_| Crowded)?;
        let share = async {
            let own = self.own.take(bytes).await?;
            let of_whole = match &self.whole {
                Some(whole) => Some(whole.take(bytes).await?),
                None => None,
            };
            Ok(Share { own, of_whole })
        };
        timeout(LONGEST_WAIT, share).await.map_err(|_| Crowded)?
    }

    fn share_at_once(&self, bytes: usize) -> Option<Share> {
        let own = self.own.take_at_once(bytes)?;
        let of_whole = match &self.whole {
            Some(whole) => Some(whole.take_at_once(bytes)?),
            None => None,
        };
        Some(Share { own, of_whole })
    }

    /// Returns the number of bytes in shares, and the size of the memory.
    #[must_use]
    pub fn taken(&self) -> (usize, usize) {
        let all = self.own.all as usize;
        (all.saturating_sub(self.own.free.available_permits()) * BLOCK, all * BLOCK)
    }

    /// Returns how many callers wait for a share, including callers of parts.
    #[must_use]
    pub fn waiting(&self) -> usize {
        MOST_WAITING.saturating_sub(self.own.places.available_permits())
    }

    /// Returns true if a share exists, or another handle to this memory.
    fn is_used(&self) -> bool {
        Arc::strong_count(&self.own.free) > 1
    }
}

impl Pool {
    fn new(bytes: usize, places: usize) -> Self {
        let all = u32::try_from(bytes.div_ceil(BLOCK)).unwrap_or(u32::MAX);
        Self { free: Arc::new(Semaphore::new(all as usize)), all, places: Arc::new(Semaphore::new(places)) }
    }

    fn blocks(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(BLOCK)).unwrap_or(u32::MAX).min(self.all)
    }

    fn take_at_once(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).try_acquire_many_owned(self.blocks(bytes)).ok()
    }

    async fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Crowded> {
        // The semaphore is never closed.
        Arc::clone(&self.free).acquire_many_owned(self.blocks(bytes)).await.map_err(|_| Crowded)
    }
}

impl Share {
    /// Reduces the share to this many bytes, and returns the rest to the memory.
    pub fn shrink(&mut self, bytes: usize) {
        for permit in [Some(&mut self.own), self.of_whole.as_mut()].into_iter().flatten() {
            let surplus = permit.num_permits().saturating_sub(bytes.div_ceil(BLOCK));
            drop(permit.split(surplus));
        }
    }

    /// Returns the same bytes, which hold the share as long as a slice of them exists.
    #[must_use]
    pub fn hold(self, mut bytes: Bytes) -> Bytes {
        self.hold_all([&mut bytes]);
        bytes
    }

    /// Makes all of these bytes hold the share, as long as a slice of any of them exists.
    pub fn hold_all<'a>(self, all: impl IntoIterator<Item = &'a mut Bytes>) {
        struct Owner {
            bytes: Bytes,
            _share: Arc<Share>,
        }
        impl AsRef<[u8]> for Owner {
            fn as_ref(&self) -> &[u8] {
                &self.bytes
            }
        }
        let share = Arc::new(self);
        for bytes in all {
            *bytes = Bytes::from_owner(Owner { bytes: std::mem::take(bytes), _share: Arc::clone(&share) });
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_share_is_held_until_the_last_slice_is_dropped() {
        let memory = Memory::new(10 * BLOCK);
        let held = memory.share(6 * BLOCK).await.unwrap().hold(Bytes::from_static(b"audio"));
        let slice = held.slice(1..3);
        drop(held);
        assert!(memory.share(5 * BLOCK).now_or_never().is_none());
        assert_eq!(memory.taken(), (6 * BLOCK, 10 * BLOCK));
        assert_eq!(slice, "ud");
        drop(slice);
        assert!(memory.share(10 * BLOCK).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_larger_than_the_memory_gets_the_whole_memory() {
        let memory = Memory::new(3 * BLOCK);
        let all = memory.share(100 * BLOCK).await.unwrap();
        assert!(memory.share(1).now_or_never().is_none());
        drop(all);
        assert!(memory.share(3 * BLOCK).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn callers_are_served_in_order_and_do_not_wait_forever() {
        let memory = Memory::new(10 * BLOCK);
        let mut first = memory.share(10 * BLOCK).await.unwrap();
        let mut large = Box::pin(memory.share(8 * BLOCK));
        assert!(large.as_mut().now_or_never().is_none());
        assert_eq!(memory.waiting(), 1);
        // A smaller request that came later does not overtake.
        first.shrink(8 * BLOCK);
        assert!(memory.share(BLOCK).now_or_never().is_none());
        assert_eq!(large.await.unwrap_err(), Crowded);
        assert!(memory.share(BLOCK).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_callers_wait_than_there_are_places() {
        let memory = Memory::new(BLOCK);
        let all = memory.share(BLOCK).await.unwrap();
        let mut waiting: Vec<_> = (0..MOST_WAITING).map(|_| Box::pin(memory.share(BLOCK))).collect();
        assert!(waiting.iter_mut().all(|upload| upload.as_mut().now_or_never().is_none()));
        assert_eq!(memory.share(BLOCK).now_or_never().unwrap().unwrap_err(), Crowded);
        drop(all);
        for upload in waiting {
            drop(upload.await.unwrap());
        }
    }
}
