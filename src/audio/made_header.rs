//! A file behind a header that was made for it: what the library reads is a header in its plainest form, then the
//! samples as they are. The forms of header that the library cannot read are understood elsewhere.

use std::io::{self, Read, Seek, SeekFrom};

use symphonia::core::io::MediaSource;

use super::container::read_at;

/// Chunks that are looked at: a header comes from outside.
const CHUNKS: usize = 256;

/// What is found in a file made of chunks.
#[derive(Debug)]
pub(super) struct Shape {
    /// The header to show, up to the samples.
    pub(super) header: Vec<u8>,
    /// Where the samples start, and how many bytes of them are there.
    pub(super) data: u64,
    pub(super) length: u64,
    /// Where the file ends, with the chunks behind its samples; something else may follow.
    pub(super) end: u64,
    /// True if the header states more samples than are there.
    pub(super) is_cut: bool,
}

/// A file behind a header that was made for it.
pub(super) struct MadeHeader<'s> {
    inner: Box<dyn MediaSource + 's>,
    shape: Shape,
    position: u64,
}

impl<'s> MadeHeader<'s> {
    /// Shows the file that `inner` holds in the given shape.
    pub(super) fn new(inner: Box<dyn MediaSource + 's>, shape: Shape) -> Self {
        Self { inner, shape, position: 0 }
    }

    /// Returns how long the file is as it is shown.
    fn end(&self) -> u64 {
        self.shape.length.saturating_add(self.shape.header.len() as u64)
    }
}

impl Read for MadeHeader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let made = self.shape.header.len() as u64;
        let count = match self.position.checked_sub(made) {
            None => {
                let from = usize::try_from(self.position).map_err(io::Error::other)?;
                self.shape.header.get(from..).unwrap_or_default().read(buf)?
            }
            Some(behind) => {
                self.inner.seek(SeekFrom::Start(self.shape.data.saturating_add(behind)))?;
                (&mut self.inner).take(self.shape.length.saturating_sub(behind)).read(buf)?
            }
        };
        self.position = self.position.saturating_add(count as u64);
        Ok(count)
    }
}

impl Seek for MadeHeader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.end().checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl MediaSource for MadeHeader<'_> {
    fn is_seekable(&self) -> bool {
        self.inner.is_seekable()
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.end())
    }
}

/// A chunk of a file that is made of them.
pub(super) struct Chunk {
    pub(super) id: [u8; 4],
    /// The size that its head states.
    pub(super) size: u32,
    /// Where its content starts.
    pub(super) start: u64,
    /// Its first bytes, as many as there are of them.
    pub(super) content: Vec<u8>,
}

impl Chunk {
    /// Returns where the next chunk starts, if this one ends where it says.
    pub(super) fn end(&self) -> u64 {
        self.start.saturating_add(u64::from(self.size)).saturating_add(u64::from(self.size % 2))
    }
}

/// How the numbers of a file are written.
pub(super) type ReadSize = fn([u8; 4]) -> u32;

/// Reads the head of the chunk at `at`, and up to 32 bytes of its content.
pub(super) fn chunk_at(inner: &mut (impl Read + Seek), at: u64, size: ReadSize) -> io::Result<Option<Chunk>> {
    let head = read_at::<40>(inner, at)?;
    Ok(head.bytes().split_first_chunk::<4>().and_then(|(id, rest)| {
        let (stated, content) = rest.split_first_chunk::<4>()?;
        let start = at.saturating_add(8);
        Some(Chunk { id: *id, size: size(*stated), start, content: content.to_vec() })
    }))
}

/// Returns where the chunks that start at `at` end, if there is one chunk after the other until the file ends, or
/// until another file begins: so it is behind samples that are really at their end, and not in the middle of some.
pub(super) fn end_of_chunks(
    inner: &mut (impl Read + Seek),
    mut at: u64,
    end: u64,
    size: ReadSize,
    next: &[&[u8; 4]],
) -> io::Result<Option<u64>> {
    for _ in 0..CHUNKS {
        // A pad byte that is missing, or one that is left.
        if at >= end.saturating_sub(1) {
            return Ok(Some(at.min(end)));
        }
        let Some(chunk) = chunk_at(inner, at, size)? else { return Ok(None) };
        if next.contains(&&chunk.id) {
            return Ok(Some(at));
        }
        if !chunk.id.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') {
            return Ok(None);
        }
        at = chunk.end();
        if at > end.saturating_add(1) {
            return Ok(None);
        }
    }
    Ok(Some(at))
}

/// Calls `visit` with each chunk from `at` on, until it returns the place of the next one as `None`.
pub(super) fn walk<S: Read + Seek>(
    inner: &mut S,
    mut at: u64,
    size: ReadSize,
    mut visit: impl FnMut(&mut S, &Chunk) -> io::Result<Option<u64>>,
) -> io::Result<()> {
    for _ in 0..CHUNKS {
        let Some(chunk) = chunk_at(inner, at, size)? else { break };
        match visit(inner, &chunk)? {
            Some(next) => at = next,
            None => break,
        }
    }
    Ok(())
}
