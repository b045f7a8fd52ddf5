//! Streams of frames, of MPEG audio or ADTS: frames that follow each other where their lengths say, and agree. One header
//! proves nothing, so several have to.

use super::frame::Frame;
use super::{adts, mpeg};

/// Frames that have to agree where they were searched for. With three, in 64 KiB of random bytes one of two
/// billion would be taken for MPEG audio; other bytes are less random than that.
const AGREEING: usize = 4;
/// The longest frame: ADTS writes its length in 13 bits.
pub(crate) const LONGEST_FRAME: usize = 1 << 13;
/// Bytes that have to be at hand behind a place that is searched for frames.
pub(crate) const AHEAD: usize = AGREEING * LONGEST_FRAME;
/// Places in one stretch at which frames agree and are none; a stretch with more is a pattern and holds no frames. This
/// bounds the work: each of these places costs a look at whole frames.
const MOST_PATTERNS: u32 = 64;

/// Reads the header of the frame that these bytes begin, of either kind.
pub(crate) fn frame(bytes: &[u8]) -> Option<Frame> {
    // This is how UTF-16 text begins; as a frame it would be layer I with a checksum, which nothing makes.
    if bytes.starts_with(&[0xff, 0xfe]) {
        return None;
    }
    adts::frame(bytes).or_else(|| mpeg::frame(bytes))
}

/// Judges places of one stretch of bytes.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    patterns: u32,
}

impl Judge {
    /// Returns the first of the frames that these bytes begin with, if there are as many as must agree.
    ///
    /// Layer I is left out: nothing makes it, and its frames are so short and so even that the tables in programs look
    /// like them. A header that also stands within its frame is none: the pixels of a picture repeat like that.
    pub(crate) fn agreeing(&mut self, bytes: &[u8]) -> Option<Frame> {
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

/// Returns true if the header of one of the agreeing frames that these bytes begin with stands within the frame, too.
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
