//! The engine of the embedded channel, which measures sound. It decodes a whole file, and reports the format, speech,
//! silence, clipping and loudness while it reads. It has no language model, transcribes nothing, and keeps no samples.
//! It does not depend on tasks, streams or clocks.

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
mod vorbis;

use std::ops::ControlFlow;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use symphonia::core::io::MediaSource;

use crate::audio::{Layout, Part, Unknown};
use crate::audio::{NoAudio, recognise};

use decode::Decoding;
use meters::Meters;
use report::Report;
use source::Watched;

/// The receiver of a report while it is made.
pub trait Listener {
    /// Receives the next piece of the report. All pieces joined are the report. `Break` means that the report has no
    /// reader any more.
    fn say(&mut self, text: String) -> ControlFlow<()>;

    /// Receives the fraction of the file that has been read, from 0 to 1. It never decreases, and there are at most
    /// about a hundred calls. `Break` means that the report has no reader any more.
    fn progress(&mut self, fraction: f32) -> ControlFlow<()>;
}

/// A flag that stops an inspection from another thread. It is checked before every packet and every read, so that the
/// work ends soon even if it has nothing to report.
#[derive(Debug, Clone, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Stops the inspection.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Returns true if the inspection was stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The most sound that is measured, whatever a file's headers state. A limit is needed because a few bytes can decode
/// to hours.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// The most time, in seconds.
    seconds: f64,
    /// The most samples, over all channels. The work depends on their number.
    samples: u64,
}

/// A day, and its samples in stereo at 48 kHz.
const BOUNDS: Bounds = Bounds { seconds: 86_400.0, samples: 86_400 * 48_000 * 2 };

/// Why there is no report, or only a part of one.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The listener or [`StopFlag`] ended the inspection, because the report has no reader any more.
    #[error("the report has no reader any more")]
    Stopped,
    /// Nothing in the file can be decoded. The text is for the submitter.
    #[error("{found}. {advice}")]
    Undecodable {
        /// The problem.
        found: String,
        /// What to do.
        advice: &'static str,
    },
    /// The source of the bytes failed. This says nothing about the audio.
    #[error("the audio could not be read: {0}")]
    Source(#[source] std::io::Error),
    /// A meter refused its input.
    #[error("the sound could not be measured: {0}")]
    Meter(String),
}

/// The format of a file: what its header states, corrected by the first decoded packet.
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
    /// Bits per sample, for codecs that have them.
    pub bits_per_sample: Option<u32>,
    /// Size of the file in bytes, if its source reports it.
    pub bytes: Option<u64>,
    /// Duration that the container states, in seconds.
    pub stated_seconds: Option<f64>,
}

/// The numbers of a report. Levels are `None` if they cannot be measured: without samples, for digital silence, or for
/// too little time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Summary {
    /// The file's format.
    pub format: Format,
    /// Duration of the decoded sound, in seconds.
    pub audio_seconds: f64,
    /// Number of speech segments.
    pub speech_segments: u64,
    /// Sum of the speech segments in seconds.
    pub speech_seconds: f64,
    /// Number of silences long enough for the report.
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
    /// Packets that could not be decoded, or had another format than the first.
    pub skipped_packets: u64,
    /// True if there is less sound than the container states, or the file cannot be read to its end.
    pub incomplete: bool,
    /// Samples that were not a number, infinite, or far beyond full scale.
    pub damaged_samples: u64,
    /// Number of places where the file is damaged or incomplete, as far as they were found.
    pub damaged_places: u64,
    /// Number of files that were joined into this one. It is 1 for most files.
    pub parts: u64,
    /// Number of joined files that could not be decoded.
    pub left_out: u64,
    /// True if the file has more sound than is measured of one file.
    pub is_bounded: bool,
    /// Number of bytes between and after the joined files that are not sound of a known kind.
    pub unknown_bytes: u64,
    /// The kind of the first of these bytes, with its article, if it was recognised.
    pub unknown: Option<&'static str>,
}

/// Number of progress steps in a file.
const STEPS: f32 = 50.0;

/// Decodes `source` from start to end and reports its content to `listener`.
///
/// Memory does not grow with the length of the file: no samples are kept, and single events beyond the report's limit
/// are only counted.
///
/// # Errors
///
/// [`InspectError::Stopped`] if `stop` or the listener ends the inspection; [`InspectError::Undecodable`] if nothing
/// can be decoded, in which case nothing was reported; [`InspectError::Source`] if the source fails.
pub fn inspect(
    source: Box<dyn MediaSource>,
    stop: &StopFlag,
    listener: &mut dyn Listener,
) -> Result<Summary, InspectError> {
    inspect_within(BOUNDS, source, stop, listener)
}

fn inspect_within(
    bounds: Bounds,
    mut source: Box<dyn MediaSource>,
    stop: &StopFlag,
    listener: &mut dyn Listener,
) -> Result<Summary, InspectError> {
    let bytes = source.byte_len().unwrap_or(0);
    let layout = find_parts(source.as_mut(), bytes, stop)?;
    let (unknown_bytes, unknown) = find_unknown(source.as_mut(), bytes, &layout, stop)?;
    let mut inspection = Inspection {
        listener,
        bounds,
        report: Report::default(),
        first: None,
        last_kind: None,
        meters: None,
        left_out: 0,
        step: 0.0,
    };
    let mut found = Summary {
        parts: layout.parts.len() as u64,
        is_bounded: layout.has_more,
        unknown_bytes,
        unknown,
        ..Summary::default()
    };
    let mut why_not = None;
    for part in &layout.parts {
        let measured = Decoding::open(source.as_mut(), part, stop, bounds.samples)
            .and_then(|decoding| inspection.measure(decoding, part, bytes, &layout, &mut found));
        match measured {
            Ok(()) => {}
            Err(error @ InspectError::Undecodable { .. }) => {
                found.left_out += 1;
                why_not.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
        if found.is_bounded && inspection.is_beyond() {
            break;
        }
    }
    match (inspection.first.is_some(), why_not) {
        (false, Some(error)) => Err(error),
        (false, None) => Err(names::unknown()),
        (true, why_not) => inspection.end(found, why_not.as_ref()),
    }
}

/// Finds the kind of the file, and the files that are joined in it.
fn find_parts(source: &mut dyn MediaSource, bytes: u64, stop: &StopFlag) -> Result<Layout, InspectError> {
    let (mut source, watch) = Watched::new(source, 0..bytes, stop);
    let container = recognise(&mut source);
    watch.check()?;
    let container = match container.map_err(InspectError::Source)? {
        // A file has a report even if it is only silence, or ends too early.
        Ok(container) | Err(NoAudio::Soundless(container)) => container,
        Err(_) => return Err(names::unknown()),
    };
    // The work can be stopped, so it needs no limit that depends on the size of the file.
    let layout = Layout::find(&mut source, container, u64::MAX);
    watch.check()?;
    layout.map_err(InspectError::Source)
}

/// Returns how many bytes belong to none of the files, and the kind of the first of them.
fn find_unknown(
    source: &mut dyn MediaSource,
    bytes: u64,
    layout: &Layout,
    stop: &StopFlag,
) -> Result<(u64, Option<&'static str>), InspectError> {
    // The rest was not searched for files, so its kind is unknown.
    if layout.has_more {
        return Ok((0, None));
    }
    let (mut whole, watch) = Watched::new(source, 0..bytes, stop);
    let found = layout.unknown(&mut whole, bytes);
    watch.check()?;
    let Some(Unknown { bytes: count, first }) = found.map_err(InspectError::Source)? else {
        return Ok((0, None));
    };
    let (mut part, watch) = Watched::new(source, first, stop);
    let what = recognise(&mut part);
    watch.check()?;
    Ok((count, what.map_err(InspectError::Source)?.err().and_then(NoAudio::name)))
}

/// The report of one file while it is made.
struct Inspection<'l> {
    listener: &'l mut dyn Listener,
    bounds: Bounds,
    report: Report,
    /// The format of the first part that could be decoded.
    first: Option<Format>,
    /// Container and codec of the last part that was measured.
    last_kind: Option<(&'static str, &'static str)>,
    /// The meters; `None` before the first sound.
    meters: Option<Meters>,
    /// Decoding work for packets that were left out, in samples.
    left_out: u64,
    step: f32,
}

impl Inspection<'_> {
    /// Measures one part from start to end.
    fn measure(
        &mut self,
        mut decoding: Decoding<'_>,
        part: &Part,
        bytes: u64,
        layout: &Layout,
        found: &mut Summary,
    ) -> Result<(), InspectError> {
        // The first packet determines rate and channels, because some containers do not state them, or state them
        // wrongly.
        let mut more = decoding.advance()?;
        if self.first.is_none() {
            let mut format = decoding.format().clone();
            if layout.parts.len() > 1 {
                format.stated_seconds = layout.duration().map(|duration| duration.as_secs_f64());
            }
            let lines = self.report.header(&format, layout.parts.len());
            self.say(lines)?;
            self.first = Some(format);
        }
        if more {
            let kind = (decoding.format().container, decoding.format().codec);
            let is_other_kind = self.last_kind.replace(kind).is_some_and(|last| last != kind);
            match &mut self.meters {
                None => self.meters = Some(Meters::new(decoding.format())?),
                Some(meters) => {
                    let at = meters.seconds();
                    if meters.switch(decoding.format())? || is_other_kind {
                        let lines = self.report.change(at, decoding.format(), is_other_kind);
                        self.say(lines)?;
                    }
                }
            }
        }
        while let (true, Some(meters)) = (more, &mut self.meters) {
            meters.add(decoding.samples())?;
            let lines = self.report.events(meters.take_events());
            self.say(lines)?;
            if self.is_beyond() {
                found.is_bounded = true;
                return Ok(());
            }
            let within =
                f64::from(decoding.fraction().unwrap_or(0.0)) * (part.range.end - part.range.start) as f64;
            self.progress((part.range.start as f64 + within) / bytes.max(1) as f64)?;
            more = decoding.advance()?;
        }
        self.left_out += decoding.left_out();
        found.is_bounded |= self.is_beyond();
        decoding.finish(found);
        Ok(())
    }

    /// Returns true if no more of this file is measured, because a bound is reached.
    fn is_beyond(&self) -> bool {
        let Bounds { seconds, samples } = self.bounds;
        let is_measured = |meters: &Meters| meters.seconds() >= seconds || meters.samples() >= samples;
        self.left_out >= samples || self.meters.as_ref().is_some_and(is_measured)
    }

    /// Ends the report.
    fn end(mut self, found: Summary, why_not: Option<&InspectError>) -> Result<Summary, InspectError> {
        let meters = self.meters.take();
        let (last, measured) = meters.map_or_else(|| Ok(Default::default()), Meters::finish)?;
        let lines = self.report.events(last);
        self.say(lines)?;
        let format = self.first.take().unwrap_or_default();
        let summary = Summary {
            format,
            skipped_packets: found.skipped_packets,
            incomplete: found.incomplete,
            damaged_samples: found.damaged_samples,
            damaged_places: found.damaged_places,
            parts: found.parts,
            left_out: found.left_out,
            is_bounded: found.is_bounded,
            unknown_bytes: found.unknown_bytes,
            unknown: found.unknown,
            ..measured
        };
        let lines = self.report.end(&summary, why_not);
        self.say(lines)?;
        if self.step < STEPS {
            stop_on_break(self.listener.progress(1.0))?;
        }
        Ok(summary)
    }

    fn say(&mut self, lines: Vec<String>) -> Result<(), InspectError> {
        lines.into_iter().try_for_each(|line| stop_on_break(self.listener.say(line)))
    }

    fn progress(&mut self, fraction: f64) -> Result<(), InspectError> {
        let now = (fraction as f32 * STEPS).floor().min(STEPS);
        if now > self.step {
            self.step = now;
            stop_on_break(self.listener.progress(now / STEPS))?;
        }
        Ok(())
    }
}

fn stop_on_break(answer: ControlFlow<()>) -> Result<(), InspectError> {
    if answer.is_break() { Err(InspectError::Stopped) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
