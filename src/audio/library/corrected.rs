//! Corrects files for the library: replaces a header that the library refuses, or that states wrong sizes. All players
//! accept such files.

use std::io::{self, Read, Seek, SeekFrom};

use symphonia::core::io::MediaSource;

use super::made_header::MadeHeader;
use super::ogg_pages::OggPages;
use super::patched::Patched;
use crate::audio::container::Container;
use crate::audio::format::flac::{self, LEAST_BLOCK, StreamInfo};
use crate::audio::format::mp4::{self, Outer, times};
use crate::audio::format::{aiff, wave};
use crate::audio::reading::read_at;

/// The box that states the type of an MPEG-4 file, for files without one.
const TYPE: &[u8] = b"\0\0\0\x10ftypM4A \0\0\0\0";

/// Shows the file in `inner`, which is of this container, in a form that the library reads.
pub(super) fn show<'s>(
    mut inner: Box<dyn MediaSource + 's>,
    container: Container,
) -> io::Result<Box<dyn MediaSource + 's>> {
    Ok(match container {
        Container::Wav => {
            let shape = wave::shape(&mut inner)?;
            Box::new(MadeHeader::new(inner, shape))
        }
        Container::Aiff => {
            let shape = aiff::shape(&mut inner)?;
            Box::new(MadeHeader::new(inner, shape))
        }
        Container::M4a => Box::new(mp4(inner)?),
        Container::Flac => Box::new(flac(inner)?),
        Container::Ogg => Box::new(OggPages::new(inner)?),
        Container::Mp3 | Container::Aac => inner,
    })
}

/// Shows an MPEG-4 file in a form that the library reads:
/// - No box claims to go on behind the end. The library skips such a box, and so finds no sample in a file whose last
///   bytes are missing.
/// - The file states its type. QuickTime did not write one, and the library reads nothing without it. The type box is
///   added at the end, so that no other box moves.
/// - A gap between boxes becomes an empty box, because the library stops at a gap.
/// - Impossible times are replaced by those of the codec.
fn mp4<'s>(mut inner: Box<dyn MediaSource + 's>) -> io::Result<Patched<'s>> {
    let end = inner.seek(SeekFrom::End(0))?;
    let (mut patches, mut has_type) = (Vec::new(), false);
    let mut outer = Outer::new(0, end);
    while let Some(found) = outer.next(&mut inner)? {
        has_type |= found.is(b"ftyp");
        let there = end.min(found.end).saturating_sub(found.start);
        match u32::try_from(there) {
            Ok(there) if found.kind.is_none() && u64::from(there) >= mp4::HEAD => {
                patches.push((found.start, [there.to_be_bytes(), *b"free"].concat()));
            }
            // A size of 0 means "to the end"; the file as shown may end later.
            Ok(there) if found.end >= end && found.is(b"mdat") && !found.is_long() => {
                patches.push((found.start, there.to_be_bytes().to_vec()));
            }
            _ if found.end >= end && found.is(b"mdat") && found.is_long() => {
                patches.push((found.start + mp4::HEAD, there.to_be_bytes().to_vec()));
            }
            _ => {}
        }
        if found.is(b"moov") {
            let content = found.start + found.head..found.end.min(end);
            patches.extend(times::corrections(&mut inner, content)?);
        }
    }
    Patched::new(inner, patches, if has_type { &[] } else { TYPE })
}

/// Shows a FLAC file whose description states sizes of blocks: an encoder that did not know them wrote 0, which the
/// library refuses. A number of samples that only marks an unknown number is shown as unknown.
fn flac<'s>(mut inner: Box<dyn MediaSource + 's>) -> io::Result<Patched<'s>> {
    let head = read_at::<{ flac::HEAD }>(&mut inner, 0)?;
    let mut patch = None;
    if let Some(stream) = StreamInfo::read(head.bytes()) {
        let sizes = block_sizes(&mut inner, &stream)?;
        patch = stream.rewritten(head.bytes(), sizes).map(|shown| (flac::STREAM_INFO as u64, shown));
    }
    Patched::new(inner, patch.into_iter().collect(), &[])
}

/// Returns the sizes of the smallest and the largest block to show: the stated sizes, if the library accepts them.
fn block_sizes(source: &mut (impl Read + Seek), stream: &StreamInfo) -> io::Result<[u16; 2]> {
    let StreamInfo { least_block, most_block, .. } = *stream;
    let stated = [least_block, most_block];
    if least_block >= LEAST_BLOCK && most_block >= least_block {
        return Ok(stated);
    }
    let Some(first) = flac::first_frame(source, 0)? else { return Ok(stated) };
    let known = (most_block >= LEAST_BLOCK).then_some(most_block);
    Ok(if first.is_sample {
        [LEAST_BLOCK, known.unwrap_or(u16::MAX)]
    } else {
        // All blocks but the last have one size, and the library expects it twice.
        [known.or(u16::try_from(first.block).ok()).unwrap_or(u16::MAX).max(LEAST_BLOCK); 2]
    })
}
