//! Reads along a range of a file, a block at a time and a bounded number of bytes.

use std::io::{self, Read as _, SeekFrom};
use std::ops::Range;

use crate::audio::reading::{Source, read_stretch};

/// The number of bytes that are read at a time.
const BLOCK: usize = 64 << 10;

/// A range of a file that is read from its start to its end.
pub(super) struct Scan<'s, S> {
    source: &'s mut S,
    pub(super) range: Range<u64>,
    /// The number of bytes that may still be read.
    left: u64,
    block: Vec<u8>,
    /// The offset of the block in the file.
    at: u64,
}

impl<'s, S: Source> Scan<'s, S> {
    /// Prepares to read at most `most` bytes of this range.
    pub(super) fn new(source: &'s mut S, range: Range<u64>, most: u64) -> Self {
        Self { source, at: range.start, range, left: most, block: Vec::new() }
    }

    /// Returns `count` bytes from `at` on, fewer at the end of the range or of the allowed bytes.
    pub(super) fn bytes(&mut self, at: u64, count: usize) -> io::Result<&[u8]> {
        let wanted = (count as u64).min(self.range.end.saturating_sub(at)) as usize;
        if self.held(at).len() < wanted {
            self.load(at, wanted)?;
        }
        let held = self.held(at);
        Ok(held.get(..wanted).unwrap_or(held))
    }

    /// Returns the available bytes from `at` on, and whether the end follows: at least `least` bytes if it does not.
    /// Bytes that were read for this are not read again.
    pub(super) fn ahead(&mut self, at: u64, least: usize) -> io::Result<(&[u8], bool)> {
        if self.held(at).len() < least && !self.is_last(at) {
            let kept = self.held(at).len();
            self.block.drain(..self.block.len() - kept);
            self.at = at;
            let from = at.saturating_add(kept as u64);
            let most = ((BLOCK + least) as u64).min(self.range.end.saturating_sub(from)).min(self.left);
            self.read(from, most)?;
        }
        let is_last = self.is_last(at);
        Ok((self.held(at), is_last))
    }

    /// Returns true if the held bytes from `at` on reach the end of the range or of the allowed bytes.
    fn is_last(&self, at: u64) -> bool {
        self.left == 0 || at.saturating_add(self.held(at).len() as u64) >= self.range.end
    }

    /// Returns the file.
    pub(super) fn source(&mut self) -> &mut S {
        self.source
    }

    /// Reads a short range outside of the scan.
    pub(super) fn read_apart(&mut self, range: Range<u64>) -> io::Result<Vec<u8>> {
        read_stretch(self.source, range.start, range.end.saturating_sub(range.start))
    }

    /// Returns true if no more bytes may be read, so that the end that was found is not the end of the range.
    pub(super) fn is_exhausted(&self) -> bool {
        self.left == 0
    }

    fn held(&self, at: u64) -> &[u8] {
        let from = at.checked_sub(self.at).and_then(|from| usize::try_from(from).ok());
        from.and_then(|from| self.block.get(from..)).unwrap_or_default()
    }

    /// Makes at least `wanted` bytes from `at` on available. Held bytes are kept, so that they are read once.
    fn load(&mut self, at: u64, wanted: usize) -> io::Result<()> {
        let kept = self.held(at).len();
        self.block.drain(..self.block.len() - kept);
        self.at = at;
        let from = at.saturating_add(kept as u64);
        let most = (wanted.max(BLOCK) - kept) as u64;
        self.read(from, most.min(self.range.end.saturating_sub(from)).min(self.left))
    }

    /// Appends up to `most` bytes from `from` on to the block.
    fn read(&mut self, from: u64, most: u64) -> io::Result<()> {
        self.source.seek(SeekFrom::Start(from))?;
        self.source.by_ref().take(most).read_to_end(&mut self.block)?;
        self.left = self.left.saturating_sub(most);
        Ok(())
    }
}
