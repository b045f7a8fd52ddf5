//! Audio in a file of the spool: its writes, its reads, and its checksum.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use crate::audio::BytesAt;

/// Most bytes in memory at a time while audio is checked.
const PIECE_BYTES: usize = 64 * 1024;
/// Most bytes that are written before a sync: an fsync of a small file waits for everything written before it.
pub(super) const SYNC_BYTES: usize = 4 << 20;

/// An open file of the spool.
#[derive(Debug)]
pub(super) struct AudioFile(pub(super) File);

impl BytesAt for AudioFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(err),
            }
        }
        Ok(filled)
    }
}

impl AudioFile {
    /// Returns the CRC-32 of the whole file.
    pub(super) fn sum(&self) -> io::Result<u32> {
        let mut piece = vec![0; PIECE_BYTES];
        let (mut offset, mut sum) = (0, crc32fast::Hasher::new());
        loop {
            let count = self.read_at(offset, &mut piece)?;
            if count == 0 {
                return Ok(sum.finalize());
            }
            sum.update(piece.get(..count).unwrap_or_default());
            offset += count as u64;
        }
    }
}

/// Writes a new file, and with `sync` syncs it to the disk. Removes the file if that fails.
///
/// # Errors
/// When the file cannot be written. A file that exists already belongs to another blob and stays.
pub(super) fn write(path: &Path, bytes: &[u8], sync: bool) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    fill(&mut file, bytes, sync).inspect_err(|_| drop(std::fs::remove_file(path)))
}

fn fill(file: &mut File, bytes: &[u8], sync: bool) -> io::Result<()> {
    let mut pieces = bytes.chunks(SYNC_BYTES).peekable();
    while let Some(piece) = pieces.next() {
        file.write_all(piece)?;
        if sync && pieces.peek().is_some() {
            file.sync_data()?;
        }
    }
    // The file systems of Linux sync the name of a new file together with the file.
    if sync { file.sync_all() } else { Ok(()) }
}
