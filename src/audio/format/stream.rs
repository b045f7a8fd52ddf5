//! Finds streams of frames of MPEG audio or ADTS: each frame begins where the one before it ends, and their headers
//! agree. One header may occur by chance, so several must agree.

use super::frame::Frame;
use super::{adts, mpeg};

/// The number of frames that must agree after a search. With three, 64 KiB of random bytes would be taken for MPEG
/// audio once in two billion times; other bytes are less random.
const AGREEING: usize = 4;
/// The longest frame: ADTS writes its length in 13 bits.
pub(crate) const LONGEST_FRAME: usize = 1 << 13;
/// The number of bytes that must be available behind a place that is searched for frames.
pub(crate) const AHEAD: usize = AGREEING * LONGEST_FRAME;
/// The most places in one range at which frames agree but are not frames. A range with more is a pattern and holds no
/// frames. The limit bounds the work: each such place costs a look at whole frames.
const MOST_PATTERNS: u32 = 64;

/// Reads the header of the frame that these bytes begin, of either kind.
pub(crate) fn frame(bytes: &[u8]) -> Option<Frame> {
    // UTF-16 text begins like this. As a frame it would be layer I with a checksum, which no program writes.
    if bytes.starts_with(&[0xff, 0xfe]) {
        return None;
    }
    adts::frame(bytes).or_else(|| mpeg::frame(bytes))
}

/// Decides at which places of one range of bytes frames begin.
#[derive(Debug, Default)]
pub(crate) struct FrameSearch {
    patterns: u32,
}

impl FrameSearch {
    /// Returns the first of the frames that these bytes begin with, if enough frames agree.
    ///
    /// Layer I is excluded: no program writes it, and its frames are so short and so even that tables in programs look
    /// like them. A header that also occurs within its frame is not a frame: the pixels of a picture repeat like that.
    pub(crate) fn first_agreeing(&mut self, bytes: &[u8]) -> Option<Frame> {
        let first = frame(bytes).filter(|first| !mpeg::is_layer_i(first))?;
        let mut at = 0_usize;
        for _ in 0..AGREEING {
            let next = frame(bytes.get(at..)?).filter(|next| next.constant == first.constant)?;
            at = at.saturating_add(usize::try_from(next.size).ok()?);
        }
        if at > bytes.len() || self.patterns >= MOST_PATTERNS {
            return None;
        }
        if has_pattern(bytes) {
            self.patterns += 1;
            return None;
        }
        Some(first)
    }
}

/// Returns true if the header of one of the agreeing frames that these bytes begin with also occurs within the frame.
fn has_pattern(mut bytes: &[u8]) -> bool {
    for _ in 0..AGREEING {
        let size = frame(bytes).and_then(|frame| usize::try_from(frame.size).ok());
        let Some((whole, rest)) = size.and_then(|size| bytes.split_at_checked(size)) else { return true };
        let Some((header, body)) = whole.split_at_checked(4) else { return true };
        if memchr::memmem::find(body, header).is_some() {
            return true;
        }
        bytes = rest;
    }
    false
}
