//! Tests reports about real files, generated sound and damaged files.

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use proptest::prelude::*;

use super::*;
use crate::audio::both;
use support::*;

mod bounds;
mod holes;
mod joined;
mod lengths;
mod ogg;
mod support;

#[test]
fn every_fixture_is_decoded_and_its_speech_is_found() {
    for (name, container, codec, slack) in [
        ("speech.wav", "WAV", "PCM", 0.01),
        ("speech.aiff", "AIFF", "PCM", 0.01),
        ("speech.flac", "FLAC", "FLAC", 0.01),
        ("speech.ogg", "Ogg", "Vorbis", 0.1),
        ("speech.opus", "Ogg", "Opus", 0.01),
        ("speech.mp3", "MPEG audio", "MP3", 0.15),
        ("speech.aac", "ADTS", "AAC", 0.15),
        ("speech.m4a", "MPEG-4", "AAC", 0.15),
        ("speech-moov-last.m4a", "MPEG-4", "AAC", 0.15),
    ] {
        let (summary, text) = measured(fixture(name));
        assert_eq!(summary.format.container, container, "{name}");
        assert!(summary.format.codec.contains(codec), "{name}: {}", summary.format.codec);
        assert_eq!(summary.format.channels, 1, "{name}");
        assert!((summary.audio_seconds - 2.179).abs() < slack, "{name}: {}", summary.audio_seconds);
        assert!((1..=3).contains(&summary.speech_segments), "{name}: {}", summary.speech_segments);
        assert!((1.0..2.2).contains(&summary.speech_seconds), "{name}: {}", summary.speech_seconds);
        assert!(near(summary.integrated_lufs, -20.0, 6.0), "{name}: {:?}", summary.integrated_lufs);
        assert!(!summary.incomplete && summary.skipped_packets == 0, "{name}");
        assert!(text.contains("speech"), "{text}");
    }
}

#[test]
fn a_stereo_sine_at_minus_23_dbfs_measures_minus_23_lufs() {
    let (summary, text) = measured(wav_of(48_000, 2, 5.0, sine(-23.0)));
    assert!(near(summary.integrated_lufs, -23.0, 0.2), "{summary:?}");
    assert!(near(summary.true_peak_dbtp, -23.0, 0.2), "{summary:?}");
    assert!(near(summary.sample_peak_dbfs, -23.0, 0.1), "{summary:?}");
    assert!(near(summary.loudness_range_lu, 0.0, 0.2), "{summary:?}");
    assert_eq!((summary.clipped_samples, summary.silence_seconds), (0, 0.0));
    assert!(summary.speech_seconds < 1.0, "a tone is not speech: {summary:?}");
    assert!(text.contains("-23.0 LUFS"), "{text}");
}

#[test]
fn a_clipped_square_is_counted_and_reported() {
    let square = |time: f64| if (time * 100.0).fract() < 0.5 { 1.0 } else { -1.0 };
    let loud = move |time: f64| if (1.0..2.0).contains(&time) { square(time) } else { 0.1 * square(time) };
    let (summary, text) = measured(wav_of(16_000, 1, 3.0, loud));
    assert_eq!((summary.clipped_samples, summary.clipping_passages), (16_000, 1));
    assert!(text.contains("0:01.00 to 0:02.00: clipping, 16000 samples"), "{text}");
    assert!(near(summary.sample_peak_dbfs, 0.0, 0.01));
}

#[test]
fn a_long_silence_is_reported_with_its_place() {
    let gap = |time: f64| if (1.0..5.0).contains(&time) { 0.0 } else { sine(-20.0)(time) };
    let (summary, text) = measured(wav_of(22_050, 2, 6.0, gap));
    assert_eq!(summary.long_silences, 1);
    assert!((summary.silence_seconds - 4.0).abs() < 0.05, "{summary:?}");
    assert!(text.contains("0:01.00 to 0:05.00: silence, 4.00 s"), "{text}");
}

#[test]
fn very_short_sound_at_eight_bits_has_a_report() {
    let (summary, text) = measured(wav(1, 8000, 1, 8, &[128; 400]));
    assert!((summary.audio_seconds - 0.05).abs() < 1e-9);
    assert_eq!((summary.integrated_lufs, summary.true_peak_dbtp), (None, None));
    assert_eq!(summary.format.bits_per_sample, Some(8));
    assert!((summary.silence_seconds - 0.05).abs() < 1e-9);
    assert!(text.contains("not measurable"), "{text}");
}

#[test]
fn a_file_without_samples_has_a_report() {
    let (summary, text) = measured(wav(1, 8000, 1, 16, &[]));
    assert_eq!((summary.audio_seconds, summary.speech_segments), (0.0, 0));
    assert!(text.contains("there are no samples"), "{text}");
}

#[test]
fn odd_rates_many_channels_and_floats_are_measured() {
    for (rate, channels) in [(8000, 8), (11_025, 1), (22_050, 3), (96_000, 6), (191_999, 2), (192_000, 7)] {
        let (summary, _) = measured(wav_of(rate, channels, 0.6, sine(-20.0)));
        assert!((summary.audio_seconds - 0.6).abs() < 1e-3, "{rate}");
        assert!(summary.integrated_lufs.is_some(), "{rate}");
    }
    let data: Vec<u8> = [0.5_f32, f32::NAN, f32::INFINITY, -2.0]
        .repeat(4000)
        .into_iter()
        .flat_map(f32::to_le_bytes)
        .collect();
    let (summary, _) = measured(wav(3, 16_000, 1, 32, &data));
    assert!(near(summary.sample_peak_dbfs, 6.0, 0.1), "{summary:?}");
}

#[test]
fn a_64_bit_wav_is_read_as_the_riff_it_is() {
    let mut bytes = fixture("speech.wav");
    bytes[..4].copy_from_slice(b"RF64");
    assert_eq!(measured(bytes).0.speech_segments, measured(fixture("speech.wav")).0.speech_segments);
}

#[test]
fn a_64_bit_wav_has_a_length_and_ends_after_it() {
    let mut bytes = fixture("speech-rf64.wav");
    bytes.extend(b"LIST\x28\0\0\0");
    bytes.extend([0x7f; 40]);
    let (summary, _) = measured(bytes);
    assert!(near(summary.format.stated_seconds, 0.7, 1e-6), "{summary:?}");
    assert!((summary.audio_seconds - 0.7).abs() < 1e-6, "{summary:?}");
}

#[test]
fn a_large_picture_at_the_start_is_skipped() {
    let size = 3_u32 << 20;
    let mut tag = b"ID3\x03\0\0".to_vec();
    tag.extend([21, 14, 7, 0].map(|shift| ((size + 10) >> shift) as u8 & 0x7f));
    tag.extend(b"APIC");
    tag.extend(size.to_be_bytes());
    tag.extend(b"\0\0\0image/png\0\x03\0");
    tag.resize(20 + size as usize, 0xff);
    for name in ["speech.mp3", "speech-bare.mp3", "speech.aac", "speech.flac"] {
        let (summary, _) = measured([tag.clone(), fixture(name)].concat());
        let (bare, _) = measured(fixture(name));
        assert_eq!(summary.audio_seconds, bare.audio_seconds, "{name}");
    }
}

#[test]
fn damage_in_the_middle_is_skipped_and_counted() {
    for name in ["speech.m4a", "speech.opus", "speech.flac", "speech.mp3", "speech.aac"] {
        let mut bytes = fixture(name);
        let middle = bytes.len() / 2;
        bytes[middle..middle + 400].fill(0xff);
        let (summary, text) = measured(bytes);
        assert!(summary.audio_seconds > 0.9, "{name}: {summary:?}");
        assert!(summary.skipped_packets > 0 || summary.incomplete, "{name}: {summary:?}");
        assert!(text.contains("- Damage") || text.contains("- Incomplete"), "{name}: {text}");
    }
}

#[test]
fn a_file_cut_in_the_middle_is_reported_as_incomplete() {
    for name in ["speech.wav", "speech.flac", "speech.opus"] {
        let mut bytes = fixture(name);
        bytes.truncate(bytes.len() * 3 / 4);
        let (summary, text) = measured(bytes);
        assert!(summary.audio_seconds > 0.5 && summary.audio_seconds < 2.0, "{name}: {summary:?}");
        assert!(summary.incomplete && text.contains("Incomplete"), "{name}: {text}");
    }
}

#[test]
fn a_listener_that_breaks_stops_the_inspection() {
    for leave_after in 1..8 {
        let mut listener = Collected { leave_after: Some(leave_after), ..Collected::default() };
        let error =
            inspect(Box::new(Cursor::new(fixture("speech.mp3"))), &StopFlag::default(), &mut listener)
                .unwrap_err();
        assert!(matches!(error, InspectError::Stopped));
        assert_eq!(listener.pieces, leave_after);
    }
    let mut listener = Collected { leave_at: Some(0.3), ..Collected::default() };
    let error = inspect(Box::new(Cursor::new(fixture("speech.mp3"))), &StopFlag::default(), &mut listener)
        .unwrap_err();
    assert!(matches!(error, InspectError::Stopped) && !listener.text.contains("In all"));
}

#[test]
fn speech_is_reported_when_it_ends_and_not_when_the_file_ends() {
    struct Watching {
        read: f32,
        heard_at: Option<f32>,
    }
    impl Listener for Watching {
        fn say(&mut self, text: String) -> ControlFlow<()> {
            if text.contains(": speech,") {
                self.heard_at.get_or_insert(self.read);
            }
            ControlFlow::Continue(())
        }
        fn progress(&mut self, fraction: f32) -> ControlFlow<()> {
            self.read = fraction;
            ControlFlow::Continue(())
        }
    }
    // Two seconds of speech, then eight seconds of silence.
    let mut data = fixture("speech.wav")[44..].to_vec();
    data.resize(data.len() + 8 * 16_000, 0);
    let mut listener = Watching { read: 0.0, heard_at: None };
    let summary =
        inspect(Box::new(Cursor::new(wav(1, 8000, 1, 16, &data))), &StopFlag::default(), &mut listener)
            .unwrap();
    assert_eq!((summary.speech_segments, summary.long_silences), (1, 1));
    assert!(listener.heard_at.unwrap() < 0.4, "{:?}", listener.heard_at);
}

#[test]
fn an_undecodable_file_is_refused_with_reason_and_advice() {
    let message = refused(fixture("speech.m4a")[..60].to_vec());
    assert!(message.contains("Check"), "{message}");
    assert!(refused(b"fLaC and then junk".to_vec()).contains("Check"));
    assert!(refused(fixture("speech.wav")[..44].to_vec()).contains("too early"));
    for (code, codec) in [(0x31, "GSM 6.10"), (0x55, "MP3"), (0xff, "AAC"), (0x4242, "an unknown codec")] {
        let message = refused(wav(code, 8000, 1, 8, &[0; 100]));
        assert!(message.contains(&format!("WAV with {codec}")) && message.contains("Convert"), "{message}");
    }
    let mut speex = b"OggS\0\x02".to_vec();
    speex.extend([0; 20]);
    speex.extend([1, 80]);
    speex.extend(b"Speex   1.2.0");
    speex.resize(28 + 80, 0);
    let sum = ogg_sum(&speex);
    speex[22..26].copy_from_slice(&sum.to_le_bytes());
    let message = refused(speex);
    assert!(message.contains("Speex") && message.contains("Convert"), "{message}");
}

#[test]
fn an_mp3_without_a_tag_of_its_length_is_read_to_its_end() {
    let mut bytes = fixture("speech.mp3");
    // The first frame contains the tag and no sound. Without the tag, the frame is silence.
    let first = bytes.windows(4).position(|four| four == b"Info" || four == b"Xing").unwrap();
    bytes[first..first + 4].copy_from_slice(b"Gone");
    let (summary, _) = measured(bytes);
    assert_eq!(summary.format.stated_seconds, None);
    assert!((2.179..2.4).contains(&summary.audio_seconds), "{summary:?}");
}

#[test]
fn a_failed_source_is_not_reported_as_bad_audio() {
    struct Failing(Cursor<Vec<u8>>);
    impl Read for Failing {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            if self.0.position() > 20_000 { Err(io::ErrorKind::BrokenPipe.into()) } else { self.0.read(buf) }
        }
    }
    impl Seek for Failing {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }
    impl MediaSource for Failing {
        fn is_seekable(&self) -> bool {
            true
        }
        fn byte_len(&self) -> Option<u64> {
            Some(self.0.get_ref().len() as u64)
        }
    }
    let source = Failing(Cursor::new(wav_of(16_000, 1, 10.0, sine(-20.0))));
    let error = inspect(Box::new(source), &StopFlag::default(), &mut Collected::default()).unwrap_err();
    assert!(matches!(error, InspectError::Source(_)), "{error:?}");
}

#[test]
fn audio_on_a_disk_is_inspected_like_audio_in_memory() {
    for audio in both(fixture("speech-moov-last.m4a")) {
        let summary =
            inspect(Box::new(audio.reader()), &StopFlag::default(), &mut Collected::default()).unwrap();
        assert_eq!(summary, measured(fixture("speech-moov-last.m4a")).0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn damaged_files_give_a_report_or_a_reason(
        name in proptest::sample::select(vec![
            "speech-rf64.wav", "speech-chunks.wav", "speech-sowt.aifc", "speech.flac", "speech.ogg", "speech.opus",
            "speech.oga", "speech.mp3", "speech-24k.aac", "speech.m4a", "speech-fragments.m4a", "speech-video.mp4",
        ]),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..20),
        is_head in any::<bool>(),
        keep in 0_usize..12_000,
    ) {
        let mut bytes = fixture(name);
        // Most fields that can be wrong are at the start of a file.
        let range = if is_head { 600 } else { bytes.len() };
        for (at, value) in changes {
            bytes[at.index(range)] = value;
        }
        bytes.truncate(keep);
        match inspect(Box::new(Cursor::new(bytes)), &StopFlag::default(), &mut Collected::default()) {
            Ok(summary) => prop_assert!(summary.audio_seconds.is_finite()),
            Err(error) => prop_assert!(matches!(error, InspectError::Undecodable { .. }), "{error:?}"),
        }
    }
}
