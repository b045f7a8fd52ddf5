//! Chooses the track of a file to measure: the first audio track that can be decoded, with its decoder, and the
//! peculiarities of its container that matter for the decoding. It reads no packets.

use symphonia::core::codecs::audio::well_known::{CODEC_ID_OPUS, CODEC_ID_VORBIS};
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::formats::well_known::FORMAT_ID_ISOMP4;
use symphonia::core::formats::{FormatReader, Track, TrackType};

use crate::panics::guarded;

use super::names;
use super::opus::{self, Opus};
use super::vorbis;

/// The decoder of one track.
pub(super) enum Decoder {
    Symphonia(Box<dyn AudioDecoder>),
    Opus(Opus),
}

/// An audio track with its decoder.
pub(super) struct Chosen {
    pub(super) track: Track,
    pub(super) params: AudioCodecParameters,
    pub(super) decoder: Decoder,
    /// Opus frames to drop from the start.
    pub(super) pre_skip: usize,
    /// True if the demuxer only guesses the length.
    pub(super) guessed: bool,
}

/// Returns the default audio track, if it can be decoded; otherwise the first audio track that can be decoded.
pub(super) fn choose(reader: &dyn FormatReader) -> Option<Chosen> {
    let default = reader.default_track(TrackType::Audio);
    default.into_iter().chain(reader.tracks()).find_map(|track| {
        let params = track.codec_params.as_ref()?.audio()?;
        let (decoder, pre_skip) = if params.codec == CODEC_ID_OPUS {
            let header = params.extra_data.as_deref()?;
            let is_mp4 = reader.format_info().format == FORMAT_ID_ISOMP4;
            let in_header = || if is_mp4 { opus::pre_skip_of_mp4(header) } else { 0 };
            let pre_skip = track.delay.unwrap_or_else(in_header);
            (Decoder::Opus(Opus::new(header, is_mp4)?), pre_skip as usize)
        } else if params.codec == CODEC_ID_VORBIS
            && !params.extra_data.as_deref().is_some_and(vorbis::is_acceptable)
        {
            return None;
        } else {
            let options = AudioDecoderOptions::default();
            let decoder =
                guarded(|| symphonia::default::get_codecs().make_audio_decoder(params, &options))?.ok()?;
            (Decoder::Symphonia(decoder), 0)
        };
        let guessed = names::guesses_duration(reader.format_info(), track.delay);
        Some(Chosen { track: track.clone(), params: params.clone(), decoder, pre_skip, guessed })
    })
}
