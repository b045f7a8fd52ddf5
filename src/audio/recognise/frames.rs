//! Whether a file is MPEG audio or ADTS, which have no header except that of each frame: frames have to follow each
//! other where their lengths say, and agree.

use std::io;

use crate::audio::container::Container;
use crate::audio::format::frame::{Frame, HEADER};
use crate::audio::format::{adts, mpeg, tags};
use crate::audio::no_audio::NoAudio;
use crate::audio::reading::{Source, read_at, read_stretch};

/// Frames after the first that have to be where the lengths say, unless the data ends before.
const FOLLOWING: usize = 2;
/// How far the first frame is searched for behind bytes that are none: zeros, the rest of a frame, what a server
/// put in front.
const SEARCHED: usize = 64 * 1024;
/// Frames that have to agree where they were searched for. With three, in 64 KiB of random bytes one of two
/// billion would be taken for MPEG audio; other bytes are less random than that.
const AGREEING: usize = 4;
/// The longest frame: ADTS writes its length in 13 bits.
const LONGEST: usize = 1 << 13;
/// As much of a frame as holds its header and the mark of an index of MPEG audio.
const HEAD: usize = 48;

/// Judges a stream of frames that starts at `offset`; `None` if none does.
pub(super) fn at(
    source: &mut impl Source,
    offset: u64,
    end: u64,
) -> io::Result<Option<Result<Container, NoAudio>>> {
    let Some((container, first)) = frame(read_at::<HEAD>(source, offset)?.bytes()) else { return Ok(None) };
    let (mut at, mut sound) = (offset, false);
    for _ in 0..=FOLLOWING {
        let head = read_at::<HEAD>(source, at)?;
        match frame(head.bytes()) {
            Some((_, next)) if next.constant == first.constant => {
                at = at.saturating_add(next.size);
                sound |= at <= end && !mpeg::is_index(head.bytes(), &next);
            }
            _ if head.bytes().len() < HEADER || tags::is_marked(head.bytes()) => break,
            _ => return Ok(None),
        }
    }
    Ok(Some(if sound { Ok(container) } else { Err(NoAudio::Soundless(container)) }))
}

/// Searches the next [`SEARCHED`] bytes from `offset` on for frames that agree.
pub(super) fn search(source: &mut impl Source, offset: u64) -> io::Result<Option<Container>> {
    let bytes = read_stretch(source, offset, (SEARCHED + AGREEING * LONGEST) as u64)?;
    let starts = memchr::memchr_iter(0xff, &bytes).take_while(|start| *start < SEARCHED);
    Ok(starts.into_iter().find_map(|start| agreeing(bytes.get(start..)?)))
}

/// Returns what these bytes are if they begin with as many frames as must agree.
///
/// Layer I is left out: nothing makes it, and its frames are so short and so even that the tables in programs look like
/// them. A header that also stands within its frame is none: the pixels of a picture repeat like that.
fn agreeing(mut bytes: &[u8]) -> Option<Container> {
    let (container, first) = frame(bytes).filter(|(_, first)| !mpeg::is_layer_i(first))?;
    for _ in 0..AGREEING {
        let (_, next) = frame(bytes).filter(|(_, next)| next.constant == first.constant)?;
        let (whole, rest) = bytes.split_at_checked(usize::try_from(next.size).ok()?)?;
        let (header, body) = whole.split_at_checked(4)?;
        if memchr::memmem::find(body, header).is_some() {
            return None;
        }
        bytes = rest;
    }
    Some(container)
}

/// Reads the header of the frame that these bytes begin, of either kind.
fn frame(bytes: &[u8]) -> Option<(Container, Frame)> {
    // This is how UTF-16 text begins; as a frame it would be layer I with a checksum, which nothing makes.
    if bytes.starts_with(&[0xff, 0xfe]) {
        return None;
    }
    let adts = adts::frame(bytes).map(|frame| (Container::Aac, frame));
    adts.or_else(|| mpeg::frame(bytes).map(|frame| (Container::Mp3, frame)))
}
