//! Finds speech. It mixes the channels to one, resamples the sound to 16 kHz, and joins the scores of a small voice
//! activity detector, one for every 16 milliseconds, to segments. It recognises no words, speakers or languages.

use earshot::Detector;
use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Indexing, Resampler};

use super::report::{Event, TimeRange};
use super::{Format, InspectError};

/// The rate, and the length of a frame, that the detector needs.
const RATE: u32 = 16_000;
const FRAME: usize = 256;
const FRAME_SECONDS: f64 = FRAME as f64 / RATE as f64;
/// The score at which a segment starts, as the detector's authors recommend.
const START: f32 = 0.5;
/// The score above which a segment continues. It is lower, so that a weak syllable does not split a segment.
const STAY: f32 = 0.35;
/// The root mean square, as a part of full scale (-60 dBFS), below which a frame is not speech, whatever its score.
/// This is needed because the detector uses the spectrum, and noise in the last bit can have the spectrum of speech.
const QUIET: f32 = 0.001;
/// The shortest pause that ends a segment, in frames (0.3 s). The pause does not belong to the segment.
const PAUSE: u64 = 19;
/// The shortest segment, in frames (0.16 s). A shorter one counts as noise.
const SHORTEST: u64 = 10;
/// Frames at the file's rate in one input chunk of the resampler.
const CHUNK: usize = 1024;

/// Finds the speech in one file.
pub(super) struct Speech {
    channels: usize,
    /// The mixed-down sound at the file's rate; less than a chunk after each call.
    mixed: Vec<f32>,
    resampler: Option<Resampling>,
    /// The sound at 16 kHz; less than a frame after each call.
    ready: Vec<f32>,
    detector: Box<Detector>,
    frames: u64,
    open: Option<Open>,
}

/// A segment that may continue: its first frame, and its last frame with speech.
struct Open {
    first: u64,
    last: u64,
}

struct Resampling {
    fft: Fft<f32>,
    out: Vec<f32>,
    /// Output frames to drop: the delay of the filter.
    delay: usize,
}

impl Resampling {
    fn new(format: &Format) -> Result<Option<Self>, InspectError> {
        if format.sample_rate == RATE {
            return Ok(None);
        }
        let fft = Fft::new(format.sample_rate as usize, RATE as usize, CHUNK, 1, FixedSync::Input)
            .map_err(|error| InspectError::Meter(error.to_string()))?;
        Ok(Some(Self { out: vec![0.0; fft.output_frames_max()], delay: fft.output_delay(), fft }))
    }
}

impl Speech {
    /// Prepares for a format.
    pub(super) fn new(format: &Format) -> Result<Self, InspectError> {
        let resampler = Resampling::new(format)?;
        Ok(Self {
            channels: format.channels.max(1) as usize,
            mixed: Vec::with_capacity(2 * CHUNK),
            resampler,
            ready: Vec::with_capacity(2 * CHUNK),
            detector: Box::default(),
            frames: 0,
            open: None,
        })
    }

    /// Continues in another format, `seconds` after the start.
    pub(super) fn switch(
        &mut self,
        format: &Format,
        seconds: f64,
        events: &mut Vec<Event>,
    ) -> Result<(), InspectError> {
        self.resample(true)?;
        // The silence with which the resampler was filled does not count.
        let scored = self.frames * FRAME as u64;
        let whole = ((seconds * f64::from(RATE)).round() as u64).saturating_sub(scored);
        self.ready.resize(usize::try_from(whole).unwrap_or(0).min(self.ready.len()), 0.0);
        self.detect(events);
        self.mixed.clear();
        self.channels = format.channels.max(1) as usize;
        self.resampler = Resampling::new(format)?;
        Ok(())
    }

    /// Examines interleaved samples; segments that have ended are added to `events`.
    pub(super) fn add(&mut self, samples: &[f32], events: &mut Vec<Event>) -> Result<(), InspectError> {
        let share = 1.0 / self.channels as f32;
        self.mixed.extend(samples.chunks_exact(self.channels).map(|frame| frame.iter().sum::<f32>() * share));
        self.resample(false)?;
        self.detect(events);
        Ok(())
    }

    /// Examines the rest. `seconds` is the length of the file, which no segment may exceed.
    pub(super) fn finish(&mut self, seconds: f64, events: &mut Vec<Event>) -> Result<(), InspectError> {
        self.resample(true)?;
        self.ready.resize(self.ready.len().next_multiple_of(FRAME), 0.0);
        self.detect(events);
        self.close(events);
        for event in events {
            if let Event::Speech(span) = event {
                span.end = span.end.min(seconds);
            }
        }
        Ok(())
    }

    /// Resamples complete chunks of `mixed` to `ready`. At the end it also resamples the rest, filled up with silence.
    fn resample(&mut self, all: bool) -> Result<(), InspectError> {
        let Some(Resampling { fft, out, delay }) = &mut self.resampler else {
            self.ready.append(&mut self.mixed);
            return Ok(());
        };
        let broken = |error: &dyn std::fmt::Display| InspectError::Meter(error.to_string());
        if all {
            // Silence follows the last sample: as much as the delay of the filter.
            let held = *delay as u64 * fft.input_frames_max() as u64 / out.len().max(1) as u64;
            let whole = self.mixed.len() + held as usize + fft.input_frames_max();
            self.mixed.resize(whole.next_multiple_of(CHUNK), 0.0);
        }
        let mut used = 0;
        loop {
            let wanted = fft.input_frames_next();
            let Some(input) = self.mixed.get(used..used + wanted) else { break };
            let input = InterleavedSlice::new(input, 1, wanted).map_err(|error| broken(&error))?;
            let room = out.len();
            let mut output = InterleavedSlice::new_mut(out, 1, room).map_err(|error| broken(&error))?;
            let (taken, made) = fft
                .process_into_buffer(&input, &mut output, None::<&Indexing>)
                .map_err(|error| broken(&error))?;
            used += taken;
            let dropped = (*delay).min(made);
            *delay -= dropped;
            self.ready.extend_from_slice(out.get(dropped..made).unwrap_or_default());
            if taken == 0 {
                break;
            }
        }
        self.mixed.drain(..used.min(self.mixed.len()));
        Ok(())
    }

    /// Scores the complete frames in `ready`.
    fn detect(&mut self, events: &mut Vec<Event>) {
        let ready = std::mem::take(&mut self.ready);
        let (frames, rest) = ready.as_chunks::<FRAME>();
        for frame in frames {
            // The detector needs samples within full scale; floats and filters may exceed it.
            let frame = frame.map(|sample| sample.clamp(-1.0, 1.0));
            let score = self.detector.predict_f32(&frame);
            let power = frame.iter().map(|sample| sample * sample).sum::<f32>() / FRAME as f32;
            let score = if power < QUIET * QUIET { 0.0 } else { score };
            self.add_score(score, events);
        }
        self.ready = rest.to_vec();
    }

    fn add_score(&mut self, score: f32, events: &mut Vec<Event>) {
        let now = self.frames;
        self.frames += 1;
        match &mut self.open {
            Some(open) if score >= STAY => open.last = now,
            Some(open) if now - open.last >= PAUSE => self.close(events),
            Some(_) => {}
            None if score >= START => self.open = Some(Open { first: now, last: now }),
            None => {}
        }
    }

    fn close(&mut self, events: &mut Vec<Event>) {
        let Some(Open { first, last }) = self.open.take() else { return };
        if last + 1 - first >= SHORTEST {
            let span =
                TimeRange { start: first as f64 * FRAME_SECONDS, end: (last + 1) as f64 * FRAME_SECONDS };
            events.push(Event::Speech(span));
        }
    }
}
