//! Recognises an audio container from its content in a few bounded reads, and whether it has any sound. This module
//! does not use the name or the type that a client declared, decodes nothing, and does not check that the rest of a
//! file is whole.

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

/// Recognises the container in `source` from its bytes alone, and leaves `source` at its start.
///
/// A strong signature (RIFF/WAVE, FORM/AIFF, OggS, fLaC, ftyp) decides even if the rest is cut off or in an unknown
/// codec, as long as one sample, frame or packet of sound follows the headers: a model invents speech for a file
/// without any. A frame sync of MPEG audio or ADTS has only a dozen bits, so more frames must follow, each where the
/// one before it ends. The frames may begin a little later, if unknown bytes precede them.
///
/// # Errors
///
/// Only a failure of the source.
pub fn recognise(source: &mut impl Source) -> io::Result<Result<Container, NoAudio>> {
    let found = recognised(source);
    source.seek(SeekFrom::Start(0))?;
    found
}

fn recognised(source: &mut impl Source) -> io::Result<Result<Container, NoAudio>> {
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
    // Content of another known format is not searched: it may contain frames of sound.
    if let Some(foreign) = foreign::name(head) {
        return Ok(Err(NoAudio::Foreign(foreign)));
    }
    if let Some(container) = frames::search(source, start)? {
        return Ok(Ok(container));
    }
    Ok(Err(match tags.count {
        0 if end == 0 => NoAudio::Empty,
        0 => NoAudio::Unknown,
        // A file with tags and without sound counts as an MP3, because such programs make MP3s.
        _ => NoAudio::Soundless(Container::Mp3),
    }))
}

#[cfg(test)]
mod tests;
