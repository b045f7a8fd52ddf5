//! Decodes one part of a file from bytes to samples. It finds the audio track, decodes its packets one by one to
//! interleaved floats, and skips and counts damaged packets. It measures nothing, and its only texts are errors about
//! files that cannot be decoded.

use symphonia::core::errors::Error;
use symphonia::core::formats::well_known::FORMAT_ID_FLAC;
use symphonia::core::formats::{FormatReader, Track};
use symphonia::core::io::MediaSource;
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, Timestamp};

use crate::audio::Container;
use crate::audio::open;
use crate::audio::{LONGEST, Part};
use crate::panics::guarded;

use super::names;
use super::opus;
use super::source::{Watch, Watched};
use super::track::{Chosen, Decoder, choose};
use super::{Format, InspectError, StopFlag, Summary};

/// Sampling rates that are measured, in Hz.
const RATES: std::ops::RangeInclusive<u32> = 2_000..=384_000;
/// The most channels that are measured.
const CHANNELS: usize = 32;

/// The largest sample that is not damage: 100 dBFS. A limit is needed because a float can have any value.
const LOUDEST: f32 = 1e5;
/// Most samples in one packet: eight channels of FLAC.
const LARGEST_PACKET: u64 = 1 << 19;
/// The tolerance for the duration of a part, in seconds, because some containers round. If the part is longer, the stated
/// duration is assumed to be that of another file.
const SLACK: f64 = 0.1;

/// One part of a file while it is decoded.
pub(super) struct Decoding<'s> {
    reader: Box<dyn FormatReader + 's>,
    watch: Watch,
    track: u32,
    decoder: Decoder,
    format: Format,
    samples: Vec<f32>,
    /// For Opus, the frames that must still be dropped from the start. Other decoders drop such frames themselves.
    pre_skip: usize,
    frames: u64,
    skipped: u64,
    /// Decoding work for packets that were left out, in samples.
    left_out: u64,
    /// The most decoding work for packets that are left out, in samples.
    most_left_out: u64,
    /// Samples that are not numbers, or beyond the loudest.
    damaged: u64,
    /// Places where the part is damaged.
    damages: u64,
    /// True if rate and channels come from a decoded packet.
    is_fixed: bool,
    ends_early: bool,
    fraction: Option<f32>,
    /// Length of the track in its own time unit.
    length: Option<u64>,
    /// True if the demuxer cannot know where the sound ends: its length is a guess, or covers only a part of the sound.
    has_loose_end: bool,
    /// True if packets contain their time, so that a jump reveals missing ones.
    has_numbers: bool,
    /// Start of the next packet if none is missing, in the track's time unit.
    next: Option<Timestamp>,
    /// Length of the part in bytes.
    bytes: u64,
}

impl<'s> Decoding<'s> {
    /// Reads the headers of a part up to its first packet.
    pub(super) fn open(
        source: &'s mut dyn MediaSource,
        part: &Part,
        stop: &StopFlag,
        most_left_out: u64,
    ) -> Result<Self, InspectError> {
        let whole = source.byte_len();
        let (mut source, watch) = Watched::new(source, part.range.clone(), stop);
        let undecodable_codec = names::undecodable_codec(&mut source);
        watch.check()?;
        if let Ok(Some(error)) = undecodable_codec {
            return Err(error);
        }
        let bytes = part.range.end - part.range.start;
        let is_ogg = part.container == Container::Ogg;
        let opened = guarded(|| open(Box::new(source), part.container));
        watch.check()?;
        let reader = match opened {
            Some(Ok(reader)) => reader,
            Some(Err(error)) => return Err(names::unreadable(&error)),
            None => return Err(names::unreadable(&Error::DecodeError("damaged header"))),
        };
        let has_numbers = reader.format_info().format == FORMAT_ID_FLAC;
        let container = names::container(reader.format_info());
        let Some(chosen) = choose(reader.as_ref()) else {
            return Err(names::no_decoder(reader.as_ref(), container));
        };
        let Chosen { track, params, decoder, pre_skip, guessed } = chosen;
        // For Ogg, the pages state the duration.
        let promised = part.promised.map(|promised| promised.as_secs_f64());
        let stated = if is_ogg { promised } else { stated_seconds(&track, pre_skip) };
        let counted = part.duration.map(|duration| duration.as_secs_f64());
        let is_more = matches!((stated, counted), (Some(stated), Some(counted)) if counted > stated + SLACK);
        let is_impossible = stated.is_some_and(|stated| stated > LONGEST.as_secs_f64());
        let guessed = guessed || is_more || is_impossible;
        let format = Format {
            container,
            codec: names::codec(params.codec).unwrap_or("unknown"),
            sample_rate: params.sample_rate.unwrap_or(0),
            channels: params.channels.as_ref().map_or(0, |channels| channels.count() as u32),
            bits_per_sample: params.bits_per_sample.filter(|_| names::has_bits(params.codec)),
            bytes: whole,
            stated_seconds: stated.filter(|seconds| *seconds > 0.0 && !guessed),
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
            left_out: 0,
            most_left_out,
            damaged: 0,
            damages: part.damages,
            is_fixed: false,
            ends_early: part.is_cut,
            fraction: None,
            length: track
                .duration
                .map(|length| length.get())
                .filter(|length| *length > 0 && !guessed && !is_ogg),
            has_loose_end: guessed || part.has_loose_end,
            has_numbers,
            next: None,
            bytes,
        })
    }

    /// Returns the format, as far as known.
    pub(super) fn format(&self) -> &Format {
        &self.format
    }

    /// Returns the samples of the last decoded packet, interleaved and finite.
    pub(super) fn samples(&self) -> &[f32] {
        &self.samples
    }

    /// Returns how much of the part has been read, from 0 to 1, if it is known.
    pub(super) fn fraction(&self) -> Option<f32> {
        self.fraction
    }

    /// Returns the decoding work for packets that were left out, in samples.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Decodes up to the next packet with samples. Returns false at the end, and if too much was left out.
    pub(super) fn advance(&mut self) -> Result<bool, InspectError> {
        while self.left_out < self.most_left_out {
            self.watch.check()?;
            let mut packet = match guarded(|| self.reader.next_packet()) {
                Some(Ok(Some(packet))) => packet,
                Some(Ok(None)) => break,
                _ => {
                    self.ends_early = true;
                    break;
                }
            };
            if packet.track_id != self.track {
                continue;
            }
            if self.has_loose_end {
                // The demuxer must not cut off sound after the end that it has guessed.
                packet.trim_end = Duration::ZERO;
            }
            if self.has_numbers {
                self.damages += u64::from(self.next.is_some_and(|next| packet.pts > next));
                self.next = packet.pts.checked_add(packet.dur);
            }
            let Some((rate, channels)) = self.decode(&packet) else {
                self.leave_out(packet.dur.get().saturating_mul(self.format.channels.into()));
                continue;
            };
            if self.samples.is_empty() {
                continue;
            }
            if !self.is_fixed {
                self.fix_format(rate, channels)?;
            } else if (rate, channels as u32) != (self.format.sample_rate, self.format.channels) {
                self.leave_out(self.samples.len() as u64);
                continue;
            }
            self.frames += (self.samples.len() / channels.max(1)) as u64;
            self.fraction = self.fraction_read(&packet);
            return Ok(true);
        }
        self.watch.check()?;
        let promised = self.format.stated_seconds.is_some();
        if !self.is_fixed && (self.skipped > 0 || self.ends_early || promised) {
            return Err(names::nothing_decoded(&self.format, self.skipped));
        }
        Ok(false)
    }

    /// Adds the counts of the decoding to the summary.
    pub(super) fn finish(self, summary: &mut Summary) {
        let seconds = self.frames as f64 / f64::from(self.format.sample_rate.max(1));
        // The comparison is tolerant, because containers round.
        let missing = self.format.stated_seconds.is_some_and(|stated| seconds < stated - 0.05);
        summary.skipped_packets += self.skipped;
        summary.damaged_samples += self.damaged;
        summary.damaged_places += self.damages;
        summary.incomplete |= self.ends_early || missing;
    }

    /// Counts a packet that is not measured. Its decoding was as much work as that of this number of samples.
    fn leave_out(&mut self, samples: u64) {
        self.skipped += 1;
        self.left_out += samples.min(LARGEST_PACKET);
    }

    /// Decodes one packet to `self.samples`. Returns `None` if it is damaged.
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
        // A value that is not a number becomes silence, and a value that is far too large becomes full scale.
        for sample in samples.iter_mut().filter(|sample| sample.is_nan() || sample.abs() > LOUDEST) {
            *sample = if sample.is_nan() { 0.0 } else { 1.0_f32.copysign(*sample) };
            self.damaged += 1;
        }
        Some(spec)
    }

    fn fix_format(&mut self, rate: u32, channels: usize) -> Result<(), InspectError> {
        if !RATES.contains(&rate) || !(1..=CHANNELS).contains(&channels) {
            return Err(names::unmeasurable(rate, channels));
        }
        self.is_fixed = true;
        self.format.sample_rate = rate;
        self.format.channels = channels as u32;
        Ok(())
    }

    fn fraction_read(&self, packet: &Packet) -> Option<f32> {
        let (done, whole) = match self.length {
            Some(length) => {
                let end = u64::try_from(packet.pts.get()).unwrap_or(0).saturating_add(packet.dur.get());
                (end, length)
            }
            None => (self.watch.position(), self.bytes),
        };
        (whole > 0).then(|| (done as f64 / whole as f64).min(1.0) as f32)
    }
}

/// Returns the duration that the container states, if any.
fn stated_seconds(track: &Track, pre_skip: usize) -> Option<f64> {
    // The duration of Opus includes the frames that are dropped from the start.
    let length = track.duration?.saturating_sub((pre_skip as u64).into());
    track.time_base?.calc_duration(length).map(|time| time.as_secs_f64())
}

/// Returns a number of frames from a header, limited to those available.
fn frames(count: u64, available: usize) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX).min(available)
}
