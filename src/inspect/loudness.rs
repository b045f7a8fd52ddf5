//! Measures loudness and peaks of the whole file (EBU R 128, ITU-R BS.1770-4). With the histogram method, memory does
//! not grow with time, but the times of loud sounds are not known.

use ebur128::{Channel, EbuR128, Mode};

use super::{Format, InspectError, Summary};

/// The loudness range needs several windows of three seconds; below this many seconds it is meaningless.
const RANGE_SECONDS: f64 = 4.0;

/// The meter of one file.
pub(super) struct Loudness {
    meter: EbuR128,
    channels: u32,
    /// The highest peaks of earlier formats, linear.
    sample_peak: f64,
    true_peak: f64,
}

impl Loudness {
    /// Creates the meter for a format.
    pub(super) fn new(format: &Format) -> Result<Self, InspectError> {
        let mode = Mode::I | Mode::LRA | Mode::TRUE_PEAK | Mode::HISTOGRAM;
        let meter = EbuR128::new(format.channels, format.sample_rate, mode).map_err(broken)?;
        let mut loudness = Self { meter, channels: format.channels, sample_peak: 0.0, true_peak: 0.0 };
        loudness.place_channels()?;
        Ok(loudness)
    }

    /// Continues in another format; earlier measurements stay counted.
    pub(super) fn switch(&mut self, format: &Format) -> Result<(), InspectError> {
        (self.sample_peak, self.true_peak) = self.peaks();
        self.meter.change_parameters(format.channels, format.sample_rate).map_err(broken)?;
        self.channels = format.channels;
        self.place_channels()
    }

    /// Assigns the channels in WAVE's order. The library does this itself for up to six channels.
    fn place_channels(&mut self) -> Result<(), InspectError> {
        let front = [Channel::Left, Channel::Right, Channel::Center, Channel::Unused];
        let rest: &[Channel] = match self.channels {
            7 => &[Channel::Mp180, Channel::Mp090, Channel::Mm090],
            8 => &[Channel::LeftSurround, Channel::RightSurround, Channel::Mp090, Channel::Mm090],
            _ => return Ok(()),
        };
        self.meter.set_channel_map(&[&front, rest].concat()).map_err(broken)
    }

    /// Returns the highest sample and the highest true peak so far, linear.
    fn peaks(&self) -> (f64, f64) {
        let highest = |before: f64, peak: &dyn Fn(u32) -> Result<f64, ebur128::Error>| {
            (0..self.channels).filter_map(|channel| peak(channel).ok()).fold(before, f64::max)
        };
        (
            highest(self.sample_peak, &|channel| self.meter.sample_peak(channel)),
            highest(self.true_peak, &|channel| self.meter.true_peak(channel)),
        )
    }

    /// Measures interleaved samples.
    pub(super) fn add(&mut self, samples: &[f32]) -> Result<(), InspectError> {
        self.meter.add_frames_f32(samples).map_err(broken)
    }

    /// Writes the results of the measurement of `seconds` to the summary.
    pub(super) fn finish(&self, seconds: f64, summary: &mut Summary) {
        let level = |peak: f64| Some(20.0 * peak.log10()).filter(|level| level.is_finite());
        let (sample_peak, true_peak) = self.peaks();
        summary.sample_peak_dbfs = level(sample_peak);
        summary.true_peak_dbtp = level(true_peak);
        summary.integrated_lufs = self.meter.loudness_global().ok().filter(|level| level.is_finite());
        summary.loudness_range_lu = self.meter.loudness_range().ok().filter(|range| {
            range.is_finite() && seconds >= RANGE_SECONDS && summary.integrated_lufs.is_some()
        });
    }
}

fn broken(error: ebur128::Error) -> InspectError {
    InspectError::Meter(error.to_string())
}
