//! The spool: the audio of tasks that have not ended, so that it need not stay in memory.
//!
//! Audio is a [blob] with a row that counts its references. The bytes of a small blob are in that row. The bytes of a
//! large blob are in a file, which is written and synced before the row is, and which is deleted after the commit that
//! deletes the row. So a file without a row was left behind by a crash, and the next start removes it. Audio that is
//! [downloaded](download) has a file without a name, which disappears with its last reader.

mod blob;
mod download;
mod file;
mod room;

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
use room::Room;

/// The bytes of the disk that audio keeps free: tasks must be able to record that they have ended, or no audio would
/// ever be deleted. The write-ahead log begins anew when its content is in the database, which may have to grow by all
/// of that: about a thousand pages, or 4 MiB. The rest is for the log itself.
const RESERVE: u64 = 8 << 20;
/// The size beyond which only a few pieces of audio are written or checked at the same time. All at once they would
/// block all other work on the cores and on the disk: an fsync of a small file waits for everything written before it.
const LARGE_BYTES: u64 = 256 * 1024;
/// The low bits of a blob's number. The bits above are the millisecond in which its store was opened.
const BLOB_BITS: u32 = 20;

/// A handle to the spool; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Spool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    /// The bound on the bytes of all audio together.
    most: u64,
    used: AtomicU64,
    /// Bytes that are about to be written and that the disk does not show yet.
    unwritten: AtomicU64,
    next: AtomicU64,
    sync: bool,
    permits: Arc<Semaphore>,
}

/// The sums over the rows of all blobs.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    /// The bytes of all blobs.
    pub(super) bytes: u64,
    /// The highest number of a blob.
    pub(super) last: u64,
}

impl Spool {
    /// Opens the spool of a data directory. Removes files for which `wanted` is false: a crash left them behind.
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
        // No number is used again, even if an older copy of the database has replaced a newer one.
        let next = recorded.last.saturating_add(1).max(Timestamp::now().0 << BLOB_BITS);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self(Arc::new(Inner {
            directory,
            most,
            used: AtomicU64::new(recorded.bytes),
            unwritten: AtomicU64::new(0),
            next: AtomicU64::new(next),
            sync,
            permits: Arc::new(Semaphore::new((cores / 2).max(1))),
        })))
    }

    /// Makes the id of a blob.
    pub(super) fn blob_id(&self) -> BlobId {
        BlobId(self.0.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Waits for a permit to write or check this many bytes, if they need one.
    pub(super) async fn permit(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        if bytes <= LARGE_BYTES {
            return None;
        }
        Arc::clone(&self.0.permits).acquire_owned().await.ok()
    }

    fn path(&self, id: BlobId) -> PathBuf {
        self.0.directory.join(id.to_string())
    }

    /// Returns how many bytes are used, and how many may be used.
    pub(super) fn used(&self) -> (u64, u64) {
        (self.0.used.load(Ordering::Relaxed), self.0.most)
    }

    /// Returns the levels of the disk, if the system reports them. Blocks.
    pub(super) fn disk(&self) -> Option<DiskLevels> {
        disk(&self.0.directory).ok()
    }

    /// Returns true if the disk has no more room than the part that is reserved for the ends of tasks. Blocks.
    pub(super) fn is_disk_low(&self) -> bool {
        self.disk().is_some_and(|disk| disk.free < RESERVE)
    }
}

/// Returns the levels of the disk that holds a directory.
fn disk(directory: &Path) -> io::Result<DiskLevels> {
    let disk = rustix::fs::statvfs(directory)?;
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    Ok(DiskLevels { free: bytes(disk.f_bavail), size: bytes(disk.f_blocks) })
}

/// The start of a temporary file's name on a file system that makes no file without a name. The name is removed before
/// the file is written to, unless its process is killed in between.
const TEMPORARY: &str = ".tmp";

/// Removes the unwanted files of a directory.
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
            // Hearken did not make a file with another name.
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
