//! Tools for the tests of reports: a listener that collects, generated files, and checks of every report.

use std::io::Cursor;
use std::ops::ControlFlow;

use crate::inspect::{InspectError, Listener, StopFlag, Summary, inspect};

/// A listener that collects the report, and may stop it after a number of pieces.
#[derive(Default)]
pub(super) struct Collected {
    pub(super) text: String,
    pub(super) pieces: usize,
    pub(super) leave_after: Option<usize>,
    pub(super) fractions: Vec<f32>,
    pub(super) leave_at: Option<f32>,
}

impl Listener for Collected {
    fn say(&mut self, text: String) -> ControlFlow<()> {
        self.text.push_str(&text);
        self.pieces += 1;
        if self.leave_after == Some(self.pieces) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn progress(&mut self, fraction: f32) -> ControlFlow<()> {
        self.fractions.push(fraction);
        if self.leave_at.is_some_and(|at| fraction >= at) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

pub(super) fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/fixtures/audio/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

pub(super) fn measured(bytes: Vec<u8>) -> (Summary, String) {
    let mut listener = Collected::default();
    let summary = inspect(Box::new(Cursor::new(bytes)), &StopFlag::default(), &mut listener).unwrap();
    for never in ["NaN", "inf", "-0.0"] {
        assert!(!listener.text.contains(never), "{}", listener.text);
    }
    assert!(listener.text.contains("does not transcribe"));
    assert_eq!(listener.fractions.last(), Some(&1.0));
    assert!(listener.fractions.is_sorted() && listener.fractions.len() <= 100);
    (summary, listener.text)
}

pub(super) fn refused(bytes: Vec<u8>) -> String {
    let mut listener = Collected::default();
    let error = inspect(Box::new(Cursor::new(bytes)), &StopFlag::default(), &mut listener).unwrap_err();
    assert!(matches!(error, InspectError::Undecodable { .. }), "{error:?}");
    assert_eq!(listener.text, "", "there is a report about a file that cannot be decoded");
    error.to_string()
}

/// Returns a WAV file of this layout around `data`.
pub(super) fn wav(tag: u16, rate: u32, channels: u16, bits: u16, data: &[u8]) -> Vec<u8> {
    let align = channels * bits / 8;
    let mut out = b"RIFF".to_vec();
    out.extend((36 + data.len() as u32).to_le_bytes());
    out.extend(b"WAVEfmt \x10\0\0\0");
    out.extend(tag.to_le_bytes());
    out.extend(channels.to_le_bytes());
    out.extend(rate.to_le_bytes());
    out.extend((rate * u32::from(align)).to_le_bytes());
    out.extend(align.to_le_bytes());
    out.extend(bits.to_le_bytes());
    out.extend(b"data");
    out.extend((data.len() as u32).to_le_bytes());
    out.extend(data);
    out
}

/// Returns a 16-bit WAV of `seconds`, with each sample computed from its time, the same in all channels.
pub(super) fn wav_of(rate: u32, channels: u16, seconds: f64, sample: impl Fn(f64) -> f64) -> Vec<u8> {
    let mut data = Vec::new();
    for frame in 0..(f64::from(rate) * seconds) as u32 {
        let value = sample(f64::from(frame) / f64::from(rate)).clamp(-1.0, 32767.0 / 32768.0);
        for _ in 0..channels {
            data.extend(((value * 32768.0).round() as i16).to_le_bytes());
        }
    }
    wav(1, rate, channels, 16, &data)
}

pub(super) fn sine(amplitude_dbfs: f64) -> impl Fn(f64) -> f64 {
    let amplitude = 10_f64.powf(amplitude_dbfs / 20.0);
    move |time| amplitude * (time * 1000.0 * std::f64::consts::TAU).sin()
}

/// Returns the checksum of an Ogg page whose own field is zero (RFC 3533, section 6).
pub(super) fn ogg_sum(page: &[u8]) -> u32 {
    page.iter().fold(0, |sum, byte| {
        (0..8).fold(sum ^ (u32::from(*byte) << 24), |sum, _| {
            if sum >> 31 == 1 { (sum << 1) ^ 0x04c1_1db7 } else { sum << 1 }
        })
    })
}

pub(super) fn near(value: Option<f64>, expected: f64, slack: f64) -> bool {
    value.is_some_and(|value| (value - expected).abs() <= slack)
}
