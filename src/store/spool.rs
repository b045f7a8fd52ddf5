//! The spool: the audio of tasks that have not ended, so that it need not be held in memory.
//!
//! Audio is a [blob] with a row that counts its references. The bytes of a small one are in that row; those of a large one
//! are in a file, which is whole and on the disk before the row is, and goes after the commit that deletes the row. So a
//! file without a row is what a crash left behind, and is removed at the next start. Audio that is
//! [downloaded](download) has a file without a name, which is gone with its last reader.

mod blob;
mod download;
mod file;

use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::StoreError;
use super::sqlite::{file_error, make_directory};
use crate::audio::BlobId;
use crate::metrics::DiskLevels;
use crate::task::Timestamp;

pub(super) use blob::{NewBlob, RecordedBlob, StoredBlob};

/// Audio leaves this many bytes of the disk free: tasks must be able to record that they have ended, or no audio would
/// ever go. The write-ahead log begins anew when its content is in the database, which may have to grow by all of that:
/// about a thousand pages, or 4 MiB. The rest is for the log itself.
const RESERVE: u64 = 8 << 20;
/// Audio of more than this many bytes is written and checked in turns. All at once it would take the cores from
/// all other work, and the disk, too: an fsync of a small file waits for all that was given to the disk before.
const LARGE_BYTES: u64 = 256 * 1024;
/// The bits of a blob's number below the millisecond in which its store was opened.
const BLOB_BITS: u32 = 20;

/// A handle to the spool; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Spool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    /// Bytes of all audio together that are never passed.
    most: u64,
    used: AtomicU64,
    /// Bytes that are about to be written, and that the disk does not show yet.
    unwritten: AtomicU64,
    next: AtomicU64,
    sync: bool,
    turns: Arc<Semaphore>,
}

/// What the rows say of all blobs together.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    /// The bytes of all of them.
    pub(super) bytes: u64,
    /// The highest number.
    pub(super) last: u64,
}

/// Room that audio has taken, given back when dropped.
#[derive(Debug)]
struct Room {
    spool: Spool,
    bytes: u64,
    /// The part of [`Inner::unwritten`] that is for this audio.
    unwritten: u64,
}

impl Room {
    /// Takes room for more audio, which is about to take so much of the disk. Of several that come at the same time, each
    /// counts what the others have taken. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Full`] beyond the bound of the spool, or of the disk. Then nothing is taken.
    fn take(&mut self, bytes: u64, on_disk: u64) -> Result<(), StoreError> {
        let Inner { most, used, unwritten, .. } = &*self.spool.0;
        used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|sum| sum <= most)
        })
        .map_err(|_| StoreError::Full("the spool holds limits.max_spool_bytes".to_owned()))?;
        // Before the disk is asked: what another is about to write is counted here, or the disk shows it already.
        let claimed = unwritten.fetch_add(on_disk, Ordering::AcqRel) + on_disk;
        (self.bytes, self.unwritten) = (self.bytes + bytes, self.unwritten + on_disk);
        let judged = match self.spool.disk_left() {
            Ok(left) if left < claimed => Err(self.spool.disk_is_full()),
            other => other.map(drop),
        };
        judged.inspect_err(|_| self.give_back(bytes, on_disk))
    }

    /// Takes room for more bytes of a file, and writes them.
    ///
    /// # Errors
    /// As for [`Room::take`], or where they cannot be written.
    fn fill(&mut self, bytes: u64, write: impl FnOnce() -> Result<(), StoreError>) -> Result<(), StoreError> {
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

    /// Leaves the room to audio that is recorded.
    fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.give_back(self.bytes, self.unwritten);
    }
}

impl Spool {
    /// Opens the spool of a data directory. Files for which `wanted` is false are what a crash left behind.
    pub(super) fn open(
        data_dir: &Path,
        most: u64,
        sync: bool,
        recorded: &Recorded,
        wanted: impl Fn(&BlobId) -> Result<bool, StoreError>,
    ) -> Result<Self, StoreError> {
        let directory = data_dir.join("spool");
        make_directory(&directory)?;
        sweep(&directory, wanted)?;
        // No number is used again, also where an older copy of the database was put in the place of a newer one.
        let next = recorded.last.saturating_add(1).max(Timestamp::now().0 << BLOB_BITS);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self(Arc::new(Inner {
            directory,
            most,
            used: AtomicU64::new(recorded.bytes),
            unwritten: AtomicU64::new(0),
            next: AtomicU64::new(next),
            sync,
            turns: Arc::new(Semaphore::new((cores / 2).max(1))),
        })))
    }

    /// Makes the name of a blob.
    pub(super) fn blob_id(&self) -> BlobId {
        BlobId(self.0.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Waits for a turn to write or check so many bytes, where one is needed.
    pub(super) async fn turn(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        if bytes <= LARGE_BYTES {
            return None;
        }
        Arc::clone(&self.0.turns).acquire_owned().await.ok()
    }

    fn path(&self, id: BlobId) -> PathBuf {
        self.0.directory.join(id.to_string())
    }

    fn room(&self) -> Room {
        Room { spool: self.clone(), bytes: 0, unwritten: 0 }
    }

    /// Returns the bytes that are taken, and how many may be.
    pub(super) fn used(&self) -> (u64, u64) {
        (self.0.used.load(Ordering::Relaxed), self.0.most)
    }

    /// Returns the disk, where the system tells of it. Blocks.
    pub(super) fn disk(&self) -> Option<DiskLevels> {
        disk(&self.0.directory).ok()
    }

    /// Returns true if the disk has no more room than what is left free for the ends of tasks. Blocks.
    pub(super) fn is_disk_low(&self) -> bool {
        self.disk().is_some_and(|disk| disk.free < RESERVE)
    }

    /// Returns how many bytes of the disk audio may take. Blocks.
    fn disk_left(&self) -> Result<u64, StoreError> {
        let disk = disk(&self.0.directory).map_err(file_error(&self.0.directory))?;
        Ok(disk.free.saturating_sub(RESERVE))
    }

    fn disk_is_full(&self) -> StoreError {
        StoreError::Full(format!("{}: the disk is full", self.0.directory.display()))
    }
}

/// Returns the disk of a directory.
fn disk(directory: &Path) -> io::Result<DiskLevels> {
    let disk = rustix::fs::statvfs(directory)?;
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    Ok(DiskLevels { free: bytes(disk.f_bavail), size: bytes(disk.f_blocks) })
}

/// How a temporary file is named on a file system that makes none without a name. It loses its name before it is written to,
/// unless its process is killed in between.
const TEMPORARY: &str = ".tmp";

/// Removes the files of a directory that are not wanted.
pub(super) fn sweep<Name: FromStr>(
    directory: &Path,
    wanted: impl Fn(&Name) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    for entry in std::fs::read_dir(directory).map_err(file_error(directory))? {
        let entry = entry.map_err(file_error(directory))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let is_wanted = match name.parse() {
            Ok(name) => wanted(&name)?,
            // A file with another name is none of ours.
            Err(_) => !name.starts_with(TEMPORARY),
        };
        if !is_wanted {
            let path = entry.path();
            std::fs::remove_file(&path).map_err(file_error(&path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
