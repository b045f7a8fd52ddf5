//! The box tree of an MPEG-4 file (ISO/IEC 14496-12): looks for a track of sound in a bounded number of
//! steps. It knows no codecs and reads no samples.

use std::io::{self, Read, Seek};
use std::ops::Range;

use super::read_at;

/// Boxes visited in all: the tree comes from outside, the request waits.
const BOXES: u32 = 512;
/// Brands of pictures, which have the same first box.
const PICTURES: [&[u8]; 9] =
    [b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis"];

/// Whether the file that starts at `offset` is one of sound: a movie with a track of sound, or one that ends
/// before its tracks are known and whose brand is not one of pictures.
pub(super) fn holds_audio(reader: &mut (impl Read + Seek), offset: u64, length: u64) -> io::Result<bool> {
    let brand = read_at::<12>(reader, offset)?;
    if brand.bytes().get(8..).is_some_and(|brand| PICTURES.contains(&brand)) {
        return Ok(false);
    }
    let mut walk = Walk { reader, left: BOXES };
    let Some(movie) = walk.find(offset..length, b"moov")? else { return Ok(true) };
    let mut rest = movie;
    let mut tracks_without_sound = false;
    while let Some(track) = walk.find(rest.clone(), b"trak")? {
        rest.start = track.end;
        match walk.handler(track)? {
            Some(kind) if &kind == b"soun" => return Ok(true),
            Some(_) => tracks_without_sound = true,
            // A track that does not say what it is may be cut off.
            None => {}
        }
    }
    Ok(!tracks_without_sound)
}

struct Walk<'r, R> {
    reader: &'r mut R,
    left: u32,
}

impl<R: Read + Seek> Walk<'_, R> {
    /// The content of the first box of type `wanted` among those that fill `range`.
    fn find(&mut self, mut range: Range<u64>, wanted: &[u8; 4]) -> io::Result<Option<Range<u64>>> {
        while range.start < range.end && self.left > 0 {
            self.left -= 1;
            let header = read_at::<16>(self.reader, range.start)?;
            let Some((kind, header_size, size)) = parse(header.bytes(), range.end - range.start) else {
                return Ok(None);
            };
            // A box that claims more than its parent holds is cut off at the parent's end.
            let end = range.start.saturating_add(size).min(range.end);
            if &kind == wanted {
                return Ok(Some(range.start.saturating_add(header_size).min(end)..end));
            }
            range.start = end;
        }
        Ok(None)
    }

    /// The four letters that say what kind of media a track holds.
    fn handler(&mut self, track: Range<u64>) -> io::Result<Option<[u8; 4]>> {
        let Some(media) = self.find(track, b"mdia")? else { return Ok(None) };
        let Some(handler) = self.find(media, b"hdlr")? else { return Ok(None) };
        // Version and flags, four bytes kept at zero, then the type.
        let content = read_at::<12>(self.reader, handler.start)?;
        Ok(match content.bytes() {
            [_, _, _, _, _, _, _, _, a, b, c, d] if handler.end - handler.start >= 12 => {
                Some([*a, *b, *c, *d])
            }
            _ => None,
        })
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
