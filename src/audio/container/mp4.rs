//! The box tree of an MPEG-4 file (ISO/IEC 14496-12): asks each track what it holds, in a bounded number of
//! steps. The library keeps that to itself: it names a track by its codec, and of codecs that it does not know,
//! those of sound look like those of pictures, time codes and captions.

use std::io;
use std::ops::Range;

use super::super::library::Source;
use super::read_at;

/// Boxes visited in all: the tree comes from outside, the request waits.
const BOXES: u32 = 512;
/// Brands of pictures, which have the same first box.
const PICTURES: [&[u8]; 9] =
    [b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis"];

/// Whether the file that starts at `offset` holds sound: it has a track of it, or ends before it says what all
/// its tracks hold and has no brand of pictures.
pub(super) fn holds_sound(source: &mut impl Source, offset: u64, end: u64) -> io::Result<bool> {
    let brand = read_at::<12>(source, offset)?;
    if brand.bytes().get(8..).is_some_and(|brand| PICTURES.contains(&brand)) {
        return Ok(false);
    }
    let mut walk = Walk { left: BOXES, tracks: 0, sound: false, cut_off: false };
    walk.through(source, offset..end, &[b"moov", b"trak", b"mdia", b"hdlr"])?;
    Ok(walk.sound || walk.cut_off || walk.tracks == 0)
}

struct Walk {
    left: u32,
    /// Tracks that said what they hold, and whether it was sound.
    tracks: u32,
    sound: bool,
    /// Whether the file ends within one of the boxes that were entered.
    cut_off: bool,
}

impl Walk {
    /// Visits every box that has this path from the boxes that fill `range`.
    fn through(
        &mut self,
        source: &mut impl Source,
        mut range: Range<u64>,
        path: &[&[u8; 4]],
    ) -> io::Result<()> {
        let Some((wanted, below)) = path.split_first() else { return self.handler(source, range) };
        while range.start < range.end && self.left > 0 && !self.sound {
            self.left -= 1;
            let head = read_at::<16>(source, range.start)?;
            let Some((kind, header, size)) = parse(head.bytes(), range.end - range.start) else { break };
            let claimed = range.start.saturating_add(size);
            let end = claimed.min(range.end);
            if &kind == *wanted {
                self.cut_off |= claimed > end;
                self.through(source, range.start.saturating_add(header).min(end)..end, below)?;
            }
            range.start = end;
        }
        Ok(())
    }

    /// Notes what a track says that it holds: version and flags, four bytes kept at zero, then four letters.
    fn handler(&mut self, source: &mut impl Source, content: Range<u64>) -> io::Result<()> {
        let head = read_at::<12>(source, content.start)?;
        if let Some(kind) = head.bytes().get(8..12).filter(|_| content.end - content.start >= 12) {
            self.tracks += 1;
            self.sound = kind == b"soun";
        }
        Ok(())
    }
}

/// Type, header size and whole size of the box that these bytes begin; `None` if they are no box.
fn parse(bytes: &[u8], available: u64) -> Option<([u8; 4], u64, u64)> {
    let (size, rest) = bytes.split_first_chunk::<4>()?;
    let (kind, rest) = rest.split_first_chunk::<4>()?;
    match u32::from_be_bytes(*size) {
        0 => Some((*kind, 8, available)),
        1 => {
            let size = u64::from_be_bytes(*rest.first_chunk::<8>()?);
            (size >= 16).then_some((*kind, 16, size))
        }
        size => (size >= 8).then_some((*kind, 8, u64::from(size))),
    }
}
