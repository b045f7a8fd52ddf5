//! All that is measured along one file, together: hands each packet to every meter and collects what they
//! note. It knows nothing of decoding and of words.

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
    samples: u64,
    /// Samples a second, over all channels.
    pace: f64,
}

impl Meters {
    /// Builds the meters for the format of the first packet.
    pub(super) fn new(format: &Format) -> Result<Self, InspectError> {
        Ok(Self {
            loudness: Loudness::new(format)?,
            levels: Levels::new(format),
            speech: Speech::new(format)?,
            events: Vec::new(),
            summary: Summary::default(),
            samples: 0,
            pace: f64::from(format.sample_rate) * f64::from(format.channels),
        })
    }

    /// Measures interleaved samples.
    pub(super) fn add(&mut self, samples: &[f32]) -> Result<(), InspectError> {
        self.samples += samples.len() as u64;
        self.loudness.add(samples)?;
        self.levels.add(samples, &mut self.events);
        self.speech.add(samples, &mut self.events)
    }

    /// What was noted since the last call, by its start.
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

    /// Ends the measurement: what was still open, and the numbers.
    pub(super) fn finish(mut self) -> Result<(Vec<Event>, Summary), InspectError> {
        let seconds = self.samples as f64 / self.pace;
        self.speech.finish(seconds, &mut self.events)?;
        self.levels.finish(&mut self.summary, &mut self.events);
        self.loudness.finish(seconds, &mut self.summary);
        Ok((self.take_events(), self.summary))
    }
}
