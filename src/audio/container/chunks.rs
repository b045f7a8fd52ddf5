//! What follows the headers of WAVE, AIFF and FLAC: whether a sample or a frame is there. Lengths in headers lie, so
//! what counts is the bytes behind them.

use std::io;

use super::super::library::{Source, ask_bytes};
use super::super::no_audio::NoAudio;
use super::super::wave::shape;
use super::{Container, read_at, read_stretch};

/// Chunks and blocks that are looked at: a header comes from outside.
const CHUNKS: usize = 256;
/// Bytes behind the headers of FLAC that are searched for a frame.
const SEARCHED: usize = 64 * 1024;

fn judged(container: Container, has_sound: bool) -> Result<Container, NoAudio> {
    if has_sound { Ok(container) } else { Err(NoAudio::Soundless(container)) }
}

/// Judges the WAVE file that starts at `offset`.
pub(super) fn wave(source: &mut impl Source, offset: u64) -> io::Result<Result<Container, NoAudio>> {
    let has_sample = ask_bytes(source, offset, |mut stretch| Some(shape(&mut stretch).ok()?.has_sample()))?;
    Ok(judged(Container::Wav, has_sample == Some(true)))
}

/// Judges the AIFF or AIFF-C file that starts at `offset`.
pub(super) fn aiff(
    source: &mut impl Source,
    offset: u64,
    end: u64,
) -> io::Result<Result<Container, NoAudio>> {
    let mut at = offset.saturating_add(12);
    for _ in 0..CHUNKS {
        let head = read_at::<8>(source, at)?;
        let Some((id, size)) = chunk(head.bytes()) else { break };
        let content = at.saturating_add(8);
        if &id == b"SSND" {
            // An offset and a block size stand before the samples.
            let samples = content.saturating_add(8);
            let has_sample = match size {
                // A program that could not go back to its header leaves 0 or 8 here; a chunk may follow all the same.
                0..=8 => end > samples && !begins_chunk(source, content.saturating_add(size), end)?,
                _ => end > samples,
            };
            return Ok(judged(Container::Aiff, has_sample));
        }
        at = content.saturating_add(size).saturating_add(size % 2);
    }
    Ok(judged(Container::Aiff, false))
}

fn chunk(head: &[u8]) -> Option<([u8; 4], u64)> {
    let (id, rest) = head.split_first_chunk::<4>()?;
    Some((*id, u32::from_be_bytes(*rest.first_chunk::<4>()?).into()))
}

/// Returns true if a chunk that fits the file begins here.
fn begins_chunk(source: &mut impl Source, at: u64, end: u64) -> io::Result<bool> {
    let head = read_at::<8>(source, at)?;
    Ok(chunk(head.bytes()).is_some_and(|(id, size)| {
        id.iter().all(|byte| matches!(byte, b' '..=b'~')) && at.saturating_add(8).saturating_add(size) <= end
    }))
}

/// Judges the FLAC file that starts at `offset` (RFC 9639): a frame has to follow its blocks of metadata.
pub(super) fn flac(source: &mut impl Source, offset: u64) -> io::Result<Result<Container, NoAudio>> {
    let mut at = offset.saturating_add(4);
    for _ in 0..CHUNKS {
        let head = read_at::<4>(source, at)?;
        let Some([kind, size @ ..]) = head.bytes().first_chunk::<4>() else { break };
        let size = size.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        at = at.saturating_add(4).saturating_add(size);
        // The last block has the highest bit.
        if kind & 0x80 != 0 {
            let bytes = read_stretch(source, at, SEARCHED)?;
            let has_frame = memchr::memchr_iter(0xff, &bytes).any(|at| bytes.get(at..).is_some_and(is_frame));
            return Ok(judged(Container::Flac, has_frame));
        }
    }
    Ok(judged(Container::Flac, false))
}

/// Returns true if these bytes may be the header of a frame of FLAC (RFC 9639, section 9.1).
fn is_frame(bytes: &[u8]) -> bool {
    let Some([0xff, 0xf8 | 0xf9, sizes, channels, _, ..]) = bytes.first_chunk::<5>() else { return false };
    sizes >> 4 != 0 && sizes & 0xf != 0xf && channels >> 4 < 11 && channels & 1 == 0
}
