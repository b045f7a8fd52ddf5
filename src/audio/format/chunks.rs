//! Chunks, of which WAVE and AIFF files are made: their heads, where a row of them ends, and what is found in such a file.

use std::io::{self, Read, Seek};

use crate::audio::reading::read_at;

/// Chunks that are looked at: a header comes from outside.
const CHUNKS: usize = 256;

/// What is found in a file made of chunks: its samples, and the plainest header that tells how to read them.
#[derive(Debug)]
pub(crate) struct Shape {
    /// The header to show, up to the samples.
    pub(crate) header: Vec<u8>,
    /// Where the samples start, and how many bytes of them are there.
    pub(crate) data: u64,
    pub(crate) length: u64,
    /// Where the file ends, with the chunks behind its samples; something else may follow.
    pub(crate) end: u64,
    /// True if the header states more samples than are there.
    pub(crate) is_cut: bool,
}

/// A chunk of a file that is made of them.
pub(crate) struct Chunk {
    pub(crate) id: [u8; 4],
    /// The size that its head states.
    pub(crate) size: u32,
    /// Where its content starts.
    pub(crate) start: u64,
    /// Its first bytes, as many as there are of them.
    pub(crate) content: Vec<u8>,
}

impl Chunk {
    /// Returns where the next chunk starts, if this one ends where it says.
    pub(crate) fn end(&self) -> u64 {
        self.start.saturating_add(u64::from(self.size)).saturating_add(u64::from(self.size % 2))
    }
}

/// How the numbers of a file are written.
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

/// Returns where the chunks that start at `at` end, if there is one chunk after the other until the file ends, or
/// until another file begins: so it is behind samples that are really at their end, and not in the middle of some.
pub(crate) fn end_of_chunks(
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
