//! The spool: the inline audio of tasks that have not ended, one file for each, named by the task.
//!
//! A file is whole before its task's row is, and goes right after the row says that the task has ended. What
//! a crash leaves in between belongs to no unfinished task and is removed at the next start.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::StoreError;
use super::sqlite::{file_error, make_directory};
use crate::task::id::TaskId;

/// Audio leaves this many bytes of the disk free: tasks must be able to record that they have ended, or no
/// audio would ever go.
const RESERVE: u64 = 8 << 20;

/// A handle to the spool; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Spool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    /// Bytes of all files together that are never passed.
    most: u64,
    used: AtomicU64,
    sync: bool,
}

impl Spool {
    /// Opens the spool of a data directory. Files for which `wanted` is false are what a crash left behind.
    pub(super) fn open(
        data_dir: &Path,
        most: u64,
        sync: bool,
        wanted: impl Fn(&TaskId) -> Result<bool, StoreError>,
    ) -> Result<Self, StoreError> {
        let directory = data_dir.join("spool");
        make_directory(&directory)?;
        let kept = sweep(&directory, wanted)?;
        Ok(Self(Arc::new(Inner { directory, most, used: AtomicU64::new(kept), sync })))
    }

    fn path(&self, id: &TaskId) -> PathBuf {
        self.0.directory.join(id.as_str())
    }

    /// Writes a task's audio; when this returns, it is on the disk. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Full`] beyond the bound or when the disk is full; then nothing is left of it.
    pub(super) fn write(&self, id: &TaskId, base64: &Bytes) -> Result<(), StoreError> {
        let bytes = base64.len() as u64;
        let used = self.0.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if used > self.0.most {
            self.0.used.fetch_sub(bytes, Ordering::Relaxed);
            return Err(StoreError::Full("the spool holds limits.max_spool_bytes".to_owned()));
        }
        let path = self.path(id);
        let give_back = |err| {
            self.0.used.fetch_sub(bytes, Ordering::Relaxed);
            file_error(&path)(err)
        };
        // A file that is there already is another task's, and stays.
        let mut file = self.create(&path, bytes).map_err(give_back)?;
        let written = file.write_all(base64).and_then(|()| {
            // The file systems of Linux bring a new file's name to the disk together with the file.
            if self.0.sync { file.sync_all() } else { Ok(()) }
        });
        written.map_err(|err| {
            let _ = std::fs::remove_file(&path);
            give_back(err)
        })
    }

    fn create(&self, path: &Path, bytes: u64) -> io::Result<File> {
        if available(&self.0.directory)? < bytes.saturating_add(RESERVE) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
    }

    /// Reads a task's audio. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when it is not there as it was written.
    pub(super) fn read(&self, id: &TaskId, bytes: u64) -> Result<Bytes, StoreError> {
        let path = self.path(id);
        let mut content = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
        let mut read = || File::open(&path)?.take(bytes + 1).read_to_end(&mut content);
        match read() {
            Ok(_) => {}
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::Damaged(format!("{} is missing", path.display())));
            }
            Err(err) => return Err(file_error(&path)(err)),
        }
        // A power cut can leave a file with holes, which read as zeros.
        if content.len() as u64 != bytes || content.contains(&0) {
            return Err(StoreError::Damaged(path.display().to_string()));
        }
        Ok(content.into())
    }

    /// Removes a task's audio, if there is any. Blocks.
    pub(super) fn remove(&self, id: &TaskId) {
        let path = self.path(id);
        let Ok(metadata) = std::fs::metadata(&path) else { return };
        match std::fs::remove_file(&path) {
            Ok(()) => {
                self.0.used.fetch_sub(metadata.len(), Ordering::Relaxed);
            }
            Err(err) => tracing::error!(%err, path = %path.display(), "audio cannot be removed"),
        }
    }
}

/// Bytes that are free on the disk of a directory.
fn available(directory: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(directory)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Removes the files of a directory that are not wanted; returns the bytes of the others.
pub(super) fn sweep(
    directory: &Path,
    wanted: impl Fn(&TaskId) -> Result<bool, StoreError>,
) -> Result<u64, StoreError> {
    let mut kept = 0;
    for entry in std::fs::read_dir(directory).map_err(file_error(directory))? {
        let entry = entry.map_err(file_error(directory))?;
        let id = entry.file_name().to_str().and_then(|name| name.parse().ok());
        // A file with another name is none of ours.
        let Some(id) = id else { continue };
        let path = entry.path();
        if wanted(&id)? {
            kept += entry.metadata().map_err(file_error(&path))?.len();
        } else {
            std::fs::remove_file(&path).map_err(file_error(&path))?;
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spool(data_dir: &Path, wanted: bool) -> Spool {
        Spool::open(data_dir, 100, true, |_| Ok(wanted)).unwrap()
    }

    #[test]
    fn audio_is_read_as_it_was_written_until_it_is_removed() {
        let data_dir = tempfile::tempdir().unwrap();
        let spool = spool(data_dir.path(), true);
        let id = TaskId::generate(1);
        spool.write(&id, &Bytes::from_static(b"UklGRg==")).unwrap();
        assert_eq!(spool.read(&id, 8).unwrap(), "UklGRg==");
        assert!(spool.read(&id, 7).is_err() && spool.read(&id, 9).is_err());
        spool.remove(&id);
        assert!(spool.read(&id, 8).is_err());
        spool.remove(&id);
    }

    #[test]
    fn the_audio_of_another_task_is_never_touched() {
        let data_dir = tempfile::tempdir().unwrap();
        let spool = spool(data_dir.path(), true);
        let id = TaskId::generate(1);
        spool.write(&id, &Bytes::from(vec![b'A'; 50])).unwrap();
        assert!(matches!(spool.write(&id, &Bytes::from(vec![b'B'; 50])), Err(StoreError::Directory { .. })));
        assert_eq!(spool.read(&id, 50).unwrap(), vec![b'A'; 50]);
        spool.write(&TaskId::generate(1), &Bytes::from(vec![b'C'; 50])).unwrap();
    }

    #[test]
    fn beyond_the_bound_nothing_is_written_and_what_goes_makes_room() {
        let data_dir = tempfile::tempdir().unwrap();
        let spool = spool(data_dir.path(), true);
        let (first, second) = (TaskId::generate(1), TaskId::generate(1));
        spool.write(&first, &Bytes::from(vec![b'A'; 60])).unwrap();
        let refused = spool.write(&second, &Bytes::from(vec![b'A'; 41]));
        assert!(matches!(refused, Err(StoreError::Full(_))));
        assert_eq!(std::fs::read_dir(data_dir.path().join("spool")).unwrap().count(), 1);
        spool.remove(&first);
        spool.write(&second, &Bytes::from(vec![b'A'; 100])).unwrap();
    }

    #[test]
    fn a_file_with_a_hole_is_no_audio() {
        let data_dir = tempfile::tempdir().unwrap();
        let spool = spool(data_dir.path(), true);
        let id = TaskId::generate(1);
        std::fs::write(data_dir.path().join("spool").join(id.as_str()), b"UklG\0\0\0\0").unwrap();
        assert!(matches!(spool.read(&id, 8), Err(StoreError::Damaged(_))));
    }

    #[test]
    fn a_start_counts_what_is_wanted_and_removes_the_rest() {
        let data_dir = tempfile::tempdir().unwrap();
        let id = TaskId::generate(1);
        spool(data_dir.path(), true).write(&id, &Bytes::from(vec![b'A'; 60])).unwrap();
        let again = spool(data_dir.path(), true);
        assert!(again.write(&TaskId::generate(1), &Bytes::from(vec![b'A'; 41])).is_err());
        assert!(spool(data_dir.path(), false).read(&id, 60).is_err());
    }
}
