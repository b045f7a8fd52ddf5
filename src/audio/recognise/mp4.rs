//! Whether there is sound in an MPEG-4 file: asks each track what it holds and where its first sample lies.

use std::io;

use crate::audio::container::Container;
use crate::audio::format::mp4::{HEAD, Walk};
use crate::audio::no_audio::{NoAudio, foreign};
use crate::audio::reading::{Source, read_at};

/// Boxes with which a file may begin that does not say its type first, as QuickTime wrote them.
const OTHER_FIRST: [&[u8]; 7] = [b"wide", b"free", b"skip", b"moov", b"mdat", b"pnot", b"styp"];

/// Judges the file that starts at `offset`; `None` if it is no MPEG-4 file.
///
/// It holds sound if a track of sound lists a sample that is there, or a fragment does. Without the index, `moov`,
/// the rest cannot be played.
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
    let mut walk = Walk::new(source);
    let (mut tracks, mut index) = (Vec::new(), false);
    let mut range = offset..end;
    while let Some(found) = walk.next(&mut range)? {
        match &found.kind {
            b"moov" => {
                index = true;
                tracks.extend(walk.tracks(found.content)?);
                if tracks.iter().any(|track| track.is_sound && track.has_sample_before(end)) {
                    return Ok(Some(Ok(Container::M4a)));
                }
            }
            b"moof" if tracks.iter().any(|track| track.is_sound) => {
                let follows = end.saturating_sub(found.content.end) > HEAD;
                if follows && walk.fragment_has_sound(found.content, &tracks)? {
                    return Ok(Some(Ok(Container::M4a)));
                }
            }
            _ => {}
        }
    }
    let silent = !tracks.is_empty() && tracks.iter().all(|track| track.handler.is_some() && !track.is_sound);
    Ok(match (silent, index || says_type) {
        (true, _) => Some(Err(NoAudio::SilentVideo)),
        (false, true) => Some(Err(NoAudio::Soundless(Container::M4a))),
        (false, false) => None,
    })
}
