//! WAVE: its signature and its chunks. Whatever its header, a file can be shown as RIFF with one `fmt ` and one `data`
//! chunk.
//!
//! The library that reads WAVE does not know RF64 (EBU Tech 3306), loses its place behind a `LIST` of odd length, and
//! believes the placeholder sizes of programs that cannot go back to the header. This file finds the two chunks and
//! interprets neither.

use std::io::{self, Read, Seek, SeekFrom};

use super::chunks::{Shape, end_of_chunks, walk};

/// The first bytes of a file.
const FORMS: [&[u8; 4]; 3] = [b"RIFF", b"RF64", b"BW64"];
/// The longest `fmt ` chunk that is shown; real ones have 40 bytes at most, or some hundred for rare codecs.
const FORMAT: u32 = 4096;
/// From this value on, a size that goes beyond the end of the file is a placeholder: 64-bit forms write the highest
/// number, and programs that write to a pipe write the highest number or about half of it.
const UNKNOWN: u32 = 0x7f00_0000;
/// The number of bytes that are searched at a time for a file that follows.
const SEARCHED: usize = 64 << 10;

/// Returns true if these are the first bytes of a WAVE file.
pub(crate) fn is_wave(head: &[u8]) -> bool {
    let form = head.first_chunk().is_some_and(|id| FORMS.contains(&id));
    form && head.get(8..12) == Some(b"WAVE")
}

/// Finds the chunks of the one file in `inner`. If the file ends before its samples, only the present part is shown.
pub(crate) fn shape(inner: &mut (impl Read + Seek)) -> io::Result<Shape> {
    read(inner, |_, _, end| Ok(end))
}

/// Finds the chunks of the first file in `inner`. If the number of its samples is unknown, the samples are searched for
/// the beginning of another file.
pub(crate) fn first_shape(inner: &mut (impl Read + Seek)) -> io::Result<Shape> {
    read(inner, next_file)
}

/// Returns true if at least one sample of each channel follows the headers. Reads no further than that: a few reads are
/// enough for a file of any length.
pub(crate) fn has_sample(inner: &mut (impl Read + Seek)) -> io::Result<bool> {
    let shape = shape(inner)?;
    // A `fmt ` chunk states how many bytes one sample of each channel takes.
    let block =
        shape.header.get(32..34).and_then(<[u8]>::first_chunk).map(|block| u16::from_le_bytes(*block));
    Ok(shape.length >= u64::from(block.unwrap_or(1)).max(1))
}

/// Reads the chunks up to the samples. `samples_end` returns where an unknown number of samples ends, given where the
/// samples begin and where the file ends.
fn read<R: Read + Seek>(
    inner: &mut R,
    samples_end: impl Fn(&mut R, u64, u64) -> io::Result<u64>,
) -> io::Result<Shape> {
    let end = inner.seek(SeekFrom::End(0))?;
    let header = b"RIFF\xff\xff\xff\xffWAVE".to_vec();
    let mut shape = Shape { header, data: end, length: 0, end, is_cut: true };
    let mut long_length = None;
    walk(inner, 12, u32::from_le_bytes, |inner, chunk| {
        match &chunk.id {
            // The sizes of the whole file and of its samples, in 64 bits each.
            b"ds64" => {
                let length = chunk.content.get(8..).and_then(|rest| rest.first_chunk());
                long_length = length.map(|length| u64::from_le_bytes(*length));
            }
            b"fmt " if chunk.size <= FORMAT && shape.header.len() == 12 => {
                shape.header.extend_from_slice(b"fmt ");
                shape.header.extend_from_slice(&chunk.size.to_le_bytes());
                inner.seek(SeekFrom::Start(chunk.start))?;
                inner.by_ref().take(u64::from(chunk.size)).read_to_end(&mut shape.header)?;
                // The pad byte.
                shape.header.resize(shape.header.len().next_multiple_of(2), 0);
            }
            b"data" => {
                let stated = match (chunk.size, long_length) {
                    (u32::MAX, Some(length)) => length,
                    (size, _) => u64::from(size),
                };
                samples(inner, &mut shape, chunk.start, stated, &samples_end)?;
                let shown = u32::try_from(shape.length).unwrap_or(u32::MAX);
                shape.header.extend_from_slice(b"data");
                shape.header.extend_from_slice(&shown.to_le_bytes());
                return Ok(None);
            }
            _ => {}
        }
        Ok(Some(chunk.end()))
    })?;
    inner.seek(SeekFrom::Start(0))?;
    Ok(shape)
}

/// Finds how many bytes of samples follow `start`; the header states `stated`.
fn samples<R: Read + Seek>(
    inner: &mut R,
    shape: &mut Shape,
    start: u64,
    stated: u64,
    samples_end: impl Fn(&mut R, u64, u64) -> io::Result<u64>,
) -> io::Result<()> {
    let end = shape.end;
    let there = end.saturating_sub(start);
    shape.data = start;
    let chunks_end = |inner: &mut _, at| end_of_chunks(inner, at, end, u32::from_le_bytes, &FORMS);
    let is_placeholder = match stated {
        // A recorder that crashed, or a pipe, leaves a 0. The 0 may also be true, and chunks may follow.
        0 => chunks_end(inner, start)?.is_none(),
        size => size > there && size >= u64::from(UNKNOWN),
    };
    if is_placeholder {
        shape.end = samples_end(inner, start, end)?;
        shape.length = shape.end - start;
        shape.is_cut = false;
    } else if stated > there {
        shape.length = there;
    } else {
        shape.length = stated;
        shape.is_cut = false;
        let behind = start + stated;
        shape.end = behind;
        // Some programs do not write the pad byte.
        for at in [behind + stated % 2, behind] {
            if let Some(found) = chunks_end(inner, at)? {
                shape.end = found;
                break;
            }
        }
    }
    Ok(())
}

/// Returns where the next WAVE file begins behind an unknown number of samples, or the end.
fn next_file(inner: &mut (impl Read + Seek), start: u64, end: u64) -> io::Result<u64> {
    const HEAD: usize = 16;
    let mut block = Vec::with_capacity(SEARCHED + HEAD);
    let mut at = start;
    while at < end {
        inner.seek(SeekFrom::Start(at))?;
        block.clear();
        inner.by_ref().take((SEARCHED + HEAD) as u64).read_to_end(&mut block)?;
        let found = memchr::memmem::find_iter(&block, b"RIFF")
            .find(|place| block.get(place + 8..place + 16) == Some(b"WAVEfmt "));
        if let Some(found) = found {
            return Ok(at + found as u64);
        }
        at += SEARCHED as u64;
    }
    Ok(end)
}
