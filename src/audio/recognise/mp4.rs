//! Finds whether an MPEG-4 file has sound: reads what each track holds and where its first sample lies.

use std::io;
use std::ops::Range;

use crate::audio::container::Container;
use crate::audio::format::mp4::{HEAD, Outer, Track, VISITS, Walk};
use crate::audio::no_audio::{NoAudio, foreign};
use crate::audio::reading::{Source, read_at, read_stretch};

/// The boxes with which a file without a leading type may begin, as QuickTime wrote them.
const OTHER_FIRST: [&[u8]; 7] = [b"wide", b"free", b"skip", b"moov", b"mdat", b"pnot", b"styp"];

/// The most boxes of samples that are remembered; a file without fragments has one.
const MOST_SAMPLES: usize = 256;
/// The number of bytes that are read at a time in the search for a byte that is not zero.
const BLOCK: u64 = 64 << 10;

/// Judges the file that starts at `offset`; returns `None` if it is not an MPEG-4 file.
///
/// A file has sound if a track of sound, or a fragment, lists a sample that is there, and if the bytes of compressed
/// sound are not all zeros. Without the index, `moov`, the rest cannot be played.
pub(super) fn at(
    source: &mut impl Source,
    offset: u64,
    end: u64,
) -> io::Result<Option<Result<Container, NoAudio>>> {
    let head = read_at::<12>(source, offset)?;
    let Some(kind) = head.bytes().get(4..8) else { return Ok(None) };
    let says_type = kind == b"ftyp";
    if !says_type && !OTHER_FIRST.contains(&kind) {
        return Ok(None);
    }
    if let Some(brand) = head.bytes().get(8..).filter(|_| says_type)
        && let Some(picture) = foreign::picture(brand)
    {
        return Ok(Some(Err(NoAudio::Foreign(picture))));
    }
    let mut tracks: Vec<Track> = Vec::new();
    let (mut index, mut fragment_has_sound) = (false, false);
    // Where the samples of compressed sound begin, and the boxes of samples.
    let (mut firsts, mut samples): (Vec<u64>, Vec<Range<u64>>) = (Vec::new(), Vec::new());
    let mut visits = VISITS;
    let mut outer = Outer::new(offset, end);
    while let Some(found) = outer.next(source)? {
        let content = found.start.saturating_add(found.head).min(end)..found.end.min(end);
        if found.is(b"moov") {
            index = true;
            tracks.extend(Walk::new(source, &mut visits).tracks(content)?);
            let sounds = tracks.iter().filter(|track| track.is_sound && track.has_sample_before(end));
            let (compressed, plain): (Vec<_>, Vec<_>) = sounds.partition(|track| track.is_never_zero());
            if !plain.is_empty() {
                return Ok(Some(Ok(Container::M4a)));
            }
            firsts = compressed.into_iter().filter_map(|track| track.first).collect();
        } else if found.is(b"moof") && tracks.iter().any(|track| track.is_sound) {
            let follows = end.saturating_sub(found.end) > HEAD;
            fragment_has_sound =
                follows && Walk::new(source, &mut visits).fragment_has_sound(content, &tracks)?;
        } else if found.is(b"mdat") {
            let is_zero = |track: &Track| !track.is_never_zero();
            let may_be_zero = tracks.iter().filter(|track| track.is_sound).any(is_zero);
            if fragment_has_sound && (may_be_zero || !is_zeros(source, content.clone())?) {
                return Ok(Some(Ok(Container::M4a)));
            }
            fragment_has_sound = false;
            if samples.len() < MOST_SAMPLES {
                samples.push(content);
            }
        }
    }
    firsts.sort_unstable();
    let mut zeros_end = 0;
    for first in firsts {
        if first < zeros_end {
            continue;
        }
        match samples.iter().find(|content| content.contains(&first)) {
            Some(content) if is_zeros(source, first..content.end)? => zeros_end = content.end,
            _ => return Ok(Some(Ok(Container::M4a))),
        }
    }
    let silent = !tracks.is_empty() && tracks.iter().all(|track| track.handler.is_some() && !track.is_sound);
    Ok(match (silent, index || says_type) {
        (true, _) => Some(Err(NoAudio::SilentVideo)),
        (false, true) => Some(Err(NoAudio::Soundless(Container::M4a))),
        (false, false) => None,
    })
}

/// Returns true if all bytes in this range are zeros.
fn is_zeros(source: &mut impl Source, mut range: Range<u64>) -> io::Result<bool> {
    while range.start < range.end {
        let bytes = read_stretch(source, range.start, BLOCK.min(range.end - range.start))?;
        if bytes.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        if bytes.is_empty() {
            break;
        }
        range.start += bytes.len() as u64;
    }
    Ok(true)
}
