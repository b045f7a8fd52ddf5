//! Finds impossible times. A track states how many time units make a second, and how many units each of its samples
//! lasts. A codec also determines how long a sample lasts. If the two contradict each other, the codec is right,
//! because it decides the playback.

use std::io::{self, Read, Seek};
use std::ops::Range;

use super::{VISITS, Walk, four};
use crate::audio::reading::{read_at, read_stretch};

/// The number of bytes of the description of samples that are read.
const DESCRIPTION: u64 = 512;
/// The number of entries of the table of times that are read.
const ENTRIES: u64 = 4096;
/// Percent by which the time of a sample may differ from that of the codec.
const SLACK: u128 = 10;
/// The factor by which a track may last longer or shorter than its samples: recorders pause.
const PAUSES: u128 = 4;
/// Plausible sampling rates.
const RANGE: std::ops::RangeInclusive<u32> = 2_000..=384_000;
/// The time units in a second that are shown if a file states none.
const SCALE: u32 = 1000;

/// How long a sample lasts according to its codec. A sample here is the unit that a decoder takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SampleDuration {
    /// The number of sound samples in each channel.
    pub(crate) length: u32,
    pub(crate) rate: u32,
}

/// The offset at which the number of time units in a second is written, and that number.
type Scale = (u64, u32);

/// The statements of a track about its times, and their offsets.
#[derive(Default)]
struct Track {
    id: u32,
    is_sound: bool,
    scale: Option<Scale>,
    /// The place of the table of times, behind its version.
    times: Option<Range<u64>>,
    /// The number of samples, and the place of the first one.
    samples: u32,
    first: Option<u64>,
    /// The description of the samples.
    description: Vec<u8>,
}

/// Returns where a movie states impossible times for its tracks of sound, and the bytes to show there.
pub(crate) fn corrections(
    source: &mut (impl Read + Seek),
    movie: Range<u64>,
) -> io::Result<Vec<(u64, Vec<u8>)>> {
    let mut corrections = Vec::new();
    let (tracks, movie_scale) = tracks(source, movie)?;
    if let Some((at, 0)) = movie_scale {
        corrections.push((at, SCALE.to_be_bytes().to_vec()));
    }
    for track in tracks {
        let Some((at, scale)) = track.scale else { continue };
        let sample_duration = if track.is_sound { sample_duration(source, &track)? } else { None };
        let table = match &track.times {
            Some(range) => Table::read(source, range.clone())?,
            None => Table::default(),
        };
        let Some(sample_duration) = sample_duration else {
            if scale == 0 {
                corrections.push((at, SCALE.to_be_bytes().to_vec()));
            }
            continue;
        };
        // A movie in fragments has an empty table here.
        let is_wrong = if table.samples == 0 {
            scale == 0
        } else {
            table.is_wrong(scale, sample_duration, track.samples)
        };
        if !is_wrong {
            continue;
        }
        corrections.push((at, sample_duration.rate.to_be_bytes().to_vec()));
        if let Some(range) = track.times.filter(|_| table.samples > 0) {
            let entry = [1, track.samples, sample_duration.length].map(u32::to_be_bytes).concat();
            corrections.push((range.start, entry));
        }
    }
    Ok(corrections)
}

/// How long the samples of each sound track of a movie last, by the numbers of the tracks. Tracks whose codec does not
/// fix this are left out.
#[derive(Debug, Default)]
pub(crate) struct SampleDurations(Vec<(u32, SampleDuration)>);

impl SampleDurations {
    /// Reads how long the samples of the tracks of this movie last.
    pub(crate) fn read(source: &mut (impl Read + Seek), movie: Range<u64>) -> io::Result<Self> {
        let mut paces = Vec::new();
        for track in tracks(source, movie)?.0.iter().filter(|track| track.is_sound) {
            paces.extend(sample_duration(source, track)?.map(|sample_duration| (track.id, sample_duration)));
        }
        Ok(Self(paces))
    }

    /// Returns the seconds that `samples` samples of this track last, unless they are close to the stated seconds.
    pub(crate) fn contradict(&self, track: u32, samples: u64, stated: f64) -> Option<f64> {
        let (_, sample_duration) = self.0.iter().find(|(id, _)| *id == track)?;
        let seconds = samples as f64 * f64::from(sample_duration.length) / f64::from(sample_duration.rate);
        let slack = SLACK as f64 / 100.0;
        ((seconds - stated).abs() > seconds * slack).then_some(seconds)
    }
}

/// The table of times of a track: how many samples last how long.
#[derive(Default)]
struct Table {
    /// The number of samples that the table lists, as far as it was read, and their total duration.
    samples: u64,
    units: u128,
    /// The duration of most samples.
    usual: u32,
}

impl Table {
    fn read(source: &mut (impl Read + Seek), range: Range<u64>) -> io::Result<Self> {
        let most = (4 + 8 * ENTRIES).min(range.end.saturating_sub(range.start));
        let bytes = read_stretch(source, range.start, most)?;
        let Some((count, entries)) = bytes.split_first_chunk::<4>() else { return Ok(Self::default()) };
        let count = u32::from_be_bytes(*count) as usize;
        let mut table = Self::default();
        let mut most = 0;
        for entry in entries.chunks_exact(8).take(count) {
            let (Some(samples), Some(units)) = (four(entry, 0), four(entry, 4)) else { break };
            let (samples, units) = (u32::from_be_bytes(samples), u32::from_be_bytes(units));
            table.samples += u64::from(samples);
            table.units += u128::from(samples) * u128::from(units);
            if samples > most {
                (most, table.usual) = (samples, units);
            }
        }
        Ok(table)
    }

    /// Returns true if the times contradict the codec: both the usual time of a sample and the mean, or the total by
    /// far.
    fn is_wrong(&self, scale: u32, sample_duration: SampleDuration, samples: u32) -> bool {
        // Each time is a multiple of a second divided by the scale and by the rate.
        let by_codec =
            |samples: u64| u128::from(samples) * u128::from(sample_duration.length) * u128::from(scale);
        let stated = |units: u128| units * u128::from(sample_duration.rate);
        let is_near = |stated: u128, by_codec: u128| {
            stated * 100 <= by_codec * (100 + SLACK) && stated * 100 >= by_codec * (100 - SLACK)
        };
        let (usual, mean) = (stated(self.usual.into()), stated(self.units));
        let is_off = !is_near(usual, by_codec(1)) && !is_near(mean, by_codec(self.samples));
        let all = by_codec(samples.into());
        let is_far = samples > 0 && mean > all.saturating_mul(PAUSES)
            || mean.saturating_mul(PAUSES) < by_codec(self.samples);
        scale == 0 || is_off || is_far
    }
}

/// Finds the tracks of a movie, and where it states how many of its own time units make a second.
fn tracks(source: &mut (impl Read + Seek), mut movie: Range<u64>) -> io::Result<(Vec<Track>, Option<Scale>)> {
    let (mut tracks, mut movie_scale) = (Vec::new(), None);
    let mut left = VISITS;
    let mut walk = Walk::new(source, &mut left);
    while let Some(found) = walk.next(&mut movie)? {
        match &found.kind {
            b"mvhd" => movie_scale = scale(walk.source, found.content)?,
            b"trak" => {
                let mut track = Track::default();
                describe(&mut walk, found.content, &mut track)?;
                tracks.push(track);
            }
            _ => {}
        }
    }
    Ok((tracks, movie_scale))
}

fn describe<S: Read + Seek>(
    walk: &mut Walk<'_, S>,
    mut range: Range<u64>,
    track: &mut Track,
) -> io::Result<()> {
    while let Some(found) = walk.next(&mut range)? {
        let content = found.content;
        let head = read_at::<24>(walk.source, content.start)?;
        let number = |at: usize| four(head.bytes(), at).map(u32::from_be_bytes);
        match &found.kind {
            b"mdia" | b"minf" | b"stbl" => describe(walk, content, track)?,
            b"tkhd" => {
                let at = if head.bytes().first() == Some(&1) { 20 } else { 12 };
                track.id = number(at).unwrap_or_default();
            }
            b"mdhd" => track.scale = scale(walk.source, content)?,
            b"hdlr" if four(head.bytes(), 4).as_ref() != Some(b"dhlr") => {
                track.is_sound = four(head.bytes(), 8).as_ref() == Some(b"soun");
            }
            b"stts" => track.times = Some(content.start.saturating_add(4)..content.end),
            b"stsz" | b"stz2" => track.samples = number(8).unwrap_or_default(),
            b"stco" => track.first = number(8).map(u64::from),
            b"co64" => {
                let halves = number(8).zip(number(12));
                track.first = halves.map(|(high, low)| u64::from(high) << 32 | u64::from(low));
            }
            b"stsd" => {
                let length = content.end.saturating_sub(content.start).min(DESCRIPTION);
                track.description = read_stretch(walk.source, content.start, length)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Reads how many time units make a second, and where that is written, from the header of a movie or of a track's
/// samples.
fn scale(source: &mut (impl Read + Seek), content: Range<u64>) -> io::Result<Option<Scale>> {
    let head = read_at::<24>(source, content.start)?;
    // The version decides the width of two times in front of it.
    let at = if head.bytes().first() == Some(&1) { 20 } else { 12 };
    let scale = four(head.bytes(), at).filter(|_| content.start + at as u64 + 4 <= content.end);
    Ok(scale.map(|scale| (content.start + at as u64, u32::from_be_bytes(scale))))
}

/// Returns how long the samples of a track last, if its codec fixes that.
fn sample_duration(source: &mut (impl Read + Seek), track: &Track) -> io::Result<Option<SampleDuration>> {
    // Behind version, count, and the size of the one entry.
    let entry = track.description.get(12..).unwrap_or_default();
    let (Some(codec), Some(rate)) = (four(entry, 0), entry.get(28..30).and_then(<[u8]>::first_chunk)) else {
        return Ok(None);
    };
    let rate = u32::from(u16::from_be_bytes(*rate));
    let sample_duration = match &codec {
        b"mp4a" => mpeg_4(entry, rate),
        b".mp3" => Some(SampleDuration { length: if rate >= 32_000 { 1152 } else { 576 }, rate }),
        b"ac-3" => Some(SampleDuration { length: 1536, rate }),
        // QuickTime repeats the codec's name in front of its description.
        b"alac" => entry.get(memchr::memmem::rfind(entry, b"alac").unwrap_or(0) + 4..).and_then(|cookie| {
            let number = |at: usize| four(cookie, at).map(u32::from_be_bytes);
            Some(SampleDuration { length: number(4)?, rate: number(24)? })
        }),
        b"fLaC" => behind(entry, b"dfLa").and_then(|stream| {
            // Behind the version and the head of the block: the largest block, and later the rate in 20 bits.
            let length = u16::from_be_bytes(*stream.get(10..)?.first_chunk()?);
            Some(SampleDuration { length: length.into(), rate: u32::from_be_bytes(four(stream, 18)?) >> 12 })
        }),
        b"Opus" => match track.first {
            Some(first) => opus(read_at::<2>(source, first)?.bytes()),
            None => None,
        },
        b"twos" | b"sowt" | b"raw " | b"in24" | b"in32" | b"fl32" | b"fl64" | b"ulaw" | b"alaw" => {
            Some(SampleDuration { length: 1, rate })
        }
        _ => None,
    };
    let is_possible = |sample_duration: &SampleDuration| {
        (1..=1 << 16).contains(&sample_duration.length) && RANGE.contains(&sample_duration.rate)
    };
    Ok(sample_duration.filter(is_possible))
}

/// Returns the bytes behind the head of the box of this type within the description of samples.
fn behind<'b>(entry: &'b [u8], kind: &[u8; 4]) -> Option<&'b [u8]> {
    // The first four bytes are the type of the entry itself.
    let inside = entry.get(4..)?;
    inside.get(memchr::memmem::find(inside, kind)? + 4..)
}

/// Reads the description of MPEG-4 sound (ISO/IEC 14496-1, section 7.2.6): AAC has 1024 samples at the rate of its
/// core.
fn mpeg_4(entry: &[u8], rate: u32) -> Option<SampleDuration> {
    let stream = descriptor(behind(entry, b"esds")?.get(4..)?, 3)?;
    let flags = *stream.get(2)?;
    if flags & 0xe0 != 0 {
        return None;
    }
    let decoder = descriptor(stream.get(3..)?, 4)?;
    match decoder.first()? {
        0x40 | 0x66..=0x68 => {
            let config = descriptor(decoder.get(13..)?, 5)?;
            let bits = u16::from_be_bytes(*config.first_chunk()?);
            // Five bits state the kind of AAC; the kinds for conversations have shorter frames.
            let is_common = matches!(bits >> 11, 1..=5 | 29);
            let core = RATES.get(usize::from(bits >> 7 & 15)).copied().unwrap_or(rate);
            is_common.then_some(SampleDuration { length: 1024, rate: core })
        }
        0x69 | 0x6b => Some(SampleDuration { length: if rate >= 32_000 { 1152 } else { 576 }, rate }),
        _ => None,
    }
}

/// Sampling rates of AAC by their number.
const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// Returns the content of the descriptor that these bytes begin, if it has this tag.
fn descriptor(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    let (first, mut rest) = bytes.split_first()?;
    if *first != tag {
        return None;
    }
    // The length has up to four bytes; all but the last have the highest bit set.
    for _ in 0..4 {
        let (length, behind) = rest.split_first()?;
        rest = behind;
        if length >> 7 == 0 {
            return Some(rest);
        }
    }
    None
}

/// Reads how long a packet of Opus lasts (RFC 6716, section 3.1).
fn opus(packet: &[u8]) -> Option<SampleDuration> {
    let (first, rest) = packet.split_first()?;
    // In samples of 48 kHz.
    let frame = match first >> 3 {
        mode @ 0..12 => [480, 960, 1920, 2880][usize::from(mode & 3)],
        mode @ 12..16 => [480, 960][usize::from(mode & 1)],
        mode => [120, 240, 480, 960][usize::from(mode & 3)],
    };
    let frames = match first & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(rest.first()? & 63),
    };
    Some(SampleDuration { length: frame * frames, rate: 48_000 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_of_an_opus_packet_gives_its_duration() {
        for (packet, length) in [([0x00, 0], 480), ([0x19, 0], 5760), ([0x63, 3], 1440), ([0xfc, 0], 960)] {
            assert_eq!(opus(&packet), Some(SampleDuration { length, rate: 48_000 }), "{packet:02x?}");
        }
        assert_eq!(opus(&[]), None);
    }
}
