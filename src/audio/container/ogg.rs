//! The pages of an Ogg file (RFC 3533), which carries sound, pictures and anything else: asks each stream what it is,
//! and follows the pages until one of sound has more than its headers.

use std::io;

use super::super::library::Source;
use super::super::no_audio::NoAudio;
use super::{Container, read_at, read_stretch};

/// Pages that are looked at: headers with a picture among them fill some dozens.
const PAGES: usize = 512;
/// Streams that are told apart.
const STREAMS: usize = 16;
/// Places of damage that are passed over, and the bytes that are searched behind each for the next page.
const DAMAGES: u32 = 16;
const SEARCHED: usize = 64 * 1024;
/// Header of a page without the lengths of its segments.
const HEADER: usize = 27;
/// As much as is read of each page: its longest header.
const HEAD: usize = HEADER + 255;
/// How much of the first packet says what a stream is.
const FIRST_PACKET: usize = 72;

/// A stream of sound.
struct Sound {
    serial: [u8; 4],
    /// Packets of headers in front.
    headers: u64,
    /// What the position counts and nobody hears.
    skipped: u64,
    /// Packets that have come to their end.
    packets: u64,
}

/// Judges the file that starts at `offset`: whether a stream of sound has a packet behind its headers. Only whole pages
/// count: their checksum covers all of them, so a decoder drops the rest.
pub(super) fn at(source: &mut impl Source, offset: u64, end: u64) -> io::Result<Result<Container, NoAudio>> {
    let mut sounds: Vec<Sound> = Vec::new();
    let (mut at, mut others, mut damages) = (offset, false, 0);
    for _ in 0..PAGES {
        let head = read_at::<HEAD>(source, at)?;
        let Some(page) = Page::read(head.bytes()) else {
            damages += 1;
            match next_page(source, at)?.filter(|_| damages <= DAMAGES) {
                Some(next) => at = next,
                None => break,
            }
            continue;
        };
        let payload = at.saturating_add(page.header as u64);
        at = payload.saturating_add(page.payload);
        if page.begins {
            let first = read_at::<FIRST_PACKET>(source, payload)?;
            match Sound::read(page.serial, first.bytes()) {
                Some(mut sound) if sounds.len() < STREAMS => {
                    sound.packets = page.packets;
                    sounds.push(sound);
                }
                // Cut off before it says.
                None if first.bytes().len() < MARK => {}
                _ => others = true,
            }
        } else if let Some(sound) = sounds.iter_mut().find(|sound| sound.serial == page.serial)
            && at <= end
        {
            sound.packets += page.packets;
            let heard = sound.packets.saturating_sub(sound.headers);
            // An encoder that was given nothing writes one packet whose position says that nothing of it counts.
            // Where several follow, the position is what is wrong.
            if heard > 2 || heard > 0 && page.position.is_some_and(|position| position > sound.skipped) {
                return Ok(Ok(Container::Ogg));
            }
        }
    }
    Ok(Err(if sounds.is_empty() && others {
        NoAudio::SilentVideo
    } else {
        NoAudio::Soundless(Container::Ogg)
    }))
}

/// Searches for the next page behind what is none.
fn next_page(source: &mut impl Source, at: u64) -> io::Result<Option<u64>> {
    let bytes = read_stretch(source, at.saturating_add(1), SEARCHED)?;
    let found = memchr::memmem::find(&bytes, b"OggS");
    Ok(found.map(|found| at.saturating_add(1 + found as u64)))
}

struct Page {
    /// True for the first page of a stream.
    begins: bool,
    serial: [u8; 4],
    /// Where the last packet that ends on it ends, in units of the stream; `None` if none does.
    position: Option<u64>,
    /// Packets that end on it.
    packets: u64,
    header: usize,
    payload: u64,
}

impl Page {
    fn read(head: &[u8]) -> Option<Self> {
        let (fixed, lengths) = head.split_first_chunk::<HEADER>()?;
        let [b'O', b'g', b'g', b'S', 0, flags, rest @ .., segments] = fixed else { return None };
        let lengths = lengths.get(..usize::from(*segments))?;
        let position = u64::from_le_bytes(*rest.first_chunk()?);
        Some(Self {
            begins: flags & 2 != 0,
            serial: *rest.get(8..)?.first_chunk()?,
            position: (position <= i64::MAX as u64).then_some(position),
            packets: lengths.iter().filter(|length| **length < 255).count() as u64,
            header: HEADER + lengths.len(),
            payload: lengths.iter().map(|length| u64::from(*length)).sum(),
        })
    }
}

/// The shortest first packet that says what a stream is.
const MARK: usize = 8;

impl Sound {
    /// What the first packet of a stream says; `None` if it is no stream of sound.
    fn read(serial: [u8; 4], packet: &[u8]) -> Option<Self> {
        let number = |range: std::ops::Range<usize>| {
            packet
                .get(range)
                .unwrap_or_default()
                .iter()
                .rev()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        };
        let (headers, skipped) = match packet {
            [0x01, b'v', b'o', b'r', b'b', b'i', b's', ..] => (3, 0),
            [b'O', b'p', b'u', b's', b'H', b'e', b'a', b'd', ..] => (2, number(10..12)),
            // How many packets of headers follow, where it is known: in the other order of bytes.
            [0x7f, b'F', b'L', b'A', b'C', _, _, high, low, ..] => {
                (1 + u64::from(u16::from_be_bytes([*high, *low])).max(1), 0)
            }
            [b'f', b'L', b'a', b'C', ..] => (2, 0),
            [b'S', b'p', b'e', b'e', b'x', b' ', b' ', b' ', ..] => (2 + number(68..72).min(1024), 0),
            [b'C', b'E', b'L', b'T', b' ', ..] | [b'P', b'C', b'M', b' ', b' ', ..] => (2, 0),
            _ => return None,
        };
        Some(Self { serial, headers, skipped, packets: 0 })
    }
}
