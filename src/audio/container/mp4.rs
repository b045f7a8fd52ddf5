//! The box tree of an MPEG-4 file (ISO/IEC 14496-12): asks each track what it holds and where its first sample
//! lies, in a bounded number of steps. The library keeps that to itself: it names a track by its codec, and of codecs that
//! it does not know, those of sound look like those of pictures, time codes and captions.

use std::io;
use std::ops::Range;

use super::super::library::Source;
use super::super::no_audio::{Foreign, Kind, NoAudio};
use super::{Container, read_at};

/// Boxes visited in all: the tree comes from outside, the request waits.
const BOXES: u32 = 512;
/// Brands of pictures, which have the same first box.
const PICTURES: [(&[u8], &str); 9] = [
    (b"heic", HEIC),
    (b"heix", HEIC),
    (b"hevc", HEIC),
    (b"heim", HEIC),
    (b"heis", HEIC),
    (b"mif1", HEIC),
    (b"msf1", HEIC),
    (b"avif", "an AVIF image"),
    (b"avis", "an AVIF image"),
];
const HEIC: &str = "a HEIC image";
/// Boxes with which a file may begin that does not say its type first, as QuickTime wrote them.
const OTHER_FIRST: [&[u8]; 7] = [b"wide", b"free", b"skip", b"moov", b"mdat", b"pnot", b"styp"];

/// Judges the file that starts at `offset`; `None` if it is no MPEG-4 file.
///
/// It holds sound if a track of sound lists a sample that is there, or a fragment does. Without the index, `moov`,
/// nobody can play the rest.
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
        && let Some((_, name)) = PICTURES.iter().find(|(picture, _)| *picture == brand)
    {
        return Ok(Some(Err(NoAudio::Foreign(Foreign { name, kind: Kind::Other }))));
    }
    let mut walk = Walk { source, left: BOXES };
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
                let follows = end.saturating_sub(found.content.end) > BOX_HEADER;
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

/// Length of a box's header: its size and its type.
const BOX_HEADER: u64 = 8;

/// A box, and what is in it as far as it is there.
struct Found {
    kind: [u8; 4],
    content: Range<u64>,
}

#[derive(Default)]
struct Track {
    id: [u8; 4],
    /// What it says that it holds.
    handler: Option<[u8; 4]>,
    is_sound: bool,
    samples: u32,
    /// Where its first chunk of samples lies.
    first: Option<u64>,
}

impl Track {
    fn has_sample_before(&self, end: u64) -> bool {
        self.samples > 0 && self.first.is_some_and(|first| first < end)
    }
}

struct Walk<'s, S> {
    source: &'s mut S,
    left: u32,
}

impl<S: Source> Walk<'_, S> {
    /// Returns the first box in `range`, and takes it off.
    fn next(&mut self, range: &mut Range<u64>) -> io::Result<Option<Found>> {
        if range.start >= range.end || self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let head = read_at::<16>(self.source, range.start)?;
        let Some((kind, header, size)) = parse(head.bytes(), range.end - range.start) else {
            return Ok(None);
        };
        let end = range.start.saturating_add(size).min(range.end);
        let content = range.start.saturating_add(header).min(end)..end;
        range.start = end;
        Ok(Some(Found { kind, content }))
    }

    /// Returns the tracks of a movie.
    fn tracks(&mut self, mut movie: Range<u64>) -> io::Result<Vec<Track>> {
        let mut tracks = Vec::new();
        while let Some(found) = self.next(&mut movie)? {
            if &found.kind == b"trak" {
                let mut track = Track::default();
                self.describe(found.content, &mut track)?;
                tracks.push(track);
            }
        }
        Ok(tracks)
    }

    /// Notes what the boxes in `range` say of a track.
    fn describe(&mut self, mut range: Range<u64>, track: &mut Track) -> io::Result<()> {
        while let Some(found) = self.next(&mut range)? {
            let long = read_at::<24>(self.source, found.content.start)?;
            let there = usize::try_from(found.content.end - found.content.start).unwrap_or(usize::MAX);
            let long = long.bytes().get(..there).unwrap_or(long.bytes());
            match &found.kind {
                b"mdia" | b"minf" | b"stbl" => self.describe(found.content, track)?,
                // The version decides the width of two times before the number.
                b"tkhd" => {
                    track.id = four(long, if long.first() == Some(&1) { 20 } else { 12 }).unwrap_or_default()
                }
                // QuickTime has another one for how the data are found.
                b"hdlr" if four(long, 4).as_ref() != Some(b"dhlr") => {
                    track.handler = four(long, 8);
                    track.is_sound = track.handler.as_ref() == Some(b"soun");
                }
                b"stsz" | b"stz2" => track.samples = four(long, 8).map_or(0, u32::from_be_bytes),
                b"stco" => track.first = four(long, 8).map(|first| u32::from_be_bytes(first).into()),
                b"co64" => {
                    track.first =
                        long.get(8..).and_then(|rest| rest.first_chunk()).copied().map(u64::from_be_bytes);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns true if a fragment lists samples of one of these tracks of sound.
    fn fragment_has_sound(&mut self, mut fragment: Range<u64>, tracks: &[Track]) -> io::Result<bool> {
        while let Some(found) = self.next(&mut fragment)? {
            if &found.kind != b"traf" {
                continue;
            }
            let (mut boxes, mut is_sound) = (found.content, false);
            while let Some(found) = self.next(&mut boxes)? {
                let head = read_at::<8>(self.source, found.content.start)?;
                let Some(number) = four(head.bytes(), 4) else { continue };
                match &found.kind {
                    b"tfhd" => is_sound = tracks.iter().any(|track| track.is_sound && track.id == number),
                    b"trun" if is_sound && u32::from_be_bytes(number) > 0 => return Ok(true),
                    _ => {}
                }
            }
        }
        Ok(false)
    }
}

fn four(bytes: &[u8], at: usize) -> Option<[u8; 4]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Type, header size and whole size of the box that these bytes begin; `None` if they are no box.
fn parse(bytes: &[u8], available: u64) -> Option<([u8; 4], u64, u64)> {
    let (size, rest) = bytes.split_first_chunk::<4>()?;
    let (kind, rest) = rest.split_first_chunk::<4>()?;
    match u32::from_be_bytes(*size) {
        0 => Some((*kind, BOX_HEADER, available)),
        1 => {
            let size = u64::from_be_bytes(*rest.first_chunk::<8>()?);
            (size >= 16).then_some((*kind, 16, size))
        }
        size => (u64::from(size) >= BOX_HEADER).then_some((*kind, BOX_HEADER, u64::from(size))),
    }
}
