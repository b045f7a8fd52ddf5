//! Tests Ogg files that are cut, damaged or incomplete. Existing sound is measured, and missing sound is reported.

use std::ops::Range;

use super::support::*;
use crate::audio::{Container, stated_duration};

/// Files with one stream: Opus, Vorbis, FLAC.
const FILES: [&str; 3] = ["speech.opus", "speech.ogg", "speech.oga"];

/// Returns the ranges of the pages of a complete file.
fn pages(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut pages: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let segments = usize::from(bytes[at + 26]);
        let lengths = &bytes[at + 27..at + 27 + segments];
        let length = 27 + segments + lengths.iter().map(|length| usize::from(*length)).sum::<usize>();
        pages.push(at..at + length);
        at += length;
    }
    pages
}

/// Changes a page of a file, and updates its checksum.
fn with_page(bytes: &mut [u8], page: Range<usize>, change: impl FnOnce(&mut [u8])) {
    let page = &mut bytes[page];
    page[22..26].fill(0);
    change(page);
    let sum = ogg_sum(page);
    page[22..26].copy_from_slice(&sum.to_le_bytes());
}

/// Returns the stated duration of the file, in seconds.
fn said(bytes: &[u8]) -> f64 {
    let duration = stated_duration(&mut std::io::Cursor::new(bytes), Container::Ogg);
    duration.map_or(0.0, |duration| duration.as_secs_f64())
}

#[test]
fn an_ogg_cut_within_its_first_page_of_sound_plays_to_there() {
    for name in FILES {
        let whole = fixture(name);
        let sound = pages(&whole).into_iter().nth(2).unwrap();
        for part in [3, 5, 7] {
            let bytes = whole[..sound.start + sound.len() * part / 8].to_vec();
            let there = said(&bytes);
            let (summary, text) = measured(bytes);
            assert!((0.2..1.0).contains(&summary.audio_seconds), "{name}: {text}");
            assert!((there - summary.audio_seconds).abs() < 0.05, "{name}: {there} and {text}");
            assert!(text.contains("- Incomplete") && !text.contains("- Damage"), "{name}: {text}");
        }
    }
}

#[test]
fn a_wrong_bit_in_an_ogg_loses_a_packet_or_page_and_is_reported() {
    for name in FILES {
        let (whole, _) = measured(fixture(name));
        for page in pages(&fixture(name)).into_iter().skip(1) {
            let table = 27..27 + usize::from(fixture(name)[page.start + 26]);
            // In the capture pattern, a flag, the position, the packets' lengths, and a packet.
            for place in [0, 5, 13, 29, 100].into_iter().filter(|place| *place < page.len()) {
                let costs_page = place == 0 || table.contains(&place);
                // Vorbis has no sound without its codebooks, and none without its only page of sound.
                let is_needed = match name {
                    "speech.ogg" => page.start < 100 && (costs_page || place == 100),
                    "speech.oga" => page.start > 100 && costs_page,
                    _ => false,
                };
                if is_needed {
                    continue;
                }
                let mut bytes = fixture(name);
                bytes[page.start + place] ^= 1;
                let there = said(&bytes);
                let (summary, text) = measured(bytes);
                let lost = whole.audio_seconds - summary.audio_seconds;
                let most = if costs_page { 1.1 } else { 0.15 };
                assert!((-0.03..most).contains(&lost), "{name}, {page:?}, {place}: {text}");
                let difference = (there - summary.audio_seconds).abs();
                assert!(difference < 0.15, "{name}, {page:?}, {place}: {there} and {text}");
                assert!(text.contains("- Damage: "), "{name}, {page:?}, {place}: {text}");
                assert!(lost < 0.15 || text.contains("- Incomplete"), "{name}, {page:?}, {place}: {text}");
            }
        }
    }
}

#[test]
fn damaged_tags_lose_no_sound_of_an_opus_file() {
    let (whole, _) = measured(fixture("speech.opus"));
    // In their signature, and in the length of the first one.
    for place in [47 + 28 + 3, 47 + 28 + 9] {
        let mut bytes = fixture("speech.opus");
        bytes[place] ^= 0x20;
        let (summary, text) = measured(bytes);
        assert!((summary.audio_seconds - whole.audio_seconds).abs() < 0.03, "{place}: {text}");
        assert!(text.contains("- Damage: in 1 place "), "{place}: {text}");
    }
}

#[test]
fn pages_that_are_missing_from_an_ogg_are_reported() {
    for name in &FILES[..2] {
        let whole = fixture(name);
        let (all, _) = measured(whole.clone());
        let places = pages(&whole);
        for number in 2..places.len() {
            let page = places[number].clone();
            let mut zeros = whole.clone();
            zeros[page.clone()].fill(0);
            let removed = [&whole[..page.start], &whole[page.end..]].concat();
            let half = [&whole[..page.start + 300.min(page.len() / 2)], &whole[page.end..]].concat();
            for (what, bytes) in [("zeros", zeros), ("removed", removed), ("half", half)] {
                let there = said(&bytes);
                let (summary, text) = measured(bytes);
                assert!(summary.audio_seconds < all.audio_seconds, "{name}, {number}, {what}: {text}");
                assert!(
                    (there - summary.audio_seconds).abs() < 0.1,
                    "{name}, {number}, {what}: {there}, {text}"
                );
                // A stream may have been joined while it ran, and may end without an end mark.
                let (is_first, is_last) = (number == 2, number == places.len() - 1);
                let has_trace = match what {
                    "zeros" => true,
                    "removed" => !is_first && !is_last,
                    _ => !is_last,
                };
                assert!(text.contains("- Damage: ") || !has_trace, "{name}, {number}, {what}: {text}");
                let is_short = text.contains("- Incomplete");
                assert!(is_short || is_first && !has_trace, "{name}, {number}, {what}: {text}");
            }
        }
    }
}

#[test]
fn a_cut_or_damaged_ogg_does_not_lose_the_next_file() {
    for (first, second) in
        [("speech.opus", "speech.ogg"), ("speech.ogg", "speech.oga"), ("speech.oga", "speech.opus")]
    {
        let (one, two) = (fixture(first), fixture(second));
        let sound = pages(&one).into_iter().nth(2).unwrap();
        let cut = one[..sound.start + sound.len() * 2 / 3].to_vec();
        let mut damaged = one.clone();
        damaged[sound.start + 100] ^= 4;
        for (what, one) in [("cut", cut), ("damaged", damaged)] {
            let (alone, _) = measured(one.clone());
            let (behind, _) = measured(two.clone());
            let bytes = [one, two.clone()].concat();
            let there = said(&bytes);
            let (both, text) = measured(bytes);
            let sum = alone.audio_seconds + behind.audio_seconds;
            assert!((both.audio_seconds - sum).abs() < 0.01, "{first}, {what}: {text}");
            assert!((there - sum).abs() < 0.1, "{first}, {what}: {there} and {text}");
            assert_eq!((both.parts, both.left_out), (2, 0), "{first}, {what}: {text}");
            assert_eq!(both.incomplete, alone.incomplete, "{first}, {what}: {text}");
            assert!(both.incomplete || what != "cut", "{first}, {what}: {text}");
            assert_eq!(both.damaged_places > 0, what == "damaged", "{first}, {what}: {text}");
        }
    }
}

#[test]
fn a_negative_position_loses_no_sound_of_an_ogg() {
    for name in FILES {
        let (whole, _) = measured(fixture(name));
        for position in [-1_i64, -2, i64::MIN] {
            let mut bytes = fixture(name);
            let page = pages(&bytes).into_iter().nth(2).unwrap();
            with_page(&mut bytes, page, |page| page[6..14].copy_from_slice(&position.to_le_bytes()));
            let there = said(&bytes);
            let (summary, text) = measured(bytes);
            assert!((summary.audio_seconds - whole.audio_seconds).abs() < 0.03, "{name}, {position}: {text}");
            assert!((there - whole.audio_seconds).abs() < 0.03, "{name}, {position}: {there}");
            assert!(
                !text.contains("- Incomplete") && !text.contains("- Damage"),
                "{name}, {position}: {text}"
            );
        }
    }
}

#[test]
fn a_flac_in_ogg_of_unknown_length_is_read_completely() {
    let mut bytes = fixture("speech.oga");
    let first = pages(&bytes).into_iter().next().unwrap();
    // The last 36 bits of eight bytes at 10 in the description count the samples.
    with_page(&mut bytes, first, |page| {
        page[28 + 17 + 13] |= 0x0f;
        page[28 + 17 + 14..28 + 17 + 18].fill(0xff);
    });
    let (summary, text) = measured(bytes);
    assert!((summary.audio_seconds - 0.7).abs() < 1e-6 && !text.contains("- Incomplete"), "{text}");
    assert!(summary.format.stated_seconds.is_none_or(|stated| stated < 1.0), "{text}");
}
