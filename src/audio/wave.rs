//! A WAVE file in its plainest form: however its header is written, it reads as RIFF with one `fmt ` and one
//! `data` chunk. The library that reads WAVE knows no RF64 (EBU Tech 3306), loses its place behind a `LIST`
//! of odd length, and takes the sizes that a program writes that cannot go back to its header for true.
//! This file finds the two chunks and understands neither.

use std::io::{self, Read, Seek, SeekFrom};

use symphonia::core::io::MediaSource;

use super::container::read_at;

/// Chunks that are looked at: a header comes from outside.
const CHUNKS: usize = 256;
/// The longest `fmt ` chunk that is shown; real ones have 40 bytes at most, or some hundred for rare codecs.
const FORMAT: u32 = 4096;
/// From here on a size that goes beyond the end of the file is no size: 64-bit forms write the highest number,
/// and programs that write to a pipe that one, or about half of it.
const UNKNOWN: u32 = 0x7fff_0000;

/// A WAVE file behind a header that was made for it.
pub(crate) struct PlainWave<'s> {
    inner: Box<dyn MediaSource + 's>,
    header: Vec<u8>,
    /// Where the samples start in `inner`, and how many bytes they are said to be.
    data: u64,
    length: u64,
    position: u64,
}

/// Are these the first bytes of a WAVE file?
pub(crate) fn is_wave(head: &[u8]) -> bool {
    let form = head.get(..4).is_some_and(|id| matches!(id, b"RIFF" | b"RF64" | b"BW64"));
    form && head.get(8..12) == Some(b"WAVE")
}

impl<'s> PlainWave<'s> {
    /// Looks for the chunks of the file that `inner` holds. Of a file that ends before its samples, only what
    /// is there is shown.
    pub(crate) fn new(mut inner: Box<dyn MediaSource + 's>) -> io::Result<Self> {
        let end = inner.seek(SeekFrom::End(0))?;
        let mut header = b"RIFF\xff\xff\xff\xffWAVE".to_vec();
        let (mut data, mut length) = (end, 0);
        let riff_is_empty = read_at::<8>(&mut inner, 0)?.bytes().ends_with(&[0; 4]);
        let mut long_length = None;
        let mut at: u64 = 12;
        for _ in 0..CHUNKS {
            let head = read_at::<24>(&mut inner, at)?;
            let Some((id, size, content)) = chunk(head.bytes()) else { break };
            let start = at.saturating_add(8);
            match id {
                // The sizes of the whole file and of its samples, in 64 bits each.
                b"ds64" => long_length = content.get(8..).and_then(|rest| rest.first_chunk()).copied(),
                b"fmt " if size <= FORMAT && header.len() == 12 => {
                    header.extend_from_slice(b"fmt ");
                    header.extend_from_slice(&size.to_le_bytes());
                    inner.seek(SeekFrom::Start(start))?;
                    (&mut inner).take(u64::from(size)).read_to_end(&mut header)?;
                    // The pad byte.
                    header.resize(header.len().next_multiple_of(2), 0);
                }
                b"data" => {
                    let to_the_end = end.saturating_sub(start);
                    length = match (size, long_length) {
                        (u32::MAX, Some(length)) => u64::from_le_bytes(length),
                        (UNKNOWN.., _) if u64::from(size) > to_the_end => to_the_end,
                        (0, _) if riff_is_empty => to_the_end,
                        _ => u64::from(size),
                    };
                    data = start;
                    let shown = u32::try_from(length).unwrap_or(u32::MAX);
                    header.extend_from_slice(b"data");
                    header.extend_from_slice(&shown.to_le_bytes());
                    break;
                }
                _ => {}
            }
            at = start.saturating_add(u64::from(size)).saturating_add(u64::from(size % 2));
        }
        inner.seek(SeekFrom::Start(0))?;
        Ok(Self { inner, header, data, length, position: 0 })
    }

    /// Returns true if at least one sample of each channel is there.
    pub(crate) fn has_sample(&mut self) -> io::Result<bool> {
        let there = self.end()?.saturating_sub(self.header.len() as u64);
        // A `fmt ` chunk says how many bytes these are.
        let block = self
            .header
            .get(32..34)
            .map_or(1, |block| block.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)));
        Ok(there >= block.max(1))
    }

    /// How long the file is as it is shown.
    fn end(&mut self) -> io::Result<u64> {
        let there = self.inner.seek(SeekFrom::End(0))?.saturating_sub(self.data);
        Ok(there.min(self.length).saturating_add(self.header.len() as u64))
    }
}

/// Identifier, size and first bytes of the chunk that these bytes begin.
fn chunk(bytes: &[u8]) -> Option<(&[u8; 4], u32, &[u8])> {
    let (id, rest) = bytes.split_first_chunk::<4>()?;
    let (size, content) = rest.split_first_chunk::<4>()?;
    Some((id, u32::from_le_bytes(*size), content))
}

impl Read for PlainWave<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let made = self.header.len() as u64;
        let count = match self.position.checked_sub(made) {
            None => {
                let from = usize::try_from(self.position).map_err(io::Error::other)?;
                self.header.get(from..).unwrap_or_default().read(buf)?
            }
            Some(behind) => {
                self.inner.seek(SeekFrom::Start(self.data.saturating_add(behind)))?;
                (&mut self.inner).take(self.length.saturating_sub(behind)).read(buf)?
            }
        };
        self.position = self.position.saturating_add(count as u64);
        Ok(count)
    }
}

impl Seek for PlainWave<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.end()?.checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl MediaSource for PlainWave<'_> {
    fn is_seekable(&self) -> bool {
        self.inner.is_seekable()
    }

    fn byte_len(&self) -> Option<u64> {
        let there = self.inner.byte_len()?.saturating_sub(self.data);
        Some(there.min(self.length).saturating_add(self.header.len() as u64))
    }
}

#[cfg(test)]
pub(super) mod tests;
