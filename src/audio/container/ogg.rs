//! Ogg, which carries sound, pictures and anything else: asks the library for a track of sound, and looks at
//! the first packet where it knows none.

use std::io;

use super::super::library::{Source, ask, is_sound};
use super::{Container, read_at};

/// How the first packet of a stream of sound begins: also of those that the library does not know, or does not
/// find behind damage.
const SOUND: [&[u8]; 7] =
    [b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"fLaC", b"Speex   ", b"CELT    ", b"PCM     "];

/// Whether the file that starts at `offset` holds sound. It is taken to if it ends, or stops being Ogg, before
/// it says.
pub(super) fn holds_sound(source: &mut impl Source, offset: u64) -> io::Result<bool> {
    if ask(source, offset, Container::Ogg, |format| Some(format.tracks().iter().any(is_sound)))? == Some(true)
    {
        return Ok(true);
    }
    // A page that begins a stream holds one short packet, behind a header of 28 bytes (RFC 3533, section 6).
    let head = read_at::<36>(source, offset)?;
    let first_page = matches!(head.bytes(), [b'O', b'g', b'g', b'S', 0, flags, ..] if flags & 2 != 0);
    let packet = head.bytes().get(28..).filter(|packet| first_page && packet.len() == 8);
    Ok(packet.is_none_or(|packet| SOUND.iter().any(|magic| packet.starts_with(magic))))
}
