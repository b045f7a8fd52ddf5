//! Measures sound: the engine of the embedded channel. It decodes a whole file and tells, while it reads,
//! what is in it: format, speech, silence, clipping, loudness. It holds no model of language, transcribes
//! nothing, keeps no samples, and knows nothing of tasks, streams or time.

mod decode;
mod levels;
mod loudness;
mod meters;
mod names;
mod opus;
mod report;
mod source;
mod speech;
mod track;

use std::ops::ControlFlow;

use symphonia::core::io::MediaSource;

use decode::Decoding;
use meters::Meters;
use report::Report;

/// Who reads the report while it is made.
pub trait Listener {
    /// Takes the next piece of the report; all pieces one after the other are the report. `Break` says that
    /// nobody reads any more.
    fn say(&mut self, text: String) -> ControlFlow<()>;

    /// Takes how much of the file has been read, from 0 to 1; never goes back and comes at most about a
    /// hundred times. `Break` says that nobody reads any more.
    fn progress(&mut self, fraction: f32) -> ControlFlow<()>;
}

/// Why there is no report, or no whole one.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The listener said that nobody reads any more.
    #[error("the reader of the report has gone")]
    Stopped,
    /// Nothing in the file can be decoded. The text is for the one who sent it.
    #[error("{found}. {advice}")]
    Undecodable {
        /// What was found.
        found: String,
        /// What to do.
        advice: &'static str,
    },
    /// The source of the bytes failed, which says nothing about the audio.
    #[error("the audio could not be read: {0}")]
    Source(#[source] std::io::Error),
    /// A meter refused what it was given.
    #[error("the sound could not be measured: {0}")]
    Meter(String),
}

/// What a file says of itself, corrected by what its first decoded packet shows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Format {
    /// The container's name, as in the report.
    pub container: &'static str,
    /// The codec's name, as in the report.
    pub codec: &'static str,
    /// Sampling rate of the decoded sound in Hz.
    pub sample_rate: u32,
    /// Number of channels of the decoded sound.
    pub channels: u32,
    /// Bits a sample, for codecs that have them.
    pub bits_per_sample: Option<u32>,
    /// Size of the file in bytes, if its source knows.
    pub bytes: Option<u64>,
    /// Duration that the container states, in seconds.
    pub stated_seconds: Option<f64>,
}

/// The numbers behind a report. Levels are `None` where there is nothing to measure: no samples, digital
/// silence, too little time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Summary {
    /// What the file is.
    pub format: Format,
    /// Duration of what was decoded, in seconds.
    pub audio_seconds: f64,
    /// Number of speech segments.
    pub speech_segments: u64,
    /// Sum of the speech segments in seconds.
    pub speech_seconds: f64,
    /// Number of silences long enough to be noted.
    pub long_silences: u64,
    /// Time below the threshold of silence in seconds, short silences included.
    pub silence_seconds: f64,
    /// Number of passages with clipping.
    pub clipping_passages: u64,
    /// Number of clipped samples, over all channels.
    pub clipped_samples: u64,
    /// Highest sample in dBFS.
    pub sample_peak_dbfs: Option<f64>,
    /// Highest true peak in dBTP (ITU-R BS.1770-4, annex 2).
    pub true_peak_dbtp: Option<f64>,
    /// Integrated loudness in LUFS (EBU R 128).
    pub integrated_lufs: Option<f64>,
    /// Loudness range in LU (EBU Tech 3342).
    pub loudness_range_lu: Option<f64>,
    /// Packets that could not be decoded, or came in another format than the first.
    pub skipped_packets: u64,
    /// Whether there is less sound than the container states, or the file stops being readable.
    pub incomplete: bool,
}

/// Steps of progress that are told apart.
const STEPS: f32 = 50.0;

/// Decodes `source` from start to end and tells `listener` what is in it.
///
/// Memory does not grow with the length of the file: no samples are kept, and single events beyond the
/// report's bound are only counted.
///
/// # Errors
///
/// [`InspectError::Stopped`] if the listener says `Break`; [`InspectError::Undecodable`] if nothing can be
/// decoded, and then nothing has been said; [`InspectError::Source`] if the source fails.
pub fn inspect(source: Box<dyn MediaSource>, listener: &mut dyn Listener) -> Result<Summary, InspectError> {
    let mut decoding = Decoding::open(source)?;
    let mut report = Report::default();
    let mut step = 0.0;
    // The first packet settles rate and channels, which some containers leave open or get wrong.
    let mut more = decoding.advance()?;
    say(listener, report.header(decoding.format()))?;
    let mut meters = if more { Some(Meters::new(decoding.format())?) } else { None };
    while let (true, Some(meters)) = (more, &mut meters) {
        meters.add(decoding.samples())?;
        say(listener, report.events(meters.take_events()))?;
        let now = (decoding.fraction().unwrap_or(0.0) * STEPS).floor();
        if now > step {
            step = now;
            heed(listener.progress(now / STEPS))?;
        }
        more = decoding.advance()?;
    }
    let (last, mut summary) = meters.map_or_else(|| Ok(Default::default()), Meters::finish)?;
    say(listener, report.events(last))?;
    decoding.finish(&mut summary);
    say(listener, report.end(&summary))?;
    if step < STEPS {
        heed(listener.progress(1.0))?;
    }
    Ok(summary)
}

fn say(listener: &mut dyn Listener, lines: Vec<String>) -> Result<(), InspectError> {
    lines.into_iter().try_for_each(|line| heed(listener.say(line)))
}

fn heed(answer: ControlFlow<()>) -> Result<(), InspectError> {
    if answer.is_break() { Err(InspectError::Stopped) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
