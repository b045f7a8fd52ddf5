//! Audio in a file of the spool: read from there, and judged whether it is whole.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::audio::bytes::BytesAt;

/// Bytes that are looked at together when audio is checked.
const PIECE_BYTES: usize = 64 * 1024;

/// A part of an open file of the spool.
#[derive(Debug)]
pub(super) struct Spooled {
    pub(super) file: File,
    /// Where the audio begins, in bytes.
    pub(super) from: u64,
    /// Its length.
    pub(super) bytes: u64,
}

impl BytesAt for Spooled {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = left.min(buf.len());
        let mut filled = 0;
        while let Some(rest) = buf.get_mut(filled..wanted).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, self.from + offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(err),
            }
        }
        Ok(filled)
    }
}

impl Spooled {
    /// The CRC-32 of all of it; `None` where the file ends before.
    pub(super) fn sum(&self) -> io::Result<Option<u32>> {
        let mut piece = vec![0; PIECE_BYTES];
        let (mut offset, mut sum) = (0, crc32fast::Hasher::new());
        while offset < self.bytes {
            let count = self.read_at(offset, &mut piece)?;
            if count == 0 {
                return Ok(None);
            }
            sum.update(piece.get(..count).unwrap_or_default());
            offset += count as u64;
        }
        Ok(Some(sum.finalize()))
    }
}
