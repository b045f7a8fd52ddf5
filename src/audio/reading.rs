//! Bounded reads at any offset of a file, in memory or on a disk. This module does not depend on any format.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

/// Random access to bytes, whatever their origin.
pub trait Source: Read + Seek + Send + Sync {}

impl<S: Read + Seek + Send + Sync> Source for S {}

/// Up to `N` bytes that were read from one offset: fewer at the end of the data.
pub(crate) struct BytesRead<const N: usize> {
    buffer: [u8; N],
    filled: usize,
}

impl<const N: usize> BytesRead<N> {
    /// Returns the bytes that were read.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.filled).unwrap_or_default()
    }
}

/// Reads up to `N` bytes from `offset`, fewer only if the data ends.
pub(crate) fn read_at<const N: usize>(
    reader: &mut (impl Read + Seek),
    offset: u64,
) -> io::Result<BytesRead<N>> {
    let mut piece = BytesRead { buffer: [0; N], filled: 0 };
    reader.seek(SeekFrom::Start(offset))?;
    while let Some(rest) = piece.buffer.get_mut(piece.filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(count) => piece.filled += count.min(rest.len()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(piece)
}

/// Reads up to `most` bytes from `offset`, fewer only if the data ends.
pub(crate) fn read_stretch(reader: &mut (impl Read + Seek), offset: u64, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.seek(SeekFrom::Start(offset))?;
    reader.by_ref().take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Shows a range of a file as if it were a whole file.
pub(crate) struct Window<'s, S> {
    source: &'s mut S,
    range: Range<u64>,
    /// The position in the whole file.
    at: u64,
}

impl<'s, S: Source> Window<'s, S> {
    /// Shows this range, from its start.
    pub(crate) fn new(source: &'s mut S, range: Range<u64>) -> io::Result<Self> {
        let at = source.seek(SeekFrom::Start(range.start))?;
        Ok(Self { source, range, at })
    }

    /// Returns the length of the range.
    pub(crate) fn length(&self) -> u64 {
        self.range.end.saturating_sub(self.range.start)
    }
}

impl<S: Source> Read for Window<'_, S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.range.end.saturating_sub(self.at);
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        let count = self.source.read(buf.get_mut(..most).unwrap_or_default())?;
        self.at = self.at.saturating_add(count as u64);
        Ok(count)
    }
}

impl<S: Source> Seek for Window<'_, S> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => self.range.start.checked_add(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.range.end.checked_add_signed(by),
        };
        let at = at.filter(|at| *at >= self.range.start).ok_or(io::ErrorKind::InvalidInput)?;
        self.at = self.source.seek(SeekFrom::Start(at))?;
        Ok(self.at - self.range.start)
    }
}
