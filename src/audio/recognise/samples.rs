//! Finds whether a WAVE, AIFF or FLAC file has sound: whether a sample or a frame follows its headers. Lengths in
//! headers can be wrong, so the bytes behind them count.

use std::io;

use crate::audio::container::Container;
use crate::audio::format::{aiff, flac, wave};
use crate::audio::library::ask_bytes;
use crate::audio::no_audio::NoAudio;
use crate::audio::reading::Source;

fn result(container: Container, has_sound: bool) -> Result<Container, NoAudio> {
    if has_sound { Ok(container) } else { Err(NoAudio::Soundless(container)) }
}

/// Judges the WAVE file that starts at `offset`.
pub(super) fn wave(source: &mut impl Source, offset: u64) -> io::Result<Result<Container, NoAudio>> {
    let has_sample = ask_bytes(source, offset, |mut stretch| wave::has_sample(&mut stretch).ok())?;
    Ok(result(Container::Wav, has_sample == Some(true)))
}

/// Judges the AIFF or AIFF-C file that starts at `offset`.
pub(super) fn aiff(source: &mut impl Source, offset: u64) -> io::Result<Result<Container, NoAudio>> {
    let length = ask_bytes(source, offset, |mut stretch| Some(aiff::shape(&mut stretch).ok()?.length))?;
    Ok(result(Container::Aiff, length.is_some_and(|length| length > 0)))
}

/// Judges the FLAC file that starts at `offset`: a frame must follow its blocks of metadata.
pub(super) fn flac(source: &mut impl Source, offset: u64) -> io::Result<Result<Container, NoAudio>> {
    Ok(result(Container::Flac, flac::first_frame(source, offset)?.is_some()))
}
