//! Finds whether an Ogg file has sound: reads the kind of each stream, and follows the pages until a stream of sound
//! has more packets than its headers.

use std::io;

use crate::audio::container::Container;
use crate::audio::format::ogg::{FoundPage, LONGEST_HEADER, MOST_NEEDED};
use crate::audio::format::ogg_sound::Sound;
use crate::audio::no_audio::NoAudio;
use crate::audio::reading::{Source, read_at, read_stretch};

/// The most pages that are read: headers that contain a picture fill some dozens.
const PAGES: usize = 512;
/// The most streams that are distinguished.
const STREAMS: usize = 16;
/// The most damaged places that are skipped, each at most as long as a page.
const DAMAGES: u32 = 16;

/// A stream of sound, as far as it was followed.
struct SoundStream {
    serial: [u8; 4],
    sound: Sound,
    /// The number of packets that have ended.
    packets: u64,
}

/// Judges whether the file that starts at `offset` has a stream of sound with a packet behind its headers.
pub(super) fn at(source: &mut impl Source, offset: u64, end: u64) -> io::Result<Result<Container, NoAudio>> {
    let mut sounds: Vec<SoundStream> = Vec::new();
    let (mut at, mut others, mut damages) = (offset, false, 0);
    for _ in 0..PAGES {
        if at >= end || damages > DAMAGES {
            break;
        }
        let FoundPage { page, length, packets, .. } = match page_at(source, at)? {
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
                    sounds.push(SoundStream { serial: page.serial, sound, packets });
                }
                // The packet is cut off before it shows its kind.
                None if first.bytes().len() < Sound::SHORTEST_PACKET => {}
                _ => others = true,
            }
        } else if let Some(stream) = sounds.iter_mut().find(|stream| stream.serial == page.serial) {
            stream.packets += packets;
            let heard = stream.packets.saturating_sub(stream.sound.headers);
            let has_position = page.end_of_sound().is_some_and(|end| end > stream.sound.skipped);
            // An encoder without input writes one packet whose position tells that none of it counts. If several
            // packets follow, the position is wrong instead.
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

/// Judges the bytes from `at` on.
fn page_at(source: &mut impl Source, at: u64) -> io::Result<Result<FoundPage, usize>> {
    let head = read_at::<LONGEST_HEADER>(source, at)?;
    let needed = FoundPage::needed(head.bytes());
    if let Some(found) = FoundPage::whole(&read_stretch(source, at, needed as u64)?) {
        return Ok(Ok(found));
    }
    Ok(FoundPage::at_start(&read_stretch(source, at, MOST_NEEDED as u64)?))
}
