//! Frames of MPEG audio (ISO/IEC 11172-3 and 13818-3), and the tags of Xing and LAME that encoders write into the first
//! frame.

use super::frame::{Format, Frame, Info};

/// Bit rates in kbit/s by their index, from 1 on.
const MPEG1_LAYER1: [u32; 14] = [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448];
const MPEG1_LAYER2: [u32; 14] = [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384];
const MPEG1_LAYER3: [u32; 14] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
const MPEG2_LAYER1: [u32; 14] = [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256];
const MPEG2_OTHERS: [u32; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
/// Sampling rates of MPEG-1. Those of MPEG-2 are half of them; those of its extension to lower rates are a quarter.
const RATES: [u32; 3] = [44_100, 48_000, 32_000];
/// The samples that the decoder adds to the stated delay of an encoder, and removes from its padding.
const DECODER_DELAY: u64 = 529;
/// How the tag of Xing begins; LAME writes the second form if all frames have one bit rate.
const XING: [&[u8]; 2] = [b"Xing", b"Info"];
/// How the tag of Fraunhofer's encoder begins, and its place.
const VBRI: &[u8] = b"VBRI";
const VBRI_PLACE: usize = 36;

/// Reads the header of the frame that these bytes begin.
pub(crate) fn frame(head: &[u8]) -> Option<Frame> {
    let word = u32::from_be_bytes(*head.first_chunk()?);
    if word >> 21 != 0x7ff {
        return None;
    }
    let (version, layer) = ((word >> 19) & 3, (word >> 17) & 3);
    let is_mpeg1 = version == 3;
    let table = match (version, layer) {
        (1, _) | (_, 0) => return None,
        (3, 3) => &MPEG1_LAYER1,
        (3, 2) => &MPEG1_LAYER2,
        (3, _) => &MPEG1_LAYER3,
        (_, 3) => &MPEG2_LAYER1,
        _ => &MPEG2_OTHERS,
    };
    // No decoder knows free bit rates.
    let bits = 1000 * table.get(((word >> 12) & 15).checked_sub(1)? as usize)?;
    let rate = RATES.get(((word >> 10) & 3) as usize)? >> (3 - version).min(2);
    let padding = (word >> 9) & 1;
    let (samples, size) = match layer {
        3 => (384, (12 * bits / rate + padding) * 4),
        1 if !is_mpeg1 => (576, 72 * bits / rate + padding),
        _ => (1152, 144 * bits / rate + padding),
    };
    let channels = if (word >> 6) & 3 == 3 { 1 } else { 2 };
    let format = Format { kind: (version << 2 | layer) as u8, rate, channels };
    // Sync, version, layer, and rate.
    let constant = word & 0xfffe_0c00;
    Some(Frame { size: u64::from(size), samples, format, constant })
}

/// Returns true if this frame is of layer I, which no program writes any more.
pub(crate) fn is_layer_i(frame: &Frame) -> bool {
    frame.format.kind & 3 == 3
}

/// Returns true if this frame is marked as one that describes the whole file instead of holding sound, even if the
/// description is cut off.
pub(crate) fn is_index(head: &[u8], frame: &Frame) -> bool {
    places(frame).any(|(xing, vbri)| {
        let begins = |at: usize, mark: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(mark));
        XING.iter().any(|mark| begins(xing, mark)) || begins(vbri, VBRI)
    })
}

/// Reads the description of the whole file from a frame that holds one instead of sound.
pub(crate) fn info(head: &[u8], frame: &Frame) -> Option<Info> {
    places(frame).find_map(|(at_xing, at_vbri)| {
        let is_xing = head.get(at_xing..).and_then(xing);
        is_xing.or_else(|| vbri(head.get(at_vbri..)?))
    })
}

/// Returns where the tags of Xing and of Fraunhofer's encoder may be in a frame. The first is where layer III has its
/// samples, behind their side information. A checksum in front moves both by two bytes. Other layers have no such
/// places.
fn places(frame: &Frame) -> impl Iterator<Item = (usize, usize)> {
    let Format { kind, channels, .. } = frame.format;
    let is_mpeg1 = kind >> 2 == 3;
    let side = match (is_mpeg1, channels) {
        (true, 2) => 32,
        (false, 1) => 9,
        _ => 17,
    };
    let checksums: &[usize] = if kind & 3 == 1 { &[0, 2] } else { &[] };
    checksums.iter().map(move |checksum| (4 + side + checksum, VBRI_PLACE + checksum))
}

/// Reads the tag of Xing, and the delays that LAME writes behind it.
fn xing(tag: &[u8]) -> Option<Info> {
    let rest = XING.iter().find_map(|mark| tag.strip_prefix(*mark))?;
    let (flags, mut rest) = rest.split_first_chunk::<4>()?;
    let flags = u32::from_be_bytes(*flags);
    let mut frames = None;
    for (flag, size) in [(1, 4), (2, 4), (4, 100), (8, 4)] {
        if flags & flag != 0 {
            let field = rest.get(..size)?;
            if flag == 1 {
                frames = field.first_chunk().map(|count| u64::from(u32::from_be_bytes(*count)));
            }
            rest = rest.get(size..)?;
        }
    }
    // Each delay has twelve bits, behind the name of the encoder and its settings.
    let delays = rest.get(21..24).filter(|_| rest.first().is_some_and(u8::is_ascii_alphanumeric));
    let (delay, padding) = match delays {
        Some([a, b, c]) => {
            let delay = u64::from(*a) << 4 | u64::from(*b) >> 4;
            (delay + DECODER_DELAY, ((u64::from(*b) & 15) << 8 | u64::from(*c)).saturating_sub(DECODER_DELAY))
        }
        _ => (0, 0),
    };
    Some(Info { frames, delay, padding })
}

/// Reads the tag of Fraunhofer's encoder.
fn vbri(tag: &[u8]) -> Option<Info> {
    let rest = tag.strip_prefix(VBRI)?;
    let frames = rest.get(10..14)?.first_chunk().map(|count| u64::from(u32::from_be_bytes(*count)));
    Some(Info { frames, delay: 0, padding: 0 })
}
