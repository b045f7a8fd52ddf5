//! Chunks, the parts of WAVE and AIFF files: their heads, the end of a row of them, and the facts about a file of
//! chunks.

use std::io::{self, Read, Seek};

use crate::audio::reading::read_at;

/// The most chunks that are read: a header is untrusted.
const CHUNKS: usize = 256;

/// The facts about a file of chunks: its samples, and the plainest header that describes them.
#[derive(Debug)]
pub(crate) struct Shape {
    /// The header to show, up to the samples.
    pub(crate) header: Vec<u8>,
    /// The offset of the samples, and how many bytes of them are present.
    pub(crate) data: u64,
    pub(crate) length: u64,
    /// The end of the file, after the chunks behind its samples. Another file may follow.
    pub(crate) end: u64,
    /// True if the header states more samples than are present.
    pub(crate) is_cut: bool,
}

/// A chunk of a file.
pub(crate) struct Chunk {
    pub(crate) id: [u8; 4],
    /// The size that its head states.
    pub(crate) size: u32,
    /// The offset of the chunk's content.
    pub(crate) start: u64,
    /// The first 32 bytes of the content, fewer if the file ends before.
    pub(crate) content: Vec<u8>,
}

impl Chunk {
    /// Returns where the next chunk starts, if the stated size is right.
    pub(crate) fn end(&self) -> u64 {
        self.start.saturating_add(u64::from(self.size)).saturating_add(u64::from(self.size % 2))
    }
}

/// Reads a number in the byte order of the file.
pub(crate) type ReadSize = fn([u8; 4]) -> u32;

/// Reads the head of the chunk at `at`, and up to 32 bytes of its content.
fn chunk_at(inner: &mut (impl Read + Seek), at: u64, size: ReadSize) -> io::Result<Option<Chunk>> {
    let head = read_at::<40>(inner, at)?;
    Ok(head.bytes().split_first_chunk::<4>().and_then(|(id, rest)| {
        let (stated, content) = rest.split_first_chunk::<4>()?;
        let start = at.saturating_add(8);
        Some(Chunk { id: *id, size: size(*stated), start, content: content.to_vec() })
    }))
}

/// Returns where the chunks that start at `at` end, if chunk follows chunk until the file ends or another file begins.
/// This is true behind the real end of samples, and not in the middle of them.
pub(crate) fn end_of_chunks(
    inner: &mut (impl Read + Seek),
    mut at: u64,
    end: u64,
    size: ReadSize,
    next: &[&[u8; 4]],
) -> io::Result<Option<u64>> {
    for _ in 0..CHUNKS {
        // A pad byte may be missing, or one may be left.
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

/// Calls `visit` with each chunk from `at` on, until `visit` returns `None` instead of the place of the next chunk.
pub(crate) fn walk<S: Read + Seek>(
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
