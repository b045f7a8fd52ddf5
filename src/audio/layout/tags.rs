//! Tags that stand behind sound or between two files: what begins one, and how long it is.

use crate::audio::container::id3_size;

/// Length of an ID3v1 tag, and of its extension in front of it.
const ID3V1: u64 = 128;
const ID3V1_EXTENDED: u64 = 227;
/// Length of the header and the footer of an APE tag.
const APE: u64 = 32;
/// As much has to be known of a tag to find its length.
pub(super) const HEAD: usize = 32;

/// Returns the length of the tag that begins with these bytes; `None` if they begin none. `left` is how many bytes
/// there are from its first one to the end of the file: the older tags stand only at an end.
pub(super) fn length(head: &[u8], left: u64) -> Option<u64> {
    match head {
        [b'T', b'A', b'G', b'+', ..] if left >= ID3V1_EXTENDED + ID3V1 => Some(ID3V1_EXTENDED),
        [b'T', b'A', b'G', ..] if left >= ID3V1 => Some(ID3V1),
        [b'I', b'D', b'3', ..] => id3_size(head),
        [b'3', b'D', b'I', ..] => Some(10),
        [b'A', b'P', b'E', b'T', b'A', b'G', b'E', b'X', _, _, _, _, size @ ..] => {
            // The size leaves the header out.
            let is_header = head.get(20..24).is_some_and(|flags| flags[3] & 0x20 != 0);
            let size = u64::from(u32::from_le_bytes(*size.first_chunk()?));
            Some(if is_header { size.saturating_add(APE) } else { APE })
        }
        // The older form of words has no length in front; nothing but tags follows it.
        [b'L', b'Y', b'R', b'I', b'C', b'S', b'B', b'E', b'G', b'I', b'N', ..] => Some(left),
        _ => None,
    }
}
