//! Reading along a stretch of a file, a block at a time and a bounded number of bytes.

use std::io::{self, Read as _, SeekFrom};
use std::ops::Range;

use crate::audio::reading::{Source, read_stretch};

/// How much is read at a time.
const BLOCK: usize = 64 << 10;

/// A stretch of a file that is looked through from its start to its end.
pub(super) struct Scan<'s, S> {
    source: &'s mut S,
    pub(super) range: Range<u64>,
    /// Bytes that may still be read.
    left: u64,
    block: Vec<u8>,
    /// Where the block starts in the file.
    at: u64,
}

impl<'s, S: Source> Scan<'s, S> {
    /// Prepares to read at most so many bytes of this range.
    pub(super) fn new(source: &'s mut S, range: Range<u64>, most: u64) -> Self {
        Self { source, at: range.start, range, left: most, block: Vec::new() }
    }

    /// Returns `count` bytes from `at` on, fewer at the end of the range or of what may be read.
    pub(super) fn bytes(&mut self, at: u64, count: usize) -> io::Result<&[u8]> {
        let wanted = (count as u64).min(self.range.end.saturating_sub(at)) as usize;
        if self.held(at).len() < wanted {
            self.load(at, wanted)?;
        }
        let held = self.held(at);
        Ok(held.get(..wanted).unwrap_or(held))
    }

    /// Returns what is at hand from `at` on, and whether the end follows: at least `least` bytes if it does not. What was
    /// read once for this is not read again.
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

    /// Returns true if what is held from `at` on goes to the end, or to the end of what may be read.
    fn is_last(&self, at: u64) -> bool {
        self.left == 0 || at.saturating_add(self.held(at).len() as u64) >= self.range.end
    }

    /// Returns the file that is looked through.
    pub(super) fn source(&mut self) -> &mut S {
        self.source
    }

    /// Reads something short beside the way.
    pub(super) fn read_apart(&mut self, range: Range<u64>) -> io::Result<Vec<u8>> {
        read_stretch(self.source, range.start, range.end.saturating_sub(range.start))
    }

    /// Returns whether no more may be read, so that the end that was found is not the end of the range.
    pub(super) fn is_exhausted(&self) -> bool {
        self.left == 0
    }

    fn held(&self, at: u64) -> &[u8] {
        let from = at.checked_sub(self.at).and_then(|from| usize::try_from(from).ok());
        from.and_then(|from| self.block.get(from..)).unwrap_or_default()
    }

    /// Makes at least so many bytes from `at` on available. What is held of them is kept, so that it is read once.
    fn load(&mut self, at: u64, wanted: usize) -> io::Result<()> {
        let kept = self.held(at).len();
        self.block.drain(..self.block.len() - kept);
        self.at = at;
        let from = at.saturating_add(kept as u64);
        let most = (wanted.max(BLOCK) - kept) as u64;
        self.read(from, most.min(self.range.end.saturating_sub(from)).min(self.left))
    }

    /// Reads so many bytes to the end of the block.
    fn read(&mut self, from: u64, most: u64) -> io::Result<()> {
        self.source.seek(SeekFrom::Start(from))?;
        self.source.by_ref().take(most).read_to_end(&mut self.block)?;
        self.left = self.left.saturating_sub(most);
        Ok(())
    }
}
