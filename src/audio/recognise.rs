//! What the bytes are: recognises an audio container from its content, in a few bounded reads, and whether there is any
//! sound in it. It does not know the name or the type that a client declared, does not decode, and does not vouch
//! that the rest of a file is whole.

mod frames;
mod mp4;
mod ogg;
mod samples;

use std::io::{self, SeekFrom};

use super::container::Container;
use super::format::aiff::is_aiff;
use super::format::wave::is_wave;
use super::format::{self, flac, tags};
use super::no_audio::{NoAudio, foreign};
use super::reading::{Source, read_at};

/// Recognises what `source` holds from its bytes alone, and leaves it at the start.
///
/// A strong signature (RIFF/WAVE, FORM/AIFF, OggS, fLaC, ftyp) decides even if the rest is cut off or in a codec that
/// is not known here, as long as there is one sample, frame or packet of sound behind the headers: a model invents
/// speech from a file without any. A frame sync of MPEG audio or ADTS, which is a dozen bits, has to be followed by others
/// where its length says. They may begin a little later, if what stands before is nothing that is known.
///
/// # Errors
///
/// Only a failure of the source.
pub fn recognise(source: &mut impl Source) -> io::Result<Result<Container, NoAudio>> {
    let found = judge(source);
    source.seek(SeekFrom::Start(0))?;
    found
}

fn judge(source: &mut impl Source) -> io::Result<Result<Container, NoAudio>> {
    let tags = tags::in_front(source)?;
    let start = tags.end;
    let end = source.seek(SeekFrom::End(0))?;
    let head = read_at::<{ foreign::HEAD }>(source, start)?;
    let head = head.bytes();
    if is_wave(head) {
        return samples::wave(source, start);
    }
    if is_aiff(head) {
        return samples::aiff(source, start);
    }
    if head.starts_with(flac::MARK) {
        return samples::flac(source, start);
    }
    if head.starts_with(format::ogg::MARK) {
        return ogg::at(source, start, end);
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

#[cfg(test)]
mod tests;
