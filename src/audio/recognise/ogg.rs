//! Whether there is sound in an Ogg file: asks each stream what it is, and follows the pages until one of sound has more
//! than its headers.

use std::io;

use crate::audio::container::Container;
use crate::audio::format::ogg::{self, LONGEST_HEADER, Page, Sound};
use crate::audio::no_audio::NoAudio;
use crate::audio::reading::{Source, read_at, read_stretch};

/// Pages that are looked at: headers with a picture among them fill some dozens.
const PAGES: usize = 512;
/// Streams that are told apart.
const STREAMS: usize = 16;
/// Places of damage that are passed over, and the bytes that are searched behind each for the next page.
const DAMAGES: u32 = 16;
const SEARCHED: u64 = 64 * 1024;
/// The highest position that is one: it is written with a sign.
const HIGHEST: u64 = i64::MAX as u64;

/// A stream of sound, as far as it was followed.
struct Followed {
    serial: [u8; 4],
    sound: Sound,
    /// Packets that have come to their end.
    packets: u64,
}

/// Judges the file that starts at `offset`: whether a stream of sound has a packet behind its headers. Only whole pages
/// count: their checksum covers all of them, so a decoder drops the rest.
pub(super) fn at(source: &mut impl Source, offset: u64, end: u64) -> io::Result<Result<Container, NoAudio>> {
    let mut sounds: Vec<Followed> = Vec::new();
    let (mut at, mut others, mut damages) = (offset, false, 0);
    for _ in 0..PAGES {
        let head = read_at::<LONGEST_HEADER>(source, at)?;
        let Some(page) = Page::read(head.bytes()).filter(|page| page.has_whole_header) else {
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
            let first = read_at::<{ Sound::PACKET }>(source, payload)?;
            match Sound::read(first.bytes()) {
                Some(sound) if sounds.len() < STREAMS => {
                    sounds.push(Followed { serial: page.serial, sound, packets: page.packets });
                }
                // Cut off before it says.
                None if first.bytes().len() < Sound::SHORTEST_PACKET => {}
                _ => others = true,
            }
        } else if let Some(stream) = sounds.iter_mut().find(|stream| stream.serial == page.serial)
            && at <= end
        {
            stream.packets += page.packets;
            let heard = stream.packets.saturating_sub(stream.sound.headers);
            let has_position = page.position <= HIGHEST && page.position > stream.sound.skipped;
            // An encoder that was given nothing writes one packet whose position says that nothing of it counts.
            // Where several follow, the position is what is wrong.
            if heard > 2 || heard > 0 && has_position {
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
    let found = memchr::memmem::find(&bytes, ogg::MARK);
    Ok(found.map(|found| at.saturating_add(1 + found as u64)))
}
