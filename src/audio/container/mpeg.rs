//! MPEG audio and ADTS frames: parses their headers and follows them to the next, because a sync of eleven
//! or twelve bits proves nothing by itself. It does not know about tags in front, and decodes nothing.

use std::io::{self, Read, Seek};

use super::{Container, read_at};

/// Frames after the first that have to be where the lengths say.
const FOLLOWING: usize = 2;

/// What two neighbouring frames of one stream have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frame {
    container: Container,
    /// Version, layer or profile, and sampling rate, as the header codes them.
    kind: (u8, u8, u8),
    length: u64,
}

/// Recognises a stream of frames that starts at `offset`.
pub(super) fn recognise(reader: &mut (impl Read + Seek), offset: u64) -> io::Result<Option<Container>> {
    let head = read_at::<8>(reader, offset)?;
    // FF FE is how UTF-16 text begins; as a frame it would be layer I with a checksum, which nothing makes.
    if head.bytes().starts_with(&[0xff, 0xfe]) {
        return Ok(None);
    }
    let Some(first) = parse(head.bytes()) else { return Ok(None) };
    let mut at = offset.saturating_add(first.length);
    for _ in 0..FOLLOWING {
        let piece = read_at::<8>(reader, at)?;
        let bytes = piece.bytes();
        if bytes.len() < 8 || is_tag(bytes) {
            break;
        }
        match parse(bytes) {
            Some(next) if (next.container, next.kind) == (first.container, first.kind) => {
                at = at.saturating_add(next.length);
            }
            _ => return Ok(None),
        }
    }
    Ok(Some(first.container))
}

/// Whether these bytes begin a tag that is written behind the audio: ID3v1, APE, Lyrics3.
fn is_tag(bytes: &[u8]) -> bool {
    bytes.starts_with(b"TAG") || bytes.starts_with(b"APETAGEX") || bytes.starts_with(b"LYRICSBE")
}

fn parse(bytes: &[u8]) -> Option<Frame> {
    mpeg_audio(bytes).or_else(|| adts(bytes))
}

/// Kilobits per second by index 1 to 14 (ISO/IEC 11172-3, 2.4.2.3, and 13818-3 for the low rates).
const LAYER_1: [u64; 14] = [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448];
const LAYER_2: [u64; 14] = [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384];
const LAYER_3: [u64; 14] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
const LOW_LAYER_1: [u64; 14] = [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256];
const LOW_LAYER_2_3: [u64; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];

/// A frame header of MPEG audio, any version and layer, but for free-format frames: they do not tell their
/// length, so that nothing could be verified.
fn mpeg_audio(bytes: &[u8]) -> Option<Frame> {
    let &[0xff, b, c, d, ..] = bytes else { return None };
    let (version, layer) = ((b >> 3) & 3, (b >> 1) & 3);
    let (rate, emphasis) = ((c >> 2) & 3, d & 3);
    if b < 0xe0 || version == 1 || layer == 0 || rate == 3 || emphasis == 2 {
        return None;
    }
    let full_rate = version == 3;
    let table = match (full_rate, layer) {
        (true, 3) => LAYER_1,
        (true, 2) => LAYER_2,
        (true, _) => LAYER_3,
        (false, 3) => LOW_LAYER_1,
        (false, _) => LOW_LAYER_2_3,
    };
    let bits = *table.get(usize::from(c >> 4).checked_sub(1)?)? * 1000;
    let base = [44_100, 48_000, 32_000].get(usize::from(rate)).copied()?;
    let hertz = match version {
        3 => base,
        2 => base / 2,
        _ => base / 4,
    };
    let padding = u64::from((c >> 1) & 1);
    let length = match layer {
        3 => (12 * bits / hertz + padding) * 4,
        1 if !full_rate => 72 * bits / hertz + padding,
        _ => 144 * bits / hertz + padding,
    };
    Some(Frame { container: Container::Mp3, kind: (version, layer, rate), length })
}

/// A frame header of ADTS (ISO/IEC 14496-3, 1.A.2.2).
fn adts(bytes: &[u8]) -> Option<Frame> {
    let &[0xff, b, c, d, e, f, _, ..] = bytes else { return None };
    let (layer, profile, rate) = ((b >> 1) & 3, c >> 6, (c >> 2) & 15);
    // Thirteen sampling rates are defined; the indices above are reserved.
    if b < 0xf0 || layer != 0 || rate > 12 {
        return None;
    }
    let length = (u64::from(d & 3) << 11) | (u64::from(e) << 3) | u64::from(f >> 5);
    // The header is seven bytes, and two more with its checksum.
    let header = if b & 1 == 1 { 7 } else { 9 };
    (length > header).then_some(Frame { container: Container::Aac, kind: (b & 8, profile, rate), length })
}
