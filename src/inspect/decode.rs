//! From bytes to samples: finds the track of sound, decodes its packets one after the other to interleaved
//! floats, skips and counts what is damaged. It measures nothing and words nothing but why a file cannot be
//! decoded.

use std::io::{self, Read, SeekFrom};

use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, Track};
use symphonia::core::io::{MediaSource, MediaSourceStream};
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;
use symphonia::core::units::Duration;

use crate::audio::library::guarded;
use crate::audio::wave::{PlainWave, is_wave};

use super::names;
use super::opus;
use super::source::{Watch, Watched};
use super::track::{Chosen, Decoder, choose};
use super::{Format, InspectError, Summary};

/// Sampling rates that are measured, in Hz.
const RATES: std::ops::RangeInclusive<u32> = 2_000..=384_000;
/// The most channels that are measured.
const CHANNELS: usize = 32;

/// A file that is being decoded.
pub(super) struct Decoding {
    reader: Box<dyn FormatReader>,
    watch: Watch,
    track: u32,
    decoder: Decoder,
    format: Format,
    samples: Vec<f32>,
    /// Frames still to drop from the start, for Opus: the other decoders drop theirs.
    pre_skip: usize,
    frames: u64,
    skipped: u64,
    /// Whether rate and channels come from a decoded packet.
    settled: bool,
    ends_early: bool,
    fraction: Option<f32>,
    /// Length of the track in its own units of time.
    length: Option<u64>,
    /// Whether the demuxer only guesses the length.
    guessed: bool,
}

impl Decoding {
    /// Reads the headers up to the first packet.
    pub(super) fn open(mut source: Box<dyn MediaSource>) -> Result<Self, InspectError> {
        let bytes = source.byte_len();
        if source.is_seekable()
            && let Some(error) = names::hopeless(source.as_mut()).map_err(InspectError::Source)?
        {
            return Err(error);
        }
        let source = if source.is_seekable() { plain(source).map_err(InspectError::Source)? } else { source };
        let (source, watch) = Watched::new(source);
        let stream = MediaSourceStream::new(Box::new(source), Default::default());
        let probed = guarded(|| {
            symphonia::default::get_probe().probe(
                &Hint::new(),
                stream,
                FormatOptions::default(),
                MetadataOptions::default(),
            )
        });
        if let Some(error) = watch.failure() {
            return Err(InspectError::Source(error));
        }
        let reader = match probed {
            Some(Ok(reader)) => reader,
            Some(Err(error)) => return Err(names::unreadable(&error)),
            None => return Err(names::unreadable(&Error::DecodeError("damaged header"))),
        };
        let container = names::container(reader.format_info());
        let Some(chosen) = choose(reader.as_ref()) else {
            return Err(names::no_decoder(reader.as_ref(), container));
        };
        let Chosen { track, params, decoder, pre_skip, guessed } = chosen;
        let format = Format {
            container,
            codec: names::codec(params.codec).unwrap_or("unknown"),
            sample_rate: params.sample_rate.unwrap_or(0),
            channels: params.channels.as_ref().map_or(0, |channels| channels.count() as u32),
            bits_per_sample: params.bits_per_sample.filter(|_| names::has_bits(params.codec)),
            bytes,
            stated_seconds: stated_seconds(&track, pre_skip).filter(|seconds| *seconds > 0.0 && !guessed),
        };
        Ok(Self {
            reader,
            watch,
            track: track.id,
            decoder,
            format,
            samples: Vec::new(),
            pre_skip,
            frames: 0,
            skipped: 0,
            settled: false,
            ends_early: false,
            fraction: None,
            length: track.duration.map(|length| length.get()).filter(|length| *length > 0 && !guessed),
            guessed,
        })
    }

    /// What the file is, so far as known.
    pub(super) fn format(&self) -> &Format {
        &self.format
    }

    /// The samples of the packet that the last call of [`Self::advance`] decoded, interleaved and finite.
    pub(super) fn samples(&self) -> &[f32] {
        &self.samples
    }

    /// How much of the file has been read, from 0 to 1, if anything tells.
    pub(super) fn fraction(&self) -> Option<f32> {
        self.fraction
    }

    /// Decodes up to the next packet with samples; `false` at the end.
    pub(super) fn advance(&mut self) -> Result<bool, InspectError> {
        loop {
            let mut packet = match guarded(|| self.reader.next_packet()) {
                Some(Ok(Some(packet))) => packet,
                Some(Ok(None)) => break,
                // Another stream follows in the same file, as in a recording of a radio.
                Some(Err(Error::ResetRequired)) if self.choose_again() => continue,
                _ => {
                    self.ends_early = true;
                    break;
                }
            };
            if packet.track_id != self.track {
                continue;
            }
            if self.guessed {
                // Do not let the demuxer cut off what is there beyond the end that it guessed.
                packet.trim_end = Duration::ZERO;
            }
            let Some((rate, channels)) = self.decode(&packet) else {
                self.skipped += 1;
                continue;
            };
            if self.samples.is_empty() {
                continue;
            }
            if !self.settled {
                self.settle(rate, channels)?;
            } else if (rate, channels as u32) != (self.format.sample_rate, self.format.channels) {
                self.skipped += 1;
                continue;
            }
            self.frames += (self.samples.len() / channels.max(1)) as u64;
            self.fraction = self.how_far(&packet);
            return Ok(true);
        }
        if let Some(error) = self.watch.failure() {
            return Err(InspectError::Source(error));
        }
        let promised = self.format.stated_seconds.is_some();
        if !self.settled && (self.skipped > 0 || self.ends_early || promised) {
            return Err(names::nothing_decoded(&self.format, self.skipped));
        }
        Ok(false)
    }

    /// Adds what the decoding found.
    pub(super) fn finish(self, summary: &mut Summary) {
        let seconds = self.frames as f64 / f64::from(self.format.sample_rate.max(1));
        // Some slack for containers that round.
        let missing = self.format.stated_seconds.is_some_and(|stated| seconds < stated - 0.05);
        summary.audio_seconds = seconds;
        summary.skipped_packets = self.skipped;
        summary.incomplete = self.ends_early || missing;
        summary.format = self.format;
    }

    /// Turns to the stream that begins now; `false` if it holds nothing to decode.
    fn choose_again(&mut self) -> bool {
        let Some(chosen) = choose(self.reader.as_ref()) else { return false };
        self.track = chosen.track.id;
        self.decoder = chosen.decoder;
        self.pre_skip = chosen.pre_skip;
        self.guessed = chosen.guessed;
        // Its time starts anew, so that only the position in the file tells how far it is.
        self.length = None;
        true
    }

    /// Decodes one packet to `self.samples`; `None` if it is damaged.
    fn decode(&mut self, packet: &Packet) -> Option<(u32, usize)> {
        let samples = &mut self.samples;
        let spec = match &mut self.decoder {
            Decoder::Symphonia(decoder) => {
                let decoded = guarded(|| {
                    let buffer = decoder.decode(packet).ok()?;
                    buffer.copy_to_vec_interleaved(samples);
                    Some((buffer.spec().rate(), buffer.spec().channels().count()))
                });
                if decoded.is_none() {
                    decoder.reset();
                }
                decoded??
            }
            Decoder::Opus(decoder) => {
                let channels = decoder.channels();
                guarded(|| decoder.decode(&packet.data, samples)).filter(|decoded| *decoded)?;
                let keep = samples.len() / channels - frames(packet.trim_end.get(), samples.len() / channels);
                samples.truncate(keep * channels);
                let skip = self.pre_skip.min(keep);
                self.pre_skip -= skip;
                samples.drain(..skip * channels);
                (opus::RATE, channels)
            }
        };
        // A float file may hold anything; what is no number is taken for silence.
        for sample in samples.iter_mut().filter(|sample| !sample.is_finite()) {
            *sample = 0.0;
        }
        Some(spec)
    }

    fn settle(&mut self, rate: u32, channels: usize) -> Result<(), InspectError> {
        if !RATES.contains(&rate) || !(1..=CHANNELS).contains(&channels) {
            return Err(names::beyond_measure(rate, channels));
        }
        self.settled = true;
        self.format.sample_rate = rate;
        self.format.channels = channels as u32;
        Ok(())
    }

    fn how_far(&self, packet: &Packet) -> Option<f32> {
        let (done, whole) = match (self.length, self.format.bytes) {
            (Some(length), _) => {
                let end = u64::try_from(packet.pts.get()).unwrap_or(0).saturating_add(packet.dur.get());
                (end, length)
            }
            (None, Some(bytes)) => (self.watch.position(), bytes),
            (None, None) => return None,
        };
        (whole > 0).then(|| (done as f64 / whole as f64).min(1.0) as f32)
    }
}

/// The source as the demuxers can read it: some forms of WAVE they cannot.
fn plain(mut source: Box<dyn MediaSource>) -> io::Result<Box<dyn MediaSource>> {
    let mut head = Vec::with_capacity(12);
    source.as_mut().take(12).read_to_end(&mut head)?;
    source.seek(SeekFrom::Start(0))?;
    Ok(if is_wave(&head) { Box::new(PlainWave::new(source)?) } else { source })
}

/// The duration that the container states, if any.
fn stated_seconds(track: &Track, pre_skip: usize) -> Option<f64> {
    // What Ogg counts for Opus includes what is dropped from the start.
    let length = track.duration?.saturating_sub((pre_skip as u64).into());
    track.time_base?.calc_duration(length).map(|time| time.as_secs_f64())
}

/// A count of frames from a header, within what there is.
fn frames(count: u64, available: usize) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX).min(available)
}
