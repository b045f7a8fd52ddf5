//! The boxes of an MPEG-4 file (ISO/IEC 14496-12): their heads, the outermost boxes, and what the inner ones state
//! about tracks and fragments. The library does not expose the latter: it names a track by its codec, and among unknown
//! codecs, those of sound look like those of pictures, time codes and captions.

mod outer;
pub(crate) mod times;

use std::io::{self, Read, Seek};
use std::ops::Range;

pub(crate) use outer::Outer;

use crate::audio::reading::read_at;

/// The most boxes that are visited to read tracks and fragments: the tree is untrusted, and a request waits for the
/// answer.
pub(crate) const VISITS: u32 = 8192;
/// Length of a box's head: its size and its type.
pub(crate) const HEAD: u64 = 8;
/// Length of the head of a box whose size is written in 64 bits, behind its type.
const LONG_HEAD: u64 = 16;

/// The longest list of types at the start of a file.
const LONGEST_TYPE: u64 = 4096;

/// Returns true if these bytes begin a file that states its type first, as far as the bytes show.
pub(crate) fn is_type(bytes: &[u8]) -> bool {
    let size = Head::read(bytes).filter(|head| &head.kind == b"ftyp").and_then(|head| head.size);
    size.is_some_and(|size| (2 * HEAD..=LONGEST_TYPE).contains(&size))
}

/// The head of a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    kind: [u8; 4],
    /// Length of the head.
    length: u64,
    /// Length of the whole box; `None` if the box ends where its parent ends.
    size: Option<u64>,
}

impl Head {
    /// Reads the head that these bytes begin; returns `None` if the size is less than that of the head.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (size, rest) = bytes.split_first_chunk::<4>()?;
        let (kind, rest) = rest.split_first_chunk::<4>()?;
        let (length, size) = match u32::from_be_bytes(*size) {
            0 => (HEAD, None),
            1 => (LONG_HEAD, Some(u64::from_be_bytes(*rest.first_chunk()?))),
            size => (HEAD, Some(u64::from(size))),
        };
        size.is_none_or(|size| size >= length).then_some(Self { kind: *kind, length, size })
    }

    /// Returns true if the type consists of characters that types use.
    fn has_plain_kind(&self) -> bool {
        self.kind.iter().all(|byte| byte.is_ascii_graphic() || matches!(byte, b' ' | 0xa9))
    }
}

/// A box, and where its content lies, as far as the content is present.
pub(crate) struct Found {
    pub(crate) kind: [u8; 4],
    pub(crate) content: Range<u64>,
}

/// A track, as its boxes describe it.
#[derive(Default)]
pub(crate) struct Track {
    id: [u8; 4],
    /// The kind of its content, as the track states it.
    pub(crate) handler: Option<[u8; 4]>,
    pub(crate) is_sound: bool,
    /// The codec of its samples.
    codec: Option<[u8; 4]>,
    samples: u32,
    /// The offset of the track's first chunk of samples.
    pub(crate) first: Option<u64>,
}

/// Codecs without any sample that is all zeros; uncompressed silence is all zeros.
const NEVER_ZERO: [&[u8; 4]; 9] =
    [b"mp4a", b"alac", b"Opus", b"fLaC", b".mp3", b"ac-3", b"ec-3", b"samr", b"sawb"];

impl Track {
    /// Returns true if the codec has no sample that is all zeros.
    pub(crate) fn is_never_zero(&self) -> bool {
        self.codec.is_some_and(|codec| NEVER_ZERO.contains(&&codec))
    }

    /// Returns true if the track lists samples and the first of them lies before `end`.
    pub(crate) fn has_sample_before(&self, end: u64) -> bool {
        self.samples > 0 && self.first.is_some_and(|first| first < end)
    }
}

/// Walks through the tree of boxes, in a bounded number of steps.
pub(crate) struct Walk<'s, S> {
    source: &'s mut S,
    /// The steps that are left.
    left: &'s mut u32,
}

impl<'s, S: Read + Seek> Walk<'s, S> {
    /// Prepares a walk through the boxes of this file, in as many steps as are left.
    pub(crate) fn new(source: &'s mut S, left: &'s mut u32) -> Self {
        Self { source, left }
    }

    /// Returns the first box in `range`, and removes it from the range.
    pub(crate) fn next(&mut self, range: &mut Range<u64>) -> io::Result<Option<Found>> {
        if range.start >= range.end || *self.left == 0 {
            return Ok(None);
        }
        *self.left -= 1;
        let head = read_at::<{ LONG_HEAD as usize }>(self.source, range.start)?;
        let Some(head) = Head::read(head.bytes()) else { return Ok(None) };
        let end = head.size.map_or(range.end, |size| range.start.saturating_add(size).min(range.end));
        let content = range.start.saturating_add(head.length).min(end)..end;
        range.start = end;
        Ok(Some(Found { kind: head.kind, content }))
    }

    /// Returns the tracks of a movie.
    pub(crate) fn tracks(&mut self, mut movie: Range<u64>) -> io::Result<Vec<Track>> {
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

    /// Records what the boxes in `range` state about a track.
    fn describe(&mut self, mut range: Range<u64>, track: &mut Track) -> io::Result<()> {
        while let Some(found) = self.next(&mut range)? {
            let long = read_at::<24>(self.source, found.content.start)?;
            let there = usize::try_from(found.content.end - found.content.start).unwrap_or(usize::MAX);
            let long = long.bytes().get(..there).unwrap_or(long.bytes());
            match &found.kind {
                b"mdia" | b"minf" | b"stbl" => self.describe(found.content, track)?,
                // The version decides the width of two times in front of the number.
                b"tkhd" => {
                    track.id = four(long, if long.first() == Some(&1) { 20 } else { 12 }).unwrap_or_default()
                }
                // QuickTime has another handler, for how the data are found.
                b"hdlr" if four(long, 4).as_ref() != Some(b"dhlr") => {
                    track.handler = four(long, 8);
                    track.is_sound = track.handler.as_ref() == Some(b"soun");
                }
                b"stsd" => track.codec = four(long, 12),
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
    pub(crate) fn fragment_has_sound(
        &mut self,
        mut fragment: Range<u64>,
        tracks: &[Track],
    ) -> io::Result<bool> {
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
