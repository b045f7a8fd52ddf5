//! AIFF and AIFF-C: the signature and the chunks. Any such file can be shown as a `FORM` with one `COMM` and one `SSND`
//! chunk whose sizes are correct. The library believes the wrong sizes of a file that was written to a pipe or cut off,
//! and refuses it.

use std::io::{self, Read, Seek, SeekFrom};

use super::chunks::{Shape, end_of_chunks, walk};
use crate::audio::reading::read_at;

/// The longest `COMM` chunk that is shown; the name of a compression is its only text.
const COMMON: u32 = 1024;
/// From this value on, a size that goes beyond the end of the file is a placeholder.
const UNKNOWN: u64 = 0x7f00_0000;
/// The bytes in front of the samples in their chunk: the number of bytes to skip, and the size of blocks.
const SOUND_HEAD: u64 = 8;

/// Returns true if these are the first bytes of an AIFF or AIFF-C file.
pub(crate) fn is_aiff(head: &[u8]) -> bool {
    matches!(head, [b'F', b'O', b'R', b'M', _, _, _, _, b'A', b'I', b'F', b'F' | b'C', ..])
}

/// Finds the chunks of the file in `inner`.
pub(crate) fn shape(inner: &mut (impl Read + Seek)) -> io::Result<Shape> {
    let end = inner.seek(SeekFrom::End(0))?;
    let form = read_at::<12>(inner, 0)?.bytes().get(8..).unwrap_or_default().to_vec();
    let mut common = Vec::new();
    let mut shape = Shape { header: Vec::new(), data: end, length: 0, end, is_cut: true };
    let mut has_sound = false;
    walk(inner, 12, u32::from_be_bytes, |inner, chunk| {
        match &chunk.id {
            b"COMM" if chunk.size <= COMMON && common.is_empty() => {
                common.extend_from_slice(b"COMM");
                common.extend_from_slice(&chunk.size.to_be_bytes());
                inner.seek(SeekFrom::Start(chunk.start))?;
                inner.by_ref().take(u64::from(chunk.size)).read_to_end(&mut common)?;
                common.resize(common.len().next_multiple_of(2), 0);
            }
            b"SSND" if !has_sound => {
                has_sound = true;
                let skipped = chunk.content.first_chunk().map_or(0, |offset| u32::from_be_bytes(*offset));
                let head = SOUND_HEAD + u64::from(skipped);
                return sound(inner, &mut shape, chunk.start, head, u64::from(chunk.size));
            }
            b"FORM" => return Ok(None),
            _ => {}
        }
        Ok(Some(chunk.end()))
    })?;
    let shown = u32::try_from(shape.length + SOUND_HEAD).unwrap_or(u32::MAX);
    let whole = u32::try_from(4 + common.len() + 8).unwrap_or(u32::MAX);
    shape.header.extend_from_slice(b"FORM");
    shape.header.extend_from_slice(&whole.saturating_add(shown).to_be_bytes());
    shape.header.extend_from_slice(&form);
    shape.header.extend_from_slice(&common);
    if has_sound {
        shape.header.extend_from_slice(b"SSND");
        shape.header.extend_from_slice(&shown.to_be_bytes());
        shape.header.extend_from_slice(&[0; SOUND_HEAD as usize]);
    }
    inner.seek(SeekFrom::Start(0))?;
    Ok(shape)
}

/// Finds how many samples are in the chunk of this size whose content starts at `start`, and where to look for the next
/// chunk.
fn sound(
    inner: &mut (impl Read + Seek),
    shape: &mut Shape,
    start: u64,
    head: u64,
    size: u64,
) -> io::Result<Option<u64>> {
    let end = shape.end;
    shape.data = start.saturating_add(head).min(end);
    let there = end - shape.data;
    let chunks_end = |inner: &mut _, at| end_of_chunks(inner, at, end, u32::from_be_bytes, &[b"FORM"]);
    let stated = size.saturating_sub(head);
    let is_placeholder = match stated {
        0 => chunks_end(inner, start.saturating_add(size))?.is_none(),
        stated => stated > there && stated >= UNKNOWN,
    };
    if is_placeholder || stated > there {
        shape.length = there;
        shape.is_cut = !is_placeholder;
        return Ok(None);
    }
    shape.length = stated;
    shape.is_cut = false;
    let behind = start.saturating_add(size);
    shape.end = behind;
    for at in [behind.saturating_add(size % 2), behind] {
        if let Some(found) = chunks_end(inner, at)? {
            shape.end = found;
            return Ok(Some(at));
        }
    }
    Ok(None)
}
