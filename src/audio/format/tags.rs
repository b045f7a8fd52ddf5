//! Tags around sound: in front of a file, behind its sound, or between two files. This file knows how a tag begins and
//! how long it is, and reads nothing in it.

use std::io;

use crate::audio::reading::{Source, read_at};

/// Length of an ID3v2 header (ID3v2.4, section 3.1), and of the footer that flag 4 announces.
const ID3_HEADER: u64 = 10;
/// The number of bytes of the header that are read.
const ID3_HEAD: usize = ID3_HEADER as usize;
/// The most tags in front of the audio that are skipped: more than one is already unusual.
const ID3_TAGS: usize = 4;
/// Length of an ID3v1 tag, and of its extension in front of it.
const ID3V1: u64 = 128;
const ID3V1_EXTENDED: u64 = 227;
/// Length of the header and the footer of an APE tag.
const APE: u64 = 32;
/// The first bytes of the tags that follow sound.
const MARKS: [&[u8]; 5] = [b"TAG", b"APETAGEX", b"ID3", b"LYRICS", b"3DI"];
/// The number of bytes of a tag that are needed to find its length.
pub(crate) const HEAD: usize = 32;

/// The ID3v2 tags in front of a file.
pub(crate) struct InFront {
    /// The number of tags.
    pub(crate) count: usize,
    /// The end of the tags.
    pub(crate) end: u64,
}

/// Finds the ID3v2 tags in front of a file, without reading their content.
pub(crate) fn in_front(source: &mut impl Source) -> io::Result<InFront> {
    let mut tags = InFront { count: 0, end: 0 };
    while tags.count < ID3_TAGS
        && let Some(size) = id3_size(read_at::<ID3_HEAD>(source, tags.end)?.bytes())
    {
        tags.end = tags.end.saturating_add(size);
        tags.count += 1;
    }
    Ok(tags)
}

/// Returns true if these bytes begin like a tag that follows sound, even if its head is cut off.
pub(crate) fn is_marked(head: &[u8]) -> bool {
    MARKS.iter().any(|mark| head.starts_with(mark))
}

/// Returns the length of the tag that begins with these bytes, or `None` if no tag does. `left` is the number of bytes
/// from its first one to the end of the file: the older tags occur only at an end.
pub(crate) fn length(head: &[u8], left: u64) -> Option<u64> {
    match head {
        [b'T', b'A', b'G', b'+', ..] if left >= ID3V1_EXTENDED + ID3V1 => Some(ID3V1_EXTENDED),
        [b'T', b'A', b'G', ..] if left >= ID3V1 => Some(ID3V1),
        [b'I', b'D', b'3', ..] => id3_size(head),
        [b'3', b'D', b'I', ..] => Some(10),
        [b'A', b'P', b'E', b'T', b'A', b'G', b'E', b'X', _, _, _, _, size @ ..] => {
            // The stated size does not include the header.
            let is_header = head.get(20..24).is_some_and(|flags| flags[3] & 0x20 != 0);
            let size = u64::from(u32::from_le_bytes(*size.first_chunk()?));
            Some(if is_header { size.saturating_add(APE) } else { APE })
        }
        // The older form of the lyrics tag does not begin with a length; only tags follow it.
        [b'L', b'Y', b'R', b'I', b'C', b'S', b'B', b'E', b'G', b'I', b'N', ..] => Some(left),
        _ => None,
    }
}

/// Returns the whole size of the ID3v2 tag that starts here, or `None` if none does. A header that is cut off counts if
/// its present part is valid; text that merely begins with these letters is not a tag.
fn id3_size(head: &[u8]) -> Option<u64> {
    let rest = head.strip_prefix(b"ID3")?;
    let version = rest.first().is_none_or(|major| (2..=4).contains(major));
    let revision = rest.get(1).is_none_or(|revision| *revision != 0xff);
    let size = rest.get(3..7.min(rest.len())).unwrap_or_default();
    if !version || !revision || size.iter().any(|byte| *byte >= 0x80) {
        return None;
    }
    // Each byte has seven bits, so that no size can look like a frame sync.
    let body = size.iter().fold(0_u64, |sum, byte| (sum << 7) | u64::from(*byte));
    let footer = if rest.get(2).is_some_and(|flags| flags & 0x10 != 0) { ID3_HEADER } else { 0 };
    Some(ID3_HEADER + body + footer)
}
