//! Finds silence and clipping by the level of the samples over time. Unlike loudness, the level is not weighted by
//! frequency. Only sums are kept.

use super::report::{Event, TimeRange};
use super::{Format, Summary};

/// A window is silence below this level: the root mean square over all channels in dBFS, where a full-scale square wave
/// is 0.
pub(super) const SILENCE_DBFS: f64 = -50.0;
/// A silence at least as long as this, in seconds, gets a line in the report.
pub(super) const LONG_SILENCE: f64 = 2.0;
/// Length of a window in milliseconds.
const WINDOW_MS: u64 = 20;
/// The number of consecutive samples at full scale in one channel from which on they count as clipping. Fewer samples are
/// peaks that reach full scale.
const CLIPPED_RUN: u32 = 3;
/// Clipped runs closer than this, in seconds, form one passage.
const SAME_PASSAGE: f64 = 0.5;

/// The levels of one file while it is measured.
pub(super) struct Levels {
    channels: usize,
    rate: f64,
    window: u64,
    full_scale: f32,
    /// Seconds before the current format.
    before: f64,
    /// Frames of the current format so far.
    frames: u64,
    /// Frames and sum of squares of the current window.
    filled: u64,
    squares: f64,
    silent_seconds: f64,
    /// Start of the current silence, in seconds.
    silent_since: Option<f64>,
    runs: Vec<Run>,
    passage: Option<Passage>,
    clipped: u64,
}

/// Consecutive samples at full scale in one channel, with their sign.
#[derive(Clone, Copy, Default)]
struct Run {
    length: u32,
    positive: bool,
}

/// A passage with clipping, in seconds.
struct Passage {
    first: f64,
    last: f64,
    samples: u64,
}

impl Levels {
    /// Prepares for a format.
    pub(super) fn new(format: &Format) -> Self {
        let rate = u64::from(format.sample_rate.max(1));
        // The highest positive sample with this number of bits. Decoders of lossy codecs give at least 16 bits.
        let bits = format.bits_per_sample.unwrap_or(16).clamp(8, 16);
        Self {
            channels: format.channels.max(1) as usize,
            rate: rate as f64,
            window: (rate * WINDOW_MS / 1000).max(1),
            full_scale: 1.0 - 1.0 / (1_u32 << (bits - 1)) as f32,
            before: 0.0,
            frames: 0,
            filled: 0,
            squares: 0.0,
            silent_seconds: 0.0,
            silent_since: None,
            runs: vec![Run::default(); format.channels.max(1) as usize],
            passage: None,
            clipped: 0,
        }
    }

    /// Continues in another format.
    pub(super) fn switch(&mut self, format: &Format, events: &mut Vec<Event>) {
        if self.filled > 0 {
            self.end_window(events);
        }
        let next = Self::new(format);
        *self = Self {
            before: self.seconds(self.frames),
            silent_seconds: self.silent_seconds,
            silent_since: self.silent_since,
            passage: self.passage.take(),
            clipped: self.clipped,
            ..next
        };
    }

    /// Measures interleaved samples; silences and passages that have ended are added to `events`.
    pub(super) fn add(&mut self, samples: &[f32], events: &mut Vec<Event>) {
        for frame in samples.chunks_exact(self.channels) {
            let mut squares = 0.0;
            for (channel, sample) in frame.iter().enumerate() {
                squares += sample * sample;
                self.clipping(channel, *sample);
            }
            self.frames += 1;
            self.filled += 1;
            self.squares += f64::from(squares);
            if self.filled == self.window {
                self.end_window(events);
            }
        }
    }

    /// Ends open silences and passages at the end of the file.
    pub(super) fn finish(&mut self, summary: &mut Summary, events: &mut Vec<Event>) {
        if self.filled > 0 {
            self.end_window(events);
        }
        self.end_silence(self.seconds(self.frames), events);
        self.end_passage(events);
        summary.silence_seconds = self.silent_seconds;
        summary.clipped_samples = self.clipped;
    }

    fn end_window(&mut self, events: &mut Vec<Event>) {
        let mean = self.squares / (self.filled as f64 * self.channels as f64);
        let start = self.seconds(self.frames - self.filled);
        if 10.0 * mean.log10() < SILENCE_DBFS {
            self.silent_seconds += self.filled as f64 / self.rate;
            self.silent_since.get_or_insert(start);
        } else {
            self.end_silence(start, events);
        }
        if self.passage.as_ref().is_some_and(|passage| start - passage.last > SAME_PASSAGE) {
            self.end_passage(events);
        }
        self.filled = 0;
        self.squares = 0.0;
    }

    fn end_silence(&mut self, end: f64, events: &mut Vec<Event>) {
        let Some(start) = self.silent_since.take() else { return };
        let span = TimeRange { start, end };
        if span.seconds() >= LONG_SILENCE {
            events.push(Event::Silence(span));
        }
    }

    fn clipping(&mut self, channel: usize, sample: f32) {
        let Some(run) = self.runs.get_mut(channel) else { return };
        if sample.abs() < self.full_scale {
            run.length = 0;
            return;
        }
        let positive = sample > 0.0;
        run.length = if run.positive == positive { run.length.saturating_add(1) } else { 1 };
        run.positive = positive;
        // When the run is long enough, its first samples count, too.
        let new = match run.length.cmp(&CLIPPED_RUN) {
            std::cmp::Ordering::Less => return,
            std::cmp::Ordering::Equal => u64::from(CLIPPED_RUN),
            std::cmp::Ordering::Greater => 1,
        };
        self.clipped += new;
        let first = self.seconds((self.frames + 1).saturating_sub(u64::from(CLIPPED_RUN)));
        let last = self.seconds(self.frames + 1);
        let passage = self.passage.get_or_insert(Passage { first, last, samples: 0 });
        passage.last = last;
        passage.samples += new;
    }

    fn end_passage(&mut self, events: &mut Vec<Event>) {
        let Some(Passage { first, last, samples }) = self.passage.take() else { return };
        let span = TimeRange { start: first, end: last };
        events.push(Event::Clipping { span, samples });
    }

    fn seconds(&self, frames: u64) -> f64 {
        self.before + frames as f64 / self.rate
    }
}
