//! Frames of AAC in ADTS (ISO/IEC 14496-3, section 1.A.2.2).

use super::frame::{Format, Frame};

const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
/// The number of samples in a block; a frame has up to four blocks.
const BLOCK: u32 = 1024;

/// Reads the header of the frame that these bytes begin.
pub(crate) fn frame(head: &[u8]) -> Option<Frame> {
    let [0xff, b, c, d, e, f, g, ..] = head else { return None };
    // Layer 0; MPEG-4 or 2, with or without a checksum.
    if b & 0xf6 != 0xf0 {
        return None;
    }
    let rate = *RATES.get(usize::from((c >> 2) & 15))?;
    let size = u64::from(d & 3) << 11 | u64::from(*e) << 3 | u64::from(f >> 5);
    let header = if b & 1 == 0 { 9 } else { 7 };
    let format = Format { kind: 0, rate, channels: (c & 1) << 2 | d >> 6 };
    let blocks = u32::from(g & 3) + 1;
    // Version, checksum, profile, rate and channels.
    let constant = u32::from_be_bytes([0xff, *b, *c, *d]) & 0xffff_fdc0;
    (size > header).then_some(Frame { size, samples: BLOCK * blocks, format, constant })
}
