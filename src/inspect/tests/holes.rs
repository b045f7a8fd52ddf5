//! Tests FLAC files with a missing part in the middle, or without a length in the header.

use super::support::*;
use crate::audio::made_flac as flac;
use crate::audio::{Container, stated_duration};

/// Returns the stated duration of the file, in seconds.
fn said(bytes: &[u8]) -> f64 {
    let duration = stated_duration(&mut std::io::Cursor::new(bytes), Container::Flac);
    duration.map_or(0.0, |duration| duration.as_secs_f64())
}

#[test]
fn a_hole_in_a_flac_adds_no_sound_and_is_reported() {
    let second = f64::from(flac::FRAME) / f64::from(flac::RATE);
    let whole = flac::bomb(6, 6 * u64::from(flac::FRAME));
    let frame = (whole.len() - 42) / 6;
    let (from, to) = (42 + 2 * frame, 42 + 4 * frame);
    let mut zeros = whole.clone();
    zeros[from..to].fill(0);
    let removed = [&whole[..from], &whole[to..]].concat();
    for (what, bytes) in [("zeros", zeros), ("removed", removed)] {
        let there = said(&bytes) / second;
        assert!((there - 4.0).abs() < 1e-6, "{what}: {there}");
        let (summary, text) = measured(bytes);
        // The library may drop a frame if no frame follows it.
        let frames = summary.audio_seconds / second;
        assert!((2.9..4.1).contains(&frames), "{what}: {text}");
        assert!(text.contains("- Damage: in 1 place ") && text.contains("- Incomplete"), "{what}: {text}");
    }
}

#[test]
fn a_wrong_bit_in_a_flac_loses_one_frame_and_is_reported() {
    let mut bytes = fixture("speech.flac");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let (summary, text) = measured(bytes);
    assert!((1.5..2.179).contains(&summary.audio_seconds), "{text}");
    assert!(text.contains("- Damage: in 1 place ") && text.contains("- Incomplete"), "{text}");
}

#[test]
fn a_flac_without_a_length_in_its_header_is_read_completely() {
    for unknown in [0, 0xff] {
        let mut bytes = fixture("speech.flac");
        // The last 36 bits of eight bytes at 18 count the samples.
        bytes[21] = bytes[21] & 0xf0 | unknown & 0x0f;
        bytes[22..26].fill(unknown);
        assert!((said(&bytes) - 2.179).abs() < 0.001, "{unknown}");
        let (summary, text) = measured(bytes);
        assert!((summary.audio_seconds - 2.179).abs() < 0.001, "{unknown}: {text}");
        assert_eq!(summary.format.stated_seconds, None, "{unknown}: {text}");
        assert!(!text.contains("- Incomplete") && !text.contains("- Damage"), "{unknown}: {text}");
    }
}
