//! All meters of one file. Each packet is passed to every meter, and the events of the meters are collected.

use super::levels::Levels;
use super::loudness::Loudness;
use super::report::Event;
use super::speech::Speech;
use super::{Format, InspectError, Summary};

/// The meters of one file.
pub(super) struct Meters {
    loudness: Loudness,
    levels: Levels,
    speech: Speech,
    events: Vec<Event>,
    summary: Summary,
    /// Rate and channels of the current format.
    format: (u32, u32),
    /// Seconds and samples of earlier formats.
    seconds_before: f64,
    samples_before: u64,
    /// Samples of the current format, over all channels.
    samples: u64,
}

impl Meters {
    /// Creates the meters for the format of the first packet.
    pub(super) fn new(format: &Format) -> Result<Self, InspectError> {
        Ok(Self {
            loudness: Loudness::new(format)?,
            levels: Levels::new(format),
            speech: Speech::new(format)?,
            events: Vec::new(),
            summary: Summary::default(),
            format: (format.sample_rate, format.channels),
            seconds_before: 0.0,
            samples_before: 0,
            samples: 0,
        })
    }

    /// Continues with sound of this format. Returns true if the format has changed.
    pub(super) fn switch(&mut self, format: &Format) -> Result<bool, InspectError> {
        if self.format == (format.sample_rate, format.channels) {
            return Ok(false);
        }
        let seconds = self.seconds();
        self.loudness.switch(format)?;
        self.levels.switch(format, &mut self.events);
        self.speech.switch(format, seconds, &mut self.events)?;
        self.seconds_before = seconds;
        self.samples_before += std::mem::take(&mut self.samples);
        self.format = (format.sample_rate, format.channels);
        Ok(true)
    }

    /// Returns how many seconds were measured.
    pub(super) fn seconds(&self) -> f64 {
        let (rate, channels) = self.format;
        self.seconds_before + self.samples as f64 / (f64::from(rate) * f64::from(channels))
    }

    /// Returns how many samples were measured, over all channels.
    pub(super) fn samples(&self) -> u64 {
        self.samples_before + self.samples
    }

    /// Measures interleaved samples.
    pub(super) fn add(&mut self, samples: &[f32]) -> Result<(), InspectError> {
        self.samples += samples.len() as u64;
        self.loudness.add(samples)?;
        self.levels.add(samples, &mut self.events);
        self.speech.add(samples, &mut self.events)
    }

    /// Returns the events since the last call, by their start.
    pub(super) fn take_events(&mut self) -> Vec<Event> {
        let mut events = std::mem::take(&mut self.events);
        events.sort_by(|a, b| a.span().start.total_cmp(&b.span().start));
        for event in &events {
            match event {
                Event::Speech(span) => {
                    self.summary.speech_segments += 1;
                    self.summary.speech_seconds += span.seconds();
                }
                Event::Silence(_) => self.summary.long_silences += 1,
                Event::Clipping { .. } => self.summary.clipping_passages += 1,
            }
        }
        events
    }

    /// Ends the measurement, and returns the open events and the numbers.
    pub(super) fn finish(mut self) -> Result<(Vec<Event>, Summary), InspectError> {
        let seconds = self.seconds();
        self.speech.finish(seconds, &mut self.events)?;
        self.levels.finish(&mut self.summary, &mut self.events);
        self.loudness.finish(seconds, &mut self.summary);
        self.summary.audio_seconds = seconds;
        Ok((self.take_events(), self.summary))
    }
}
