//! Accounts for the room that audio takes, within the spool's limit and on the disk.

use std::sync::atomic::Ordering;

use super::{Inner, RESERVE, Spool, disk};
use crate::store::StoreError;
use crate::store::sqlite::file_error;

/// Room that audio has taken. Dropping it gives the room back.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) spool: Spool,
    pub(super) bytes: u64,
    /// The part of [`Inner::unwritten`] that belongs to this audio.
    unwritten: u64,
}

impl Room {
    /// Takes room for more audio, which is about to take `on_disk` bytes of the disk. If several calls run at the same
    /// time, each counts the room of the others. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Full`] when the bound of the spool or of the disk is passed. No room is taken then.
    pub(super) fn take(&mut self, bytes: u64, on_disk: u64) -> Result<(), StoreError> {
        let Inner { most, used, unwritten, .. } = &*self.spool.0;
        used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|sum| sum <= most)
        })
        .map_err(|_| StoreError::Full("the spool has reached limits.max_spool_bytes".to_owned()))?;
        // This comes before the check of the disk: bytes of other audio are counted here until the disk shows them.
        let claimed = unwritten.fetch_add(on_disk, Ordering::AcqRel) + on_disk;
        (self.bytes, self.unwritten) = (self.bytes + bytes, self.unwritten + on_disk);
        let result = match self.spool.disk_left() {
            Ok(left) if left < claimed => Err(self.spool.disk_is_full()),
            other => other.map(drop),
        };
        result.inspect_err(|_| self.give_back(bytes, on_disk))
    }

    /// Takes room for more bytes of a file, and writes them.
    ///
    /// # Errors
    /// As for [`Room::take`], or when the bytes cannot be written.
    pub(super) fn fill(
        &mut self,
        bytes: u64,
        write: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.take(bytes, bytes)?;
        let written = write();
        self.give_back(0, bytes);
        written
    }

    fn give_back(&mut self, bytes: u64, unwritten: u64) {
        self.bytes -= bytes;
        self.unwritten -= unwritten;
        self.spool.0.used.fetch_sub(bytes, Ordering::Relaxed);
        self.spool.0.unwritten.fetch_sub(unwritten, Ordering::AcqRel);
    }

    /// Hands the room over to recorded audio.
    pub(super) fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.give_back(self.bytes, self.unwritten);
    }
}

impl Spool {
    /// Makes a `Room` that has taken no bytes yet.
    pub(super) fn room(&self) -> Room {
        Room { spool: self.clone(), bytes: 0, unwritten: 0 }
    }

    /// Returns how many bytes of the disk audio may still take. Blocks.
    pub(super) fn disk_left(&self) -> Result<u64, StoreError> {
        let disk = disk(&self.0.directory).map_err(file_error(&self.0.directory))?;
        Ok(disk.free.saturating_sub(RESERVE))
    }

    fn disk_is_full(&self) -> StoreError {
        StoreError::Full(format!("{}: the disk is full", self.0.directory.display()))
    }
}
