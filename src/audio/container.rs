//! What the bytes are: recognises an audio container from its content, in a few bounded reads, and whether there is any
//! sound in it. It does not know the name or the type that a client declared, does not decode, and does not vouch
//! that the rest of a file is whole.

mod chunks;
mod foreign;
mod frames;
mod mp4;
mod ogg;

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::library::Source;
use super::no_audio::NoAudio;
use super::wave::is_wave;

/// The audio containers that hearken accepts: those that the Gemini API documents, with `audio/m4a` for
/// MPEG-4 files that hold sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Container {
    /// RIFF WAVE, with its 64-bit forms RF64 and BW64.
    Wav,
    /// MPEG audio frames, usually layer III, with or without ID3 tags.
    Mp3,
    /// AIFF and AIFF-C.
    Aiff,
    /// AAC in ADTS frames.
    Aac,
    /// Ogg with sound in it: Vorbis, Opus, FLAC, Speex.
    Ogg,
    /// Native FLAC.
    Flac,
    /// MPEG-4 (ISO base media) with sound.
    M4a,
}

impl Container {
    /// Every container, in the order in which the Gemini API lists them.
    #[must_use]
    pub fn all() -> &'static [Self] {
        &[Self::Wav, Self::Mp3, Self::Aiff, Self::Aac, Self::Ogg, Self::Flac, Self::M4a]
    }

    /// The media type, as the Gemini API spells it.
    #[must_use]
    pub fn mime(self) -> &'static str {
        match self {
            Self::Wav => "audio/wav",
            Self::Mp3 => "audio/mp3",
            Self::Aiff => "audio/aiff",
            Self::Aac => "audio/aac",
            Self::Ogg => "audio/ogg",
            Self::Flac => "audio/flac",
            Self::M4a => "audio/m4a",
        }
    }

    /// The media type in its registered spelling, for those who are not Gemini.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Mp3 => "audio/mpeg",
            Self::M4a => "audio/mp4",
            Self::Wav | Self::Aiff | Self::Aac | Self::Ogg | Self::Flac => self.mime(),
        }
    }

    /// The short name in lower case: the part of the media type after the slash.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Wav => "wav",
            Self::Mp3 => "mp3",
            Self::Aiff => "aiff",
            Self::Aac => "aac",
            Self::Ogg => "ogg",
            Self::Flac => "flac",
            Self::M4a => "m4a",
        }
    }
}

impl fmt::Display for Container {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// How many bytes the signatures look at.
const HEAD: usize = 16;
/// Length of an ID3v2 header (ID3v2.4, section 3.1), and of the footer that flag 4 announces.
const ID3_HEADER: u64 = 10;
/// Tags in front of the audio that are skipped: more than one is already unusual.
const ID3_TAGS: usize = 4;

/// Recognises what `source` holds from its bytes alone, and leaves it at the start.
///
/// A strong signature (RIFF/WAVE, FORM/AIFF, OggS, fLaC, ftyp) decides even if the rest is cut off or in a codec that
/// is not known here, as long as there is one sample, frame or packet of sound behind the headers: a model invents
/// speech from a file without any. A frame sync of MPEG audio or ADTS, which is a dozen bits, has to be followed by others
/// where its length says. They may begin a little later, if what stands before is nothing that is known.
///
/// # Errors
///
/// Only what the source itself reports.
pub fn recognise(source: &mut impl Source) -> io::Result<Result<Container, NoAudio>> {
    let found = judge(source);
    source.seek(SeekFrom::Start(0))?;
    found
}

fn judge(source: &mut impl Source) -> io::Result<Result<Container, NoAudio>> {
    let tags = tags(source)?;
    let start = tags.end;
    let end = source.seek(SeekFrom::End(0))?;
    let head = read_at::<{ foreign::HEAD }>(source, start)?;
    let head = head.bytes();
    match head {
        head if is_wave(head) => return chunks::wave(source, start),
        [b'F', b'O', b'R', b'M', _, _, _, _, b'A', b'I', b'F', b'F' | b'C', ..] => {
            return chunks::aiff(source, start);
        }
        [b'f', b'L', b'a', b'C', ..] => return chunks::flac(source, start),
        [b'O', b'g', b'g', b'S', ..] => return ogg::at(source, start, end),
        _ => {}
    }
    if let Some(verdict) = mp4::at(source, start, end)? {
        return Ok(verdict);
    }
    if let Some(verdict) = frames::at(source, start, end)? {
        return Ok(verdict);
    }
    // What is known to be something else is not searched: frames of sound may be packed in it.
    if let Some(foreign) = foreign::name(head) {
        return Ok(Err(NoAudio::Foreign(foreign)));
    }
    if let Some(container) = frames::search(source, start)? {
        return Ok(Ok(container));
    }
    Ok(Err(match tags.count {
        0 if end == 0 => NoAudio::Empty,
        0 => NoAudio::Unknown,
        // Whatever puts tags in front of a file makes MP3s.
        _ => NoAudio::Soundless(Container::Mp3),
    }))
}

/// The ID3v2 tags in front of a file.
pub(super) struct Tags {
    /// How many there are.
    pub(super) count: usize,
    /// Where they end.
    pub(super) end: u64,
}

/// Finds the tags in front, without reading what is in them.
pub(super) fn tags(source: &mut impl Source) -> io::Result<Tags> {
    let mut tags = Tags { count: 0, end: 0 };
    while tags.count < ID3_TAGS
        && let Some(size) = id3_size(read_at::<HEAD>(source, tags.end)?.bytes())
    {
        tags.end = tags.end.saturating_add(size);
        tags.count += 1;
    }
    Ok(tags)
}

/// The whole size of the ID3v2 tag that starts here, or `None` if none does. A header that is cut off
/// counts if what is there of it is valid: text that merely begins with these letters is not.
pub(super) fn id3_size(head: &[u8]) -> Option<u64> {
    let rest = head.strip_prefix(b"ID3")?;
    let version = rest.first().is_none_or(|major| (2..=4).contains(major));
    let revision = rest.get(1).is_none_or(|revision| *revision != 0xff);
    let size = rest.get(3..7.min(rest.len())).unwrap_or_default();
    if !version || !revision || size.iter().any(|byte| *byte >= 0x80) {
        return None;
    }
    // Seven bits a byte, so that no size can look like a frame sync.
    let body = size.iter().fold(0_u64, |sum, byte| (sum << 7) | u64::from(*byte));
    let footer = if rest.get(2).is_some_and(|flags| flags & 0x10 != 0) { ID3_HEADER } else { 0 };
    Some(ID3_HEADER + body + footer)
}

/// Up to `N` bytes as read: fewer at the end of the data.
pub(super) struct Piece<const N: usize> {
    buffer: [u8; N],
    filled: usize,
}

impl<const N: usize> Piece<N> {
    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.filled).unwrap_or_default()
    }
}

/// Reads up to `N` bytes from `offset`, fewer only if the data ends.
pub(super) fn read_at<const N: usize>(reader: &mut (impl Read + Seek), offset: u64) -> io::Result<Piece<N>> {
    let mut piece = Piece { buffer: [0; N], filled: 0 };
    reader.seek(SeekFrom::Start(offset))?;
    while let Some(rest) = piece.buffer.get_mut(piece.filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(count) => piece.filled += count.min(rest.len()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(piece)
}

/// Reads up to `most` bytes from `offset`, fewer only if the data ends.
fn read_stretch(source: &mut impl Source, offset: u64, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.seek(SeekFrom::Start(offset))?;
    source.by_ref().take(most as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
