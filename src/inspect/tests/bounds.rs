//! Tests the limits of the work: a stop from another thread, and the most time and samples that are measured.

use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::ops::ControlFlow;

use symphonia::core::io::MediaSource;

use super::super::{Bounds, inspect_within};
use super::support::*;
use crate::audio::made_flac as flac;
use crate::inspect::{InspectError, Listener, StopFlag, inspect};

#[test]
fn sound_beyond_the_bounds_is_left_out_and_reported() {
    let hour = 3600.0;
    for (bounds, seconds) in [
        (Bounds { seconds: 3.0, samples: u64::MAX }, 4.0 * f64::from(flac::FRAME) / f64::from(flac::RATE)),
        (Bounds { seconds: hour, samples: 200_000 }, 4.0 * f64::from(flac::FRAME) / f64::from(flac::RATE)),
    ] {
        let mut listener = Collected::default();
        let bomb = Box::new(Cursor::new(flac::bomb(100, 0)));
        let summary = inspect_within(bounds, bomb, &StopFlag::default(), &mut listener).unwrap();
        assert!(summary.is_bounded && summary.audio_seconds <= seconds, "{summary:?}");
        assert!(listener.text.contains("- Left out: everything after "), "{}", listener.text);
    }
}

/// Returns an ADTS file whose frames after the first eight are damaged, and the number of its frames.
fn damaged_frames() -> (Vec<u8>, u64) {
    let mut bytes = fixture("speech.aac");
    let (mut at, mut frames) = (0, 0);
    while let Some([_, _, _, high, middle, low, _]) = bytes.get(at..at + 7) {
        let length = usize::from(high & 3) << 11 | usize::from(*middle) << 3 | usize::from(low >> 5);
        if frames >= 8 {
            bytes[at + 7..at + length].iter_mut().for_each(|byte| *byte ^= 0x5a);
        }
        (at, frames) = (at + length, frames + 1);
    }
    (bytes, frames)
}

#[test]
fn left_out_packets_count_towards_the_bounds() {
    let (bytes, frames) = damaged_frames();
    let within = |samples| {
        let bounds = Bounds { seconds: 3600.0, samples };
        let source = Box::new(Cursor::new(bytes.clone()));
        inspect_within(bounds, source, &StopFlag::default(), &mut Collected::default()).unwrap()
    };
    let all = within(u64::MAX);
    assert!(all.skipped_packets > frames / 2 && !all.is_bounded, "{all:?}");
    let some = within(1024 * 20);
    assert!(some.skipped_packets <= 21 && some.is_bounded, "{some:?}");
}

/// A source that stops the inspection after this many bytes.
struct Stopping {
    inner: Cursor<Vec<u8>>,
    at: u64,
    stop: StopFlag,
    read_after: usize,
}

impl Read for Stopping {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_after += usize::from(self.stop.is_stopped());
        assert_eq!(self.read_after, 0, "the source is read after the stop");
        if self.inner.position() >= self.at {
            self.stop.stop();
        }
        self.inner.read(buf)
    }
}

impl Seek for Stopping {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

impl MediaSource for Stopping {
    fn is_seekable(&self) -> bool {
        true
    }
    fn byte_len(&self) -> Option<u64> {
        Some(self.inner.get_ref().len() as u64)
    }
}

#[test]
fn a_stop_ends_reading_a_file_without_any_sound() {
    let junk = [&b"ID3\x04\0\0\0\0\0\0"[..], &vec![0; 1 << 20]].concat();
    for bytes in [junk, flac::bomb(20_000, 0), fixture("speech-moov-last.m4a")] {
        let stop = StopFlag::default();
        let at = bytes.len() as u64 / 2;
        let source = Stopping { inner: Cursor::new(bytes), at, stop: stop.clone(), read_after: 0 };
        let error = inspect(Box::new(source), &stop, &mut Collected::default()).unwrap_err();
        assert!(matches!(error, InspectError::Stopped), "{error:?}");
    }
}

#[test]
fn a_stop_ends_the_decoding_of_a_file_without_events() {
    /// Stops at the first line of the report, and must not receive another one.
    struct Leaving(StopFlag);
    impl Listener for Leaving {
        fn say(&mut self, _: String) -> ControlFlow<()> {
            self.0.stop();
            ControlFlow::Continue(())
        }
        fn progress(&mut self, _: f32) -> ControlFlow<()> {
            panic!("the decoding goes on")
        }
    }
    let stop = StopFlag::default();
    let bomb = Box::new(Cursor::new(flac::bomb(100_000, 0)));
    let error = inspect(bomb, &stop, &mut Leaving(stop.clone())).unwrap_err();
    assert!(matches!(error, InspectError::Stopped), "{error:?}");
}

#[test]
fn samples_that_are_not_numbers_are_damage_and_leave_levels_unchanged() {
    let tone = sine(-20.0);
    let samples = (0..32_000).map(|index| match index % 1000 {
        0 => f32::NAN,
        10..14 => f32::INFINITY,
        20 => f32::NEG_INFINITY,
        30..34 => 1e30,
        _ => tone(f64::from(index) / 16_000.0) as f32,
    });
    let data: Vec<u8> = samples.flat_map(f32::to_le_bytes).collect();
    let (summary, text) = measured(wav(3, 16_000, 1, 32, &data));
    assert_eq!(summary.damaged_samples, 32 * 10, "{text}");
    assert!(near(summary.sample_peak_dbfs, 0.0, 0.1), "{text}");
    assert!(summary.integrated_lufs.is_some_and(|level| level < 0.0), "{text}");
    assert!(summary.clipped_samples >= 32 * 8, "{text}");
    assert!(text.contains("- Damage: 320 samples are not numbers"), "{text}");
}
