//! Native FLAC (RFC 9639): its mark and the description of the stream, the place of the first frame, the header of a
//! frame, and where a frame may end.

use std::io::{self, Read, Seek};

use crate::audio::reading::{read_at, read_stretch};

/// The most blocks of metadata that are read: a header is untrusted.
const BLOCKS: usize = 256;
/// The number of bytes behind the metadata that are searched for a frame.
const SEARCHED: u64 = 64 * 1024;
/// The first bytes of a file.
pub(crate) const MARK: &[u8] = b"fLaC";
/// The offset of the description of the stream: after the mark and the head of its block.
pub(crate) const STREAM_INFO: usize = 8;
/// Length of the description.
const STREAM_INFO_LENGTH: usize = 34;
/// Length of the mark and the description; every file begins with both.
pub(crate) const HEAD: usize = STREAM_INFO + STREAM_INFO_LENGTH;
/// The largest number of samples that a description can state.
const MOST_SAMPLES: u64 = (1 << 36) - 1;
/// The smallest block, in samples.
pub(crate) const LEAST_BLOCK: u16 = 16;
/// The shortest frame, in bytes.
const SHORTEST_FRAME: usize = 9;

/// The description of the stream.
pub(crate) struct StreamInfo {
    /// Sizes of the smallest and the largest block, in samples.
    pub(crate) least_block: u16,
    pub(crate) most_block: u16,
    /// Length of the longest frame; 0 if it is not known.
    pub(crate) most_bytes: u64,
    pub(crate) rate: u32,
    /// The number of samples; 0 if it is not known: some encoders write all ones then.
    pub(crate) samples: u64,
}

impl StreamInfo {
    /// Reads the description of the stream of the file that these bytes begin.
    pub(crate) fn read(head: &[u8]) -> Option<Self> {
        let block: &[u8; STREAM_INFO_LENGTH] = head.get(STREAM_INFO..)?.first_chunk()?;
        let [least_a, least_b, most_a, most_b, _, _, _, bytes_a, bytes_b, bytes_c, rest @ ..] = block;
        let rest = u64::from_be_bytes(*rest.first_chunk()?);
        Some(Self {
            least_block: u16::from_be_bytes([*least_a, *least_b]),
            most_block: u16::from_be_bytes([*most_a, *most_b]),
            most_bytes: u64::from(u32::from_be_bytes([0, *bytes_a, *bytes_b, *bytes_c])),
            rate: (rest >> 44) as u32,
            samples: Some(rest & MOST_SAMPLES).filter(|samples| *samples < MOST_SAMPLES).unwrap_or(0),
        })
    }

    /// Returns the description at the start of `head`, with these sizes of blocks, and with the number of samples as it
    /// was read: all ones become 0.
    pub(crate) fn rewritten(&self, head: &[u8], sizes: [u16; 2]) -> Option<Vec<u8>> {
        let mut block: [u8; STREAM_INFO_LENGTH] = *head.get(STREAM_INFO..)?.first_chunk()?;
        let [least, more] = sizes.map(u16::to_be_bytes);
        block.get_mut(..4)?.copy_from_slice(&[least, more].concat());
        let place = block.get_mut(10..18)?.first_chunk_mut()?;
        *place = (u64::from_be_bytes(*place) & !MOST_SAMPLES | self.samples).to_be_bytes();
        Some(block.to_vec())
    }
}

/// Returns true if these bytes begin with the mark and the head of the block that describes a stream.
pub(crate) fn is_head(bytes: &[u8]) -> bool {
    let head = bytes.strip_prefix(MARK).and_then(<[u8]>::first_chunk);
    matches!(head, Some([0 | 0x80, 0, 0, size]) if usize::from(*size) == STREAM_INFO_LENGTH)
}

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// The number of the frame's first sample, or of the frame itself.
    pub(crate) number: u64,
    /// True if `number` is that of a sample; then blocks differ in size.
    pub(crate) is_sample: bool,
    /// The number of samples in the frame.
    pub(crate) block: u64,
    /// The sampling rate of the frame, if its header states it.
    pub(crate) rate: Option<u32>,
}

/// Finds the first frame of the file that starts at `offset`.
pub(crate) fn first_frame(source: &mut (impl Read + Seek), offset: u64) -> io::Result<Option<FrameHeader>> {
    let Some(at) = metadata_end(source, offset)? else { return Ok(None) };
    let bytes = read_stretch(source, at, SEARCHED)?;
    let mut starts = memchr::memchr_iter(0xff, &bytes);
    Ok(starts.find_map(|start| FrameHeader::read(bytes.get(start..)?)))
}

/// Finds the end of the blocks of metadata of the file that starts at `offset`.
pub(crate) fn metadata_end(source: &mut (impl Read + Seek), offset: u64) -> io::Result<Option<u64>> {
    let mut at = offset.saturating_add(4);
    for _ in 0..BLOCKS {
        let head = read_at::<4>(source, at)?;
        let Some([kind, size @ ..]) = head.bytes().first_chunk::<4>() else { break };
        let size = size.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        at = at.saturating_add(4).saturating_add(size);
        // The last block has the highest bit set.
        if kind & 0x80 != 0 {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

impl FrameHeader {
    /// Reads the header of the frame that these bytes begin; its checksum has to be right.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
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

/// Sampling rates by their code; 0 means the rate of the stream.
const RATES: [u32; 12] =
    [0, 88_200, 176_400, 192_000, 8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000];

/// Reads a number that is written like a UTF-8 character, but with up to seven bytes.
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

/// Returns the places at which the frame that these bytes begin may end: a frame ends with its checksum, so the
/// checksum over the whole frame is zero there.
pub(crate) fn frame_ends(bytes: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let mut sum = 0_u16;
    bytes.iter().zip(1..).filter_map(move |(byte, behind)| {
        sum = (0..8).fold(sum ^ u16::from(*byte) << 8, |sum, _| {
            if sum >> 15 == 1 { sum << 1 ^ 0x8005 } else { sum << 1 }
        });
        (sum == 0 && behind >= SHORTEST_FRAME).then_some(behind)
    })
}
