//! Recognises MPEG audio and ADTS, which have no header except that of each frame: frames must follow each other where
//! their lengths point, and agree.

use std::io;

use crate::audio::container::Container;
use crate::audio::format::frame::{Frame, HEADER};
use crate::audio::format::stream::{self, frame};
use crate::audio::format::{mpeg, tags};
use crate::audio::no_audio::NoAudio;
use crate::audio::reading::{Source, read_at, read_stretch};

/// The number of frames after the first that must be where the lengths point, unless the data ends before.
const FOLLOWING: usize = 2;
/// How far the first frame is searched behind other bytes: zeros, the rest of a frame, text that a server put in front.
const SEARCHED: usize = 64 * 1024;
/// The number of bytes of a frame that hold its header and the mark of an index of MPEG audio.
const HEAD: usize = 48;

/// Judges a stream of frames that starts at `offset`; returns `None` if there is none.
pub(super) fn at(
    source: &mut impl Source,
    offset: u64,
    end: u64,
) -> io::Result<Option<Result<Container, NoAudio>>> {
    let Some(first) = frame(read_at::<HEAD>(source, offset)?.bytes()) else { return Ok(None) };
    let container = container(&first);
    let (mut at, mut sound) = (offset, false);
    for _ in 0..=FOLLOWING {
        let head = read_at::<HEAD>(source, at)?;
        match frame(head.bytes()) {
            Some(next) if next.constant == first.constant => {
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
    let bytes = read_stretch(source, offset, (SEARCHED + stream::AHEAD) as u64)?;
    let starts = memchr::memchr_iter(0xff, &bytes).take_while(|start| *start < SEARCHED);
    let mut search = stream::FrameSearch::default();
    let found = starts.into_iter().find_map(|start| search.first_agreeing(bytes.get(start..)?));
    Ok(found.map(|frame| container(&frame)))
}

/// Returns the container of a file of such frames.
fn container(frame: &Frame) -> Container {
    if frame.is_adts() { Container::Aac } else { Container::Mp3 }
}
