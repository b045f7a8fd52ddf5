//! Tests files with wrong lengths, and files that end too early. Existing sound is measured, and missing sound
//! reported.

use std::io::Cursor;

use super::support::*;
use crate::audio::{Container, stated_duration};

/// Returns the fixture of two seconds of speech, with these bytes at these places.
fn patched(name: &str, patches: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = fixture(name);
    for (at, patch) in patches {
        bytes[*at..at + patch.len()].copy_from_slice(patch);
    }
    bytes
}

fn is_whole(name: &str, bytes: Vec<u8>) {
    let (summary, text) = measured(bytes);
    assert!((summary.audio_seconds - 2.179).abs() < 0.01, "{name}: {summary:?}");
    assert!(!summary.incomplete && !text.contains("Incomplete"), "{name}: {text}");
    assert!(summary.speech_segments > 0, "{name}: {text}");
}

#[test]
fn a_wav_whose_recorder_stopped_early_is_read_to_its_end() {
    is_whole("wav", patched("speech.wav", &[(4, &36_u32.to_le_bytes()), (40, &[0; 4])]));
    let whole = wav_of(8000, 1, 0.2, sine(-20.0));
    for riff in [[0x24, 0, 0, 0], [0; 4], [0xff; 4], [1, 0, 0, 0], [whole[4], whole[5], 0, 0]] {
        for data in [[0; 4], [0xff; 4], [0xff, 0xff, 0xff, 0x7f], [0, 0, 0, 0x80]] {
            let mut bytes = whole.clone();
            bytes[4..8].copy_from_slice(&riff);
            bytes[40..44].copy_from_slice(&data);
            let (summary, text) = measured(bytes);
            assert!((summary.audio_seconds - 0.2).abs() < 1e-6, "{riff:?} {data:?}: {text}");
            assert!(!summary.incomplete, "{riff:?} {data:?}: {text}");
        }
    }
}

#[test]
fn a_wav_that_promises_more_than_is_there_is_incomplete() {
    let (summary, text) = measured(patched("speech.wav", &[(40, &40_000_u32.to_le_bytes())]));
    assert!((summary.audio_seconds - 2.179).abs() < 0.01, "{summary:?}");
    assert!(summary.incomplete && text.contains("- Incomplete"), "{text}");
}

#[test]
fn an_aiff_with_wrong_sizes_is_read_to_its_end() {
    let sound = 0x48 + 4;
    let (form, size) = (0x4469_u32, 0x4421_u32);
    for form in [0, form - 10, form + 10] {
        is_whole("aiff", patched("speech.aiff", &[(4, &form.to_be_bytes())]));
    }
    for stated in [0, u32::MAX] {
        is_whole("aiff", patched("speech.aiff", &[(4, &[0; 4]), (sound, &stated.to_be_bytes())]));
    }
    let (summary, text) = measured(patched("speech.aiff", &[(sound, &(size + 99).to_be_bytes())]));
    assert!((summary.audio_seconds - 2.179).abs() < 0.01 && text.contains("- Incomplete"), "{text}");
}

#[test]
fn a_file_with_some_bytes_missing_is_decoded_up_to_there() {
    for (name, missing) in [
        ("speech.wav", 100),
        ("speech.aiff", 10),
        ("speech.m4a", 50),
        ("speech-fragments.m4a", 400),
        ("speech.ogg", 50),
        ("speech.opus", 50),
        ("speech.flac", 50),
        ("speech.mp3", 20),
        ("speech-bare.mp3", 20),
        ("speech.aac", 20),
    ] {
        let (whole, _) = measured(fixture(name));
        assert!(!whole.incomplete, "{name}: {whole:?}");
        let mut bytes = fixture(name);
        bytes.truncate(bytes.len() - missing);
        let (summary, text) = measured(bytes);
        // A damaged Ogg page is lost as a whole; this one holds half of the sound.
        let least = if name == "speech.ogg" { 0.4 } else { 0.7 };
        assert!(summary.audio_seconds > whole.audio_seconds * least, "{name}: {summary:?}");
        assert!(summary.audio_seconds < whole.audio_seconds, "{name}: {summary:?}");
        assert!(text.contains("- Incomplete"), "{name}: {text}");
    }
}

#[test]
fn a_fragment_cut_in_the_middle_is_incomplete_wherever_it_is_cut() {
    // In a fragment's header, in its samples, and in the header of a box.
    for keep in [5600, 3500, 2300] {
        let mut bytes = fixture("speech-fragments.m4a");
        bytes.truncate(keep);
        let (summary, text) = measured(bytes);
        assert!(summary.audio_seconds > 0.4, "{keep}: {summary:?}");
        assert!(text.contains("- Incomplete"), "{keep}: {text}");
    }
}

#[test]
fn a_flac_of_unknown_length_that_is_cut_is_incomplete() {
    let mut bytes = fixture("speech.flac");
    // The last 36 bits of eight bytes at 18 count the samples.
    bytes[21] &= 0xf0;
    bytes[22..26].fill(0);
    let (whole, text) = measured(bytes.clone());
    assert!((whole.audio_seconds - 2.179).abs() < 0.001 && !text.contains("- Incomplete"), "{text}");
    bytes.truncate(bytes.len() - 30);
    let (cut, text) = measured(bytes);
    assert!(cut.audio_seconds < 2.179 && text.contains("- Incomplete"), "{text}");
}

#[test]
fn a_tag_after_a_complete_file_is_neither_sound_nor_damage() {
    let id3v1 = [&b"TAG"[..], &[b' '; 124], &[12]].concat();
    let mut ape = b"APETAGEX\xd0\x07\0\0\x20\0\0\0\0\0\0\0\0\0\0\xa0\0\0\0\0\0\0\0\0".to_vec();
    ape.extend(b"APETAGEX\xd0\x07\0\0\x20\0\0\0\0\0\0\0\0\0\0\x80\0\0\0\0\0\0\0\0");
    let lyrics = b"LYRICSBEGININD0000200000025LYRICS200".to_vec();
    let both = [&ape[..], &id3v1].concat();
    let words = [&lyrics[..], &id3v1].concat();
    for name in [
        "speech.flac",
        "speech.mp3",
        "speech-bare.mp3",
        "speech-24k.aac",
        "speech-rf64.wav",
        "speech-sowt.aifc",
        "speech-moov-last.m4a",
        "speech.opus",
    ] {
        let (bare, _) = measured(fixture(name));
        let tags = if name == "speech.flac" { &[&id3v1, &ape, &words][..] } else { &[&both] };
        for tag in tags {
            let tag = tag.to_vec();
            let (summary, text) = measured([fixture(name), tag].concat());
            assert_eq!(summary.audio_seconds, bare.audio_seconds, "{name}: {text}");
            assert!(!summary.incomplete && summary.skipped_packets == 0, "{name}: {text}");
        }
    }
}

#[test]
fn junk_after_the_last_block_of_a_flac_does_not_lose_it() {
    for junk in [vec![0; 500], b"</html>\r\n".to_vec()] {
        is_whole("flac", [fixture("speech.flac"), junk].concat());
    }
}

/// Returns the places in a fixture of the boxes of this type, behind their size.
fn places(bytes: &[u8], kind: &[u8; 4]) -> Vec<usize> {
    memchr::memmem::find_iter(bytes, kind).collect()
}

#[test]
fn impossible_times_in_an_mpeg_4_file_come_from_its_codec() {
    // The place of the index does not change its fields: in the second file some of them are enough.
    for (name, step) in [("speech.m4a", 1), ("speech-moov-last.m4a", 5)] {
        let (bare, _) = measured(fixture(name));
        let length = stated_duration(&mut Cursor::new(fixture(name)), Container::M4a).unwrap().as_secs_f64();
        let wrong = [
            (b"mdhd", 16, vec![0; 4]),
            (b"mdhd", 16, vec![0, 0, 0, 1]),
            (b"mdhd", 16, vec![0xff; 4]),
            (b"mdhd", 16, vec![0, 0, 0x3e, 0x80]),
            (b"mdhd", 20, vec![0; 4]),
            (b"mdhd", 20, vec![0xff; 4]),
            (b"mvhd", 16, vec![0; 4]),
            (b"mvhd", 16, vec![0, 0, 0, 1]),
            (b"mvhd", 16, vec![0xff; 8]),
            (b"mvhd", 20, vec![0; 4]),
            (b"tkhd", 24, vec![0; 4]),
            (b"tkhd", 24, vec![0xff; 4]),
            (b"elst", 12, vec![0; 4]),
            (b"elst", 12, vec![0xff; 4]),
            (b"elst", 16, vec![0x7f; 4]),
            (b"stts", 16, vec![0; 4]),
            (b"stts", 16, vec![0xff; 4]),
            (b"stts", 16, vec![0, 0, 0, 1]),
            (b"stts", 12, vec![0x7f, 0xff, 0xff, 0xff]),
        ];
        for (kind, at, value) in wrong.into_iter().step_by(step) {
            let mut bytes = fixture(name);
            let [place] = places(&bytes, kind)[..] else { panic!("{name}: one {kind:?}") };
            bytes[place + at..place + at + value.len()].copy_from_slice(&value);
            let shown = std::str::from_utf8(kind).unwrap();
            let said =
                stated_duration(&mut Cursor::new(&bytes), Container::M4a).map(|said| said.as_secs_f64());
            assert!(near(said, length, 0.1), "{name}, {shown} {at} {value:x?}: {said:?}");
            let (summary, text) = measured(bytes);
            assert_eq!(summary.audio_seconds, bare.audio_seconds, "{name}, {shown} {at} {value:x?}: {text}");
            assert!(!summary.incomplete, "{name}, {shown} {at} {value:x?}: {text}");
            let header = summary.format.stated_seconds;
            assert!(near(header, length, 0.1), "{name}, {shown} {at} {value:x?}: {text}");
        }
    }
}

#[test]
fn a_wrong_time_scale_of_fragments_is_ignored() {
    let name = "speech-fragments.m4a";
    let (bare, _) = measured(fixture(name));
    let length = stated_duration(&mut Cursor::new(fixture(name)), Container::M4a).unwrap().as_secs_f64();
    for scale in [0_u32, 1, 1000, u32::MAX] {
        let mut bytes = fixture(name);
        let [place] = places(&bytes, b"mdhd")[..] else { panic!("one mdhd") };
        bytes[place + 16..place + 20].copy_from_slice(&scale.to_be_bytes());
        let said = stated_duration(&mut Cursor::new(&bytes), Container::M4a).map(|said| said.as_secs_f64());
        assert!(near(said, length, 0.15), "{scale}: {said:?}");
        let (summary, text) = measured(bytes);
        assert_eq!(summary.audio_seconds, bare.audio_seconds, "{scale}: {text}");
    }
}

#[test]
fn data_after_a_damaged_fragment_is_read_and_the_damage_reported() {
    let name = "speech-fragments.m4a";
    let bytes = fixture(name);
    let (whole, _) = measured(bytes.clone());
    let fragments = places(&bytes, b"moof");
    assert!(fragments.len() > 2);
    for (number, pair) in fragments.windows(2).enumerate() {
        let [from, to] = [pair[0] - 4, pair[1] - 4];
        let size = u32::from_be_bytes(bytes[from..from + 4].try_into().unwrap()) as usize;
        let middle = from + 60..from + size;
        for zeroed in [from..to, from..from + 8, from..from + size, middle, from + size..to] {
            let mut bytes = bytes.clone();
            bytes[zeroed.clone()].fill(0);
            let (summary, text) = measured(bytes.clone());
            let lost = whole.audio_seconds - summary.audio_seconds;
            let is_reported = text.contains("- Incomplete") || text.contains("- Damage");
            assert!(is_reported, "{number}, {zeroed:?}: {text}");
            assert!(lost < 0.6 * whole.audio_seconds, "{number}, {zeroed:?}: {text}");
            let said =
                stated_duration(&mut Cursor::new(&bytes), Container::M4a).map(|said| said.as_secs_f64());
            assert!(near(said, summary.audio_seconds, 0.6), "{number}, {zeroed:?}: {said:?} {text}");
        }
    }
    let last = fragments.last().unwrap() - 4;
    let mut bytes = bytes;
    bytes[last..].fill(0);
    let (_, text) = measured(bytes);
    assert!(text.contains("- Incomplete"), "{text}");
}
