//! Calls the library that parses containers, within limits. The library gets one range of a file, may read a limited
//! number of bytes, and may fail or panic on any bytes. If it would refuse a header, it gets a header from `corrected`.
//! The callers decide what to ask of the library.

mod corrected;
pub(super) mod made_header;
mod ogg_pages;
mod patched;

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use symphonia::core::errors::Result;
use symphonia::core::formats::{FormatOptions, FormatReader, Track};
use symphonia::core::io::{MediaSource, MediaSourceStream};
use symphonia::default::formats::{
    AdtsReader, AiffReader, FlacReader, IsoMp4Reader, MpaReader, OggReader, WavReader,
};

use super::container::Container;
use super::reading::{Source, Window};
use crate::panics::guarded;

/// The most bytes that one question may read: enough for the index of hours of MPEG-4 and for most pictures in front of
/// the sound, and still only milliseconds of work.
pub(super) const MOST_READ: u64 = 2 << 20;

/// Asks a question about the part of a file that has the signature of this container. The library may read at most
/// `most` bytes of it.
pub(super) fn ask_part<T>(
    source: &mut impl Source,
    range: Range<u64>,
    container: Container,
    most: u64,
    question: impl FnOnce(&mut dyn FormatReader) -> Option<T>,
) -> io::Result<Option<T>> {
    ask_range(source, range, most, |stretch| question(open(stretch, container).ok()?.as_mut()))
}

/// Asks a question about the bytes from `offset` on.
///
/// # Errors
/// Only a failure of the source.
pub(super) fn ask_bytes<T>(
    source: &mut impl Source,
    offset: u64,
    question: impl for<'s> FnOnce(Box<dyn MediaSource + 's>) -> Option<T>,
) -> io::Result<Option<T>> {
    let end = source.seek(SeekFrom::End(0))?;
    ask_range(source, offset..end, MOST_READ, question)
}

fn ask_range<T>(
    source: &mut impl Source,
    range: Range<u64>,
    most: u64,
    question: impl for<'s> FnOnce(Box<dyn MediaSource + 's>) -> Option<T>,
) -> io::Result<Option<T>> {
    let mut failure = None;
    let stretch = Stretch { window: Window::new(source, range)?, left: most, failure: &mut failure };
    let answer = guarded(|| question(Box::new(stretch))).flatten();
    failure.map_or(Ok(answer), Err)
}

/// Returns true if the track is sound.
pub(super) fn is_sound(track: &Track) -> bool {
    track.codec_params.as_ref().is_some_and(|params| params.audio().is_some())
}

/// Reads the headers with the reader of this container only: the library's own search for a signature goes on for a
/// megabyte through unknown bytes. Headers that the library does not understand, and wrong sizes that it would believe,
/// are corrected first.
pub(crate) fn open<'s>(
    stretch: Box<dyn MediaSource + 's>,
    container: Container,
) -> Result<Box<dyn FormatReader + 's>> {
    let stretch = corrected::show(stretch, container)?;
    let stream = MediaSourceStream::new(stretch, Default::default());
    let options = FormatOptions::default();
    Ok(match container {
        Container::Wav => Box::new(WavReader::try_new(stream, options)?),
        Container::Mp3 => Box::new(MpaReader::try_new(stream, options)?),
        Container::Aiff => Box::new(AiffReader::try_new(stream, options)?),
        Container::Aac => Box::new(AdtsReader::try_new(stream, options)?),
        Container::Ogg => Box::new(OggReader::try_new(stream, options)?),
        Container::Flac => Box::new(FlacReader::try_new(stream, options)?),
        Container::M4a => Box::new(IsoMp4Reader::try_new(stream, options)?),
    })
}

/// The view that the library has of a file: one range, until the library has read too much of it.
struct Stretch<'s, S> {
    window: Window<'s, S>,
    /// The number of bytes that the library may still read.
    left: u64,
    /// The first failure of the source. The library would mix it with its own errors.
    failure: &'s mut Option<io::Error>,
}

impl<S: Source> Read for Stretch<'_, S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other("the read limit of one question was reached"));
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        let count = self.window.read(buf.get_mut(..most).unwrap_or_default()).map_err(|error| {
            let kind = error.kind();
            if kind != io::ErrorKind::Interrupted {
                self.failure.get_or_insert(error);
            }
            io::Error::from(kind)
        })?;
        self.left = self.left.saturating_sub(count as u64);
        Ok(count)
    }
}

impl<S: Source> Seek for Stretch<'_, S> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.window.seek(to)
    }
}

impl<S: Source> MediaSource for Stretch<'_, S> {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.window.length())
    }
}
