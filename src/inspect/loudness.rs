//! Loudness and peaks of the whole file (EBU R 128, ITU-R BS.1770-4), by the histogram method, so that
//! memory does not grow with time. It knows nothing of time lines and does not decide what is loud.

use ebur128::{Channel, EbuR128, Mode};

use super::{Format, InspectError, Summary};

/// A range of loudness needs several windows of three seconds; below this many seconds it says nothing.
const RANGE_SECONDS: f64 = 4.0;

/// The meter of one file.
pub(super) struct Loudness {
    meter: EbuR128,
    channels: u32,
}

impl Loudness {
    /// Builds the meter for the given rate and channels.
    pub(super) fn new(format: &Format) -> Result<Self, InspectError> {
        let mode = Mode::I | Mode::LRA | Mode::TRUE_PEAK | Mode::HISTOGRAM;
        let mut meter = EbuR128::new(format.channels, format.sample_rate, mode).map_err(broken)?;
        // The library places up to six channels itself; the order is that of WAVE.
        let front = [Channel::Left, Channel::Right, Channel::Center, Channel::Unused];
        let rest: &[Channel] = match format.channels {
            7 => &[Channel::Mp180, Channel::Mp090, Channel::Mm090],
            8 => &[Channel::LeftSurround, Channel::RightSurround, Channel::Mp090, Channel::Mm090],
            _ => &[],
        };
        if !rest.is_empty() {
            meter.set_channel_map(&[&front, rest].concat()).map_err(broken)?;
        }
        Ok(Self { meter, channels: format.channels })
    }

    /// Measures interleaved samples.
    pub(super) fn add(&mut self, samples: &[f32]) -> Result<(), InspectError> {
        self.meter.add_frames_f32(samples).map_err(broken)
    }

    /// Writes what was measured over `seconds`.
    pub(super) fn finish(&self, seconds: f64, summary: &mut Summary) {
        let highest = |peak: &dyn Fn(u32) -> Result<f64, ebur128::Error>| {
            let linear = (0..self.channels).filter_map(|channel| peak(channel).ok()).fold(0.0, f64::max);
            Some(20.0 * linear.log10()).filter(|level| level.is_finite())
        };
        summary.sample_peak_dbfs = highest(&|channel| self.meter.sample_peak(channel));
        summary.true_peak_dbtp = highest(&|channel| self.meter.true_peak(channel));
        summary.integrated_lufs = self.meter.loudness_global().ok().filter(|level| level.is_finite());
        summary.loudness_range_lu = self.meter.loudness_range().ok().filter(|range| {
            range.is_finite() && seconds >= RANGE_SECONDS && summary.integrated_lufs.is_some()
        });
    }
}

fn broken(error: ebur128::Error) -> InspectError {
    InspectError::Meter(error.to_string())
}
