//! Whether there is sound in an Ogg file: asks each stream what it is, and follows the pages until one of sound has more
//! than its headers.

use std::io;

use crate::audio::container::Container;
use crate::audio::format::ogg::{Found, LONGEST_HEADER, LOOK};
use crate::audio::format::ogg_sound::Sound;
use crate::audio::no_audio::NoAudio;
use crate::audio::reading::{Source, read_at, read_stretch};

/// Pages that are looked at: headers with a picture among them fill some dozens.
const PAGES: usize = 512;
/// Streams that are told apart.
const STREAMS: usize = 16;
/// Places of damage that are passed over, each with the length of a page at most.
const DAMAGES: u32 = 16;

/// A stream of sound, as far as it was followed.
struct Followed {
    serial: [u8; 4],
    sound: Sound,
    /// Packets that have come to their end.
    packets: u64,
}

/// Judges the file that starts at `offset`: whether a stream of sound has a packet behind its headers.
pub(super) fn at(source: &mut impl Source, offset: u64, end: u64) -> io::Result<Result<Container, NoAudio>> {
    let mut sounds: Vec<Followed> = Vec::new();
    let (mut at, mut others, mut damages) = (offset, false, 0);
    for _ in 0..PAGES {
        if at >= end || damages > DAMAGES {
            break;
        }
        let Found { page, length, packets, .. } = match look(source, at)? {
            Ok(found) => found,
            Err(length) => {
                damages += 1;
                at = at.saturating_add(length.max(1) as u64);
                continue;
            }
        };
        let payload = at.saturating_add(page.header as u64);
        at = at.saturating_add(length as u64);
        if page.begins {
            let first = read_at::<{ Sound::PACKET }>(source, payload)?;
            match Sound::read(first.bytes()) {
                Some(sound) if sounds.len() < STREAMS => {
                    sounds.push(Followed { serial: page.serial, sound, packets });
                }
                // Cut off before it says.
                None if first.bytes().len() < Sound::SHORTEST_PACKET => {}
                _ => others = true,
            }
        } else if let Some(stream) = sounds.iter_mut().find(|stream| stream.serial == page.serial) {
            stream.packets += packets;
            let heard = stream.packets.saturating_sub(stream.sound.headers);
            let has_position = page.end_of_sound().is_some_and(|end| end > stream.sound.skipped);
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

/// Looks at the bytes from `at` on.
fn look(source: &mut impl Source, at: u64) -> io::Result<Result<Found, usize>> {
    let head = read_at::<LONGEST_HEADER>(source, at)?;
    let needed = Found::needed(head.bytes());
    if let Some(found) = Found::whole(&read_stretch(source, at, needed as u64)?) {
        return Ok(Ok(found));
    }
    Ok(Found::look(&read_stretch(source, at, LOOK as u64)?))
}
