//! Tests files that consist of several joined files. Those that can be decoded are measured, and the others are reported.

use super::support::*;

fn joined(names: &[&str]) -> Vec<u8> {
    names.iter().flat_map(|name| fixture(name)).collect()
}

#[test]
fn files_joined_to_one_are_all_measured() {
    for name in [
        "speech-picture.mp3",
        "speech.flac",
        "speech-rf64.wav",
        "speech-sowt.aifc",
        "speech-24k.aac",
        "speech.ogg",
        "speech.opus",
        "speech-fragments.m4a",
    ] {
        let (one, _) = measured(fixture(name));
        let (two, text) = measured(joined(&[name; 2]));
        let difference = two.audio_seconds - 2.0 * one.audio_seconds;
        assert!(difference.abs() < 0.001, "{name}: {} and {text}", one.audio_seconds);
        assert!(!two.incomplete && two.skipped_packets == 0, "{name}: {text}");
        if name != "speech-24k.aac" {
            assert!(text.contains("- Files: 2, joined"), "{name}: {text}");
        }
    }
}

#[test]
fn files_of_different_formats_are_measured_one_after_another() {
    for (names, seconds) in [
        (["speech.aac", "speech-24k.aac"], 2.3 + 0.7),
        (["speech.opus", "speech.ogg"], 2.179 + 2.179),
        (["speech.oga", "speech.opus"], 0.7 + 2.179),
    ] {
        let (summary, text) = measured(joined(&names));
        assert!((summary.audio_seconds - seconds).abs() < 0.25, "{names:?}: {text}");
        assert!(!summary.incomplete && summary.skipped_packets == 0, "{names:?}: {text}");
        assert!(text.contains(": from here on "), "{names:?}: {text}");
        assert!(summary.speech_seconds > 2.0, "{names:?}: {text}");
        assert!(near(summary.integrated_lufs, -20.0, 6.0), "{names:?}: {text}");
    }
}

#[test]
fn files_of_different_kinds_are_all_measured() {
    let names = ["speech.aac", "speech-bare.mp3", "speech.wav", "speech.flac", "speech.aiff", "speech.opus"];
    let kinds = ["ADTS, AAC", "MPEG audio, MP3", "WAV, PCM", "FLAC, FLAC", "AIFF, PCM", "Ogg, Opus"];
    let lengths = names.map(|name| measured(fixture(name)).0.audio_seconds);
    // Each kind comes before two others and after two others; the tests of the layout join all pairs.
    for (first, name) in names.into_iter().enumerate() {
        for second in [first + 1, first + 2].map(|second| second % names.len()) {
            let seconds = lengths[first] + lengths[second];
            let (first, second, kind) = (name, names[second], kinds[second]);
            let (summary, text) = measured(joined(&[first, second]));
            assert!((summary.audio_seconds - seconds).abs() < 0.001, "{first} {second}: {text}");
            assert!(!summary.incomplete && summary.skipped_packets == 0, "{first} {second}: {text}");
            assert!(text.contains("- Files: 2, joined"), "{first} {second}: {text}");
            assert!(text.contains(&format!(": from here on {kind}")), "{first} {second}: {text}");
            assert_eq!(summary.unknown_bytes, 0, "{first} {second}: {text}");
        }
    }
}

#[test]
fn bytes_of_an_unknown_kind_are_reported_as_left_out() {
    let content: Vec<u8> = (0..5000_u32).map(|number| (number * number % 251) as u8 | 1).collect();
    let webm = [&b"\x1a\x45\xdf\xa3"[..], &content].concat();
    for name in ["speech-rf64.wav", "speech.flac", "speech-bare.mp3", "speech.opus", "speech-24k.aac"] {
        let (bare, text) = measured(fixture(name));
        assert!(!text.contains("Left out"), "{name}: {text}");
        for (bytes, files) in
            [(vec![fixture(name), webm.clone()], 1), (vec![fixture(name), webm.clone(), fixture(name)], 2)]
        {
            let (summary, text) = measured(bytes.concat());
            let line = "- Left out: 5004 bytes beside the sound: a WebM or Matroska file";
            assert!(text.contains(line), "{name}: {text}");
            assert!(
                (summary.audio_seconds - f64::from(files) * bare.audio_seconds).abs() < 0.1,
                "{name}: {text}"
            );
        }
        for padding in [vec![0; 9000], vec![0xff; 9000], b"<p>words</p>".repeat(40)] {
            let (_, text) = measured([fixture(name), padding].concat());
            assert!(!text.contains("Left out"), "{name}: {text}");
        }
    }
}

#[test]
fn a_tone_in_two_formats_has_one_loudness_and_one_time_line() {
    let gap = |time: f64| if time < 3.0 { sine(-23.0)(time) } else { 0.0 };
    let bytes = [wav_of(24_000, 2, 6.0, gap), wav_of(16_000, 2, 6.0, |time| gap(5.9 - time))].concat();
    let (summary, text) = measured(bytes);
    assert!((summary.audio_seconds - 12.0).abs() < 1e-6, "{text}");
    assert!(near(summary.integrated_lufs, -23.0, 0.5), "{text}");
    assert!(near(summary.sample_peak_dbfs, -23.0, 0.1), "{text}");
    assert_eq!(summary.long_silences, 1, "{text}");
    assert!((summary.silence_seconds - 5.9).abs() < 0.05, "{text}");
    assert!(text.contains("0:06.00: from here on 16000 Hz, channels: 2 (stereo)"), "{text}");
}

#[test]
fn a_part_that_cannot_be_decoded_is_reported() {
    let page = |flags: u8, content: &[u8]| {
        let mut page = [&b"OggS\0"[..], &[flags], &[0; 20], &[1, content.len() as u8], content].concat();
        let sum = ogg_sum(&page);
        page[22..26].copy_from_slice(&sum.to_le_bytes());
        page
    };
    let speex = [page(2, &[&b"Speex   1.2.0"[..], &[0; 67]].concat()), page(4, &[7; 40])].concat();
    let (one, _) = measured(fixture("speech.opus"));
    for parts in [[fixture("speech.opus"), speex.clone()], [speex.clone(), fixture("speech.opus")]] {
        let (summary, text) = measured(parts.concat());
        assert_eq!((summary.left_out, summary.parts), (1, 2), "{text}");
        assert_eq!(summary.audio_seconds, one.audio_seconds, "{text}");
        assert!(text.contains("- Left out: 1 of 2 files") && text.contains("Speex"), "{text}");
    }
}

#[test]
fn the_second_of_two_files_may_be_cut() {
    for name in ["speech-picture.mp3", "speech.flac", "speech-rf64.wav", "speech.opus"] {
        let mut bytes = joined(&[name; 2]);
        bytes.truncate(bytes.len() - 40);
        let (one, _) = measured(fixture(name));
        let (two, text) = measured(bytes);
        assert!(two.audio_seconds > 1.7 * one.audio_seconds, "{name}: {text}");
        assert!(two.audio_seconds < 2.0 * one.audio_seconds, "{name}: {text}");
        assert!(text.contains("- Incomplete"), "{name}: {text}");
    }
}
