//! The headers of native FLAC (RFC 9639): where the first frame stands, what a frame says of itself, and a stream
//! description that the library does not refuse.

use std::io::{self, Read, Seek, SeekFrom};

use super::container::read_at;

/// Blocks of metadata that are looked at: a header comes from outside.
const BLOCKS: usize = 256;
/// Bytes behind the metadata that are searched for a frame.
const SEARCHED: u64 = 64 * 1024;
/// Where the stream description has the sizes of the smallest and the largest block, in samples.
const BLOCK_SIZES: u64 = 8;
/// No block is smaller.
const LEAST_BLOCK: u16 = 16;

/// What the header of a frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHeader {
    /// The number of its first sample, or its own.
    pub(super) number: u64,
    /// True if it is the number of a sample; then blocks differ in size.
    pub(super) is_sample: bool,
    /// Its samples.
    pub(super) block: u64,
    /// Its rate, where it says it.
    pub(super) rate: Option<u32>,
}

/// Finds the first frame of the file that starts at `offset`.
pub(super) fn first_frame(source: &mut (impl Read + Seek), offset: u64) -> io::Result<Option<FrameHeader>> {
    let mut at = offset.saturating_add(4);
    for _ in 0..BLOCKS {
        let head = read_at::<4>(source, at)?;
        let Some([kind, size @ ..]) = head.bytes().first_chunk::<4>() else { break };
        let size = size.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        at = at.saturating_add(4).saturating_add(size);
        // The last block has the highest bit.
        if kind & 0x80 != 0 {
            let mut bytes = Vec::new();
            source.seek(SeekFrom::Start(at))?;
            source.by_ref().take(SEARCHED).read_to_end(&mut bytes)?;
            let mut starts = memchr::memchr_iter(0xff, &bytes);
            return Ok(starts.find_map(|start| FrameHeader::read(bytes.get(start..)?)));
        }
    }
    Ok(None)
}

/// Returns what the library is to be shown in place of a stream description that it refuses: the sizes of blocks are
/// 0 where the encoder did not know them. Returns where that stands, and the bytes.
pub(super) fn repair(source: &mut (impl Read + Seek)) -> io::Result<Option<(u64, Vec<u8>)>> {
    let head = read_at::<4>(source, BLOCK_SIZES)?;
    let Some(&[least_a, least_b, most_a, most_b]) = head.bytes().first_chunk() else { return Ok(None) };
    let (least, most) = (u16::from_be_bytes([least_a, least_b]), u16::from_be_bytes([most_a, most_b]));
    if least >= LEAST_BLOCK && most >= least {
        return Ok(None);
    }
    let Some(first) = first_frame(source, 0)? else { return Ok(None) };
    let known = (most >= LEAST_BLOCK).then_some(most);
    let sizes = if first.is_sample {
        [LEAST_BLOCK, known.unwrap_or(u16::MAX)]
    } else {
        // All blocks but the last have one size, and the library wants to see it twice.
        [known.or(u16::try_from(first.block).ok()).unwrap_or(u16::MAX).max(LEAST_BLOCK); 2]
    };
    Ok(Some((BLOCK_SIZES, sizes.map(u16::to_be_bytes).concat())))
}

impl FrameHeader {
    /// Reads the header of the frame that these bytes begin; its checksum has to be right.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let [0xff, kind @ (0xf8 | 0xf9), sizes, layout, rest @ ..] = bytes else { return None };
        let (block_code, rate_code) = (sizes >> 4, sizes & 15);
        if block_code == 0 || rate_code == 15 || layout >> 4 > 10 || layout & 1 != 0 || layout >> 1 & 7 == 3 {
            return None;
        }
        let (number, rest) = number(rest)?;
        let (block, rest) = match block_code {
            1 => (192, rest),
            2..=5 => (576 << (block_code - 2), rest),
            6 => rest.split_first().map(|(size, rest)| (u64::from(*size) + 1, rest))?,
            7 => rest
                .split_first_chunk()
                .map(|(size, rest)| (u64::from(u16::from_be_bytes(*size)) + 1, rest))?,
            _ => (256 << (block_code - 8), rest),
        };
        let (rate, rest) = match rate_code {
            0 => (None, rest),
            12 => rest.split_first().map(|(rate, rest)| (Some(u32::from(*rate) * 1000), rest))?,
            13 | 14 => {
                let (rate, rest) = rest.split_first_chunk()?;
                (Some(u32::from(u16::from_be_bytes(*rate)) * if rate_code == 14 { 10 } else { 1 }), rest)
            }
            code => (RATES.get(usize::from(code)).copied(), rest),
        };
        let sum = checksum(bytes.get(..bytes.len() - rest.len())?);
        let header = Self { number, is_sample: *kind == 0xf9, block, rate };
        (Some(&sum) == rest.first()).then_some(header)
    }
}

/// Sampling rates by their code; 0 stands for that of the stream.
const RATES: [u32; 12] =
    [0, 88_200, 176_400, 192_000, 8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000];

/// Reads a number that is written as UTF-8 writes its own, with up to seven bytes.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let more = match first.leading_ones() {
        0 => return Some((u64::from(*first), rest)),
        ones @ 2..=7 => ones as usize - 1,
        _ => return None,
    };
    let mut value = u64::from(*first) & (0x3f >> more);
    for byte in rest.get(..more)? {
        if byte >> 6 != 2 {
            return None;
        }
        value = value << 6 | u64::from(byte & 0x3f);
    }
    Some((value, rest.get(more..)?))
}

fn checksum(header: &[u8]) -> u8 {
    header.iter().fold(0, |sum, byte| {
        (0..8).fold(sum ^ byte, |sum: u8, _| if sum >> 7 == 1 { sum << 1 ^ 7 } else { sum << 1 })
    })
}
