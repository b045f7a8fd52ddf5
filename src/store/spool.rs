//! The spool: the audio of tasks that have not ended, so that it need not be held in memory.
//!
//! Audio that came with a submit has a file named by its task or, where it is small, a range of a
//! [segment]. It is whole before its task's row is, and goes right after the row says that the task has
//! ended. What a crash leaves in between belongs to no unfinished task and is removed at the next start. Audio that
//! is [downloaded](Download) has a file without a name, which is gone with whoever reads it.

mod download;
mod segment;
mod stored;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::StoreError;
use super::sqlite::{file_error, make_directory};
use crate::audio::bytes::AudioBytes;
use crate::metrics::DiskLevels;
use crate::task::id::TaskId;

pub use download::Download;
pub(super) use segment::{Range, SMALL_BYTES, Segments};
use stored::Spooled;

/// Audio leaves this many bytes of the disk free: tasks must be able to record that they have ended, or no
/// audio would ever go.
const RESERVE: u64 = 8 << 20;
/// Audio of more than this many bytes is written and checked in turns. All at once it would take the cores from
/// everybody else, and the disk, too: an fsync of a small file waits for all that was given to the disk before.
const LARGE_BYTES: u64 = 256 * 1024;
/// Bytes that are given to the disk at once, for the same reason.
const SYNC_BYTES: usize = 4 << 20;

/// Where the audio of a task is, and its checksum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct AtRest {
    /// The place in the segments; `None` where it has a file of its own, or is not in the spool.
    pub(super) range: Option<Range>,
    /// Its CRC-32; `None` where it is not in the spool.
    pub(super) sum: Option<u32>,
}

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
    turns: Arc<Semaphore>,
}

/// Bytes of the spool that are taken, given back when dropped.
#[derive(Debug)]
struct Room {
    spool: Spool,
    bytes: u64,
}

impl Room {
    /// Takes more.
    ///
    /// # Errors
    /// [`StoreError::Full`] beyond the bound of the spool, or of the disk.
    fn grow(&mut self, bytes: u64) -> Result<(), StoreError> {
        let Inner { directory, most, used, .. } = &*self.spool.0;
        self.bytes += bytes;
        if used.fetch_add(bytes, Ordering::Relaxed) + bytes > *most {
            return Err(StoreError::Full("the spool holds limits.max_spool_bytes".to_owned()));
        }
        if disk(directory).map_err(file_error(directory))?.free < bytes.saturating_add(RESERVE) {
            return Err(StoreError::Full(format!("{}: the disk is full", directory.display())));
        }
        Ok(())
    }

    /// What was taken stays taken, until a file of that size is removed.
    fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.spool.uncount(self.bytes);
    }
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
        let used = AtomicU64::new(kept);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let turns = Arc::new(Semaphore::new((cores / 2).max(1)));
        Ok(Self(Arc::new(Inner { directory, most, used, sync, turns })))
    }

    /// A turn to write or check so many bytes, where one is needed.
    pub(super) async fn turn(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        if bytes <= LARGE_BYTES {
            return None;
        }
        Arc::clone(&self.0.turns).acquire_owned().await.ok()
    }

    fn path(&self, id: &TaskId) -> PathBuf {
        self.0.directory.join(id.as_str())
    }

    fn room(&self) -> Room {
        Room { spool: self.clone(), bytes: 0 }
    }

    /// The bytes that are taken, and how many may be.
    pub(super) fn used(&self) -> (u64, u64) {
        (self.0.used.load(Ordering::Relaxed), self.0.most)
    }

    /// The disk, where the system tells of it. Blocks.
    pub(super) fn disk(&self) -> Option<DiskLevels> {
        disk(&self.0.directory).ok()
    }

    /// Has the disk no more room than what is left free for the ends of tasks? Blocks.
    pub(super) fn is_disk_low(&self) -> bool {
        self.disk().is_some_and(|disk| disk.free < RESERVE)
    }

    /// What is there already takes room.
    fn count(&self, bytes: u64) {
        self.0.used.fetch_add(bytes, Ordering::Relaxed);
    }

    fn uncount(&self, bytes: u64) {
        self.0.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Writes a task's audio to a file of its own, and returns its checksum; when this returns, it is on the disk. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Full`] beyond the bound or when the disk is full; then nothing is left of it.
    pub(super) fn write(&self, id: &TaskId, audio: &Bytes) -> Result<u32, StoreError> {
        let mut room = self.room();
        room.grow(audio.len() as u64)?;
        let path = self.path(id);
        // A file that is there already is another task's, and stays.
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(file_error(&path))?;
        match fill(&mut file, audio, self.0.sync) {
            Ok(()) => {
                room.keep();
                Ok(crc32fast::hash(audio))
            }
            Err(err) => {
                let _ = std::fs::remove_file(&path);
                Err(file_error(&path)(err))
            }
        }
    }

    /// A task's audio of `bytes`, which stays where it is. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when it is not there as it was written.
    pub(super) fn read(&self, id: &TaskId, bytes: u64, at_rest: AtRest) -> Result<AudioBytes, StoreError> {
        let AtRest { range, sum } = at_rest;
        let path = range.map_or_else(|| self.path(id), |range| range.path(&self.0.directory));
        let shown = path.display();
        let file = File::open(&path).map_err(|err| match err.kind() {
            io::ErrorKind::NotFound => StoreError::Damaged(format!("{shown} is missing")),
            _ => file_error(&path)(err),
        })?;
        let kept = match range {
            Some(range) => range.bytes,
            None => file.metadata().map_err(file_error(&path))?.len(),
        };
        let text = Spooled { file, from: range.map_or(0, |range| range.offset), bytes };
        if kept == bytes && text.sum().map_err(file_error(&path))? == sum {
            return Ok(AudioBytes::Stored { source: Arc::new(text), len: bytes });
        }
        Err(StoreError::Damaged(match range {
            Some(Range { offset, bytes, .. }) => {
                format!("{shown} is not as it was written ({bytes} bytes at {offset})")
            }
            None => format!("{shown} is not as it was written"),
        }))
    }

    /// Removes a task's own file, if there is one. Blocks.
    pub(super) fn remove(&self, id: &TaskId) {
        let path = self.path(id);
        let Ok(metadata) = std::fs::metadata(&path) else { return };
        match std::fs::remove_file(&path) {
            Ok(()) => self.uncount(metadata.len()),
            Err(err) => tracing::error!(%err, path = %path.display(), "audio cannot be removed"),
        }
    }
}

/// Writes a new file, and brings it to the disk.
fn fill(file: &mut File, text: &[u8], sync: bool) -> io::Result<()> {
    let mut pieces = text.chunks(SYNC_BYTES).peekable();
    while let Some(piece) = pieces.next() {
        file.write_all(piece)?;
        if sync && pieces.peek().is_some() {
            file.sync_data()?;
        }
    }
    // The file systems of Linux bring a new file's name to the disk together with the file.
    if sync { file.sync_all() } else { Ok(()) }
}

/// The disk of a directory.
fn disk(directory: &Path) -> io::Result<DiskLevels> {
    let disk = rustix::fs::statvfs(directory)?;
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    Ok(DiskLevels { free: bytes(disk.f_bavail), size: bytes(disk.f_blocks) })
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
    use futures_util::FutureExt;

    use super::*;

    fn spool(data_dir: &Path, wanted: bool) -> Spool {
        Spool::open(data_dir, 100, true, |_| Ok(wanted)).unwrap()
    }

    fn write(spool: &Spool, id: &TaskId, audio: &[u8]) -> AtRest {
        let sum = spool.write(id, &Bytes::copy_from_slice(audio)).unwrap();
        AtRest { range: None, sum: Some(sum) }
    }

    fn content(audio: &AudioBytes) -> Vec<u8> {
        audio.piece(0, audio.len() as usize).unwrap().into()
    }

    #[test]
    fn audio_is_read_as_it_was_written_until_it_is_removed() {
        let data_dir = tempfile::tempdir().unwrap();
        let spool = spool(data_dir.path(), true);
        let id = TaskId::generate(1);
        let at_rest = write(&spool, &id, b"UklGRg==");
        assert_eq!(content(&spool.read(&id, 8, at_rest).unwrap()), b"UklGRg==");
        assert!(spool.read(&id, 7, at_rest).is_err() && spool.read(&id, 9, at_rest).is_err());
        spool.remove(&id);
        assert!(spool.read(&id, 8, at_rest).is_err());
        spool.remove(&id);
    }

    #[test]
    fn audio_of_several_pieces_is_whole() {
        let data_dir = tempfile::tempdir().unwrap();
        for sync in [true, false] {
            let spool = Spool::open(data_dir.path(), 1 << 30, sync, |_| Ok(false)).unwrap();
            let id = TaskId::generate(1);
            let audio: Vec<u8> = (0..2 * SYNC_BYTES + 1).map(|n| b'A' + (n % 26) as u8).collect();
            let at_rest = write(&spool, &id, &audio);
            assert!(content(&spool.read(&id, audio.len() as u64, at_rest).unwrap()) == audio);
        }
    }

    #[tokio::test]
    async fn only_large_audio_waits_for_a_turn() {
        let data_dir = tempfile::tempdir().unwrap();
        let spool = spool(data_dir.path(), true);
        let all = spool.0.turns.available_permits();
        let mut taken = Vec::new();
        for _ in 0..all {
            taken.push(spool.turn(LARGE_BYTES + 1).await);
        }
        assert!(spool.turn(LARGE_BYTES).now_or_never().is_some());
        assert!(spool.turn(LARGE_BYTES + 1).now_or_never().is_none());
        taken.pop();
        assert!(spool.turn(LARGE_BYTES + 1).now_or_never().is_some());
    }

    #[test]
    fn the_audio_of_another_task_is_never_touched() {
        let data_dir = tempfile::tempdir().unwrap();
        let spool = spool(data_dir.path(), true);
        let id = TaskId::generate(1);
        let at_rest = write(&spool, &id, &[b'A'; 50]);
        assert!(matches!(spool.write(&id, &Bytes::from(vec![b'B'; 50])), Err(StoreError::Directory { .. })));
        assert_eq!(content(&spool.read(&id, 50, at_rest).unwrap()), vec![b'A'; 50]);
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
    fn a_single_flipped_bit_makes_audio_unreadable() {
        let data_dir = tempfile::tempdir().unwrap();
        let spool = spool(data_dir.path(), true);
        let id = TaskId::generate(1);
        let at_rest = write(&spool, &id, b"UklGRg==");
        let path = data_dir.path().join("spool").join(id.as_str());
        for damaged in [&b"UklGRf=="[..], b"UklG\0\0\0\0", b"UklGRg="] {
            std::fs::write(&path, damaged).unwrap();
            let Err(StoreError::Damaged(said)) = spool.read(&id, 8, at_rest) else { panic!("{damaged:?}") };
            assert!(said.contains(path.to_str().unwrap()), "{said}");
        }
        std::fs::write(&path, b"UklGRg==").unwrap();
        spool.read(&id, 8, at_rest).unwrap();
    }

    #[test]
    fn a_start_counts_what_is_wanted_and_removes_the_rest() {
        let data_dir = tempfile::tempdir().unwrap();
        let id = TaskId::generate(1);
        let at_rest = write(&spool(data_dir.path(), true), &id, &[b'A'; 60]);
        let again = spool(data_dir.path(), true);
        assert!(again.write(&TaskId::generate(1), &Bytes::from(vec![b'A'; 41])).is_err());
        assert!(spool(data_dir.path(), false).read(&id, 60, at_rest).is_err());
    }

    #[test]
    fn a_download_counts_as_long_as_somebody_has_it_and_leaves_nothing() {
        let data_dir = tempfile::tempdir().unwrap();
        let spool = spool(data_dir.path(), true);
        let mut download = spool.download().unwrap();
        download.append(b"first, ").unwrap();
        download.append(b"then").unwrap();
        let text = download.finish();
        assert_eq!(content(&text), b"first, then");
        assert_eq!(std::fs::read_dir(data_dir.path().join("spool")).unwrap().count(), 0);
        let mut another = spool.download().unwrap();
        assert!(matches!(another.append(&[0; 90]), Err(StoreError::Full(_))));
        drop((text, another));
        spool.download().unwrap().append(&[0; 100]).unwrap();
    }
}
