//! The first pages of an Ogg file: what its streams say they are (RFC 3533 for the pages). It does not check
//! sums, follow packets over pages or read past the pages that begin streams.

use std::io::{self, Read, Seek};

use super::read_at;

/// Streams whose first page is looked at; a file with more is judged by these.
const STREAMS: usize = 8;
/// Length of a page header without its table of segments.
const HEADER: u64 = 27;
/// How the first packet of an audio stream begins.
const AUDIO: [&[u8]; 7] =
    [b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"fLaC", b"Speex   ", b"CELT    ", b"PCM     "];
/// A stream that only describes the others.
const SKELETON: &[u8] = b"fishead\0";

/// What one page begins.
enum Stream {
    Audio,
    Skeleton,
    Other,
}

/// Whether the file that starts at `offset` is one of sound. It is if an audio stream comes before any
/// other kind, and also if the data ends, or stops being Ogg, before a stream says what it is.
pub(super) fn holds_audio(reader: &mut (impl Read + Seek), mut offset: u64) -> io::Result<bool> {
    for _ in 0..STREAMS {
        let Some((stream, size)) = first_page(reader, offset)? else { break };
        match stream {
            Stream::Audio => return Ok(true),
            Stream::Other => return Ok(false),
            Stream::Skeleton => offset = offset.saturating_add(size),
        }
    }
    Ok(true)
}

/// The stream that begins with the page at `offset`, and the size of the page; `None` if no whole page that
/// begins a stream is there.
fn first_page(reader: &mut (impl Read + Seek), offset: u64) -> io::Result<Option<(Stream, u64)>> {
    let header = read_at::<27>(reader, offset)?;
    let (capture, flags, segments) = match header.bytes() {
        bytes @ [b'O', b'g', b'g', b'S', 0, flags, .., segments] if bytes.len() == 27 => {
            (true, *flags, *segments)
        }
        _ => (false, 0, 0),
    };
    let begins_stream = flags & 2 != 0;
    if !capture || !begins_stream || segments == 0 {
        return Ok(None);
    }
    let table = read_at::<255>(reader, offset.saturating_add(HEADER))?;
    let body: u64 = table.bytes().iter().take(usize::from(segments)).map(|size| u64::from(*size)).sum();
    let start = offset.saturating_add(HEADER).saturating_add(u64::from(segments));
    let packet = read_at::<16>(reader, start)?;
    let packet = packet.bytes();
    let available = usize::try_from(body).unwrap_or(usize::MAX).min(packet.len());
    let packet = packet.get(..available).unwrap_or_default();
    // Too little to tell: the file is cut off here.
    if packet.len() < 8 {
        return Ok(None);
    }
    let stream = if AUDIO.iter().any(|magic| packet.starts_with(magic)) {
        Stream::Audio
    } else if packet.starts_with(SKELETON) {
        Stream::Skeleton
    } else {
        Stream::Other
    };
    Ok(Some((stream, start.saturating_add(body).saturating_sub(offset))))
}
