//! Names of containers and codecs, and the errors for files that cannot be decoded.

use std::io::{Read, Seek, SeekFrom};

use symphonia::core::codecs::audio::AudioCodecId;
use symphonia::core::codecs::audio::well_known::*;
use symphonia::core::errors::Error;
use symphonia::core::formats::well_known::*;
use symphonia::core::formats::{FormatInfo, FormatReader};

use super::{Format, InspectError};

/// Advice for a file that cannot be decoded.
const CONVERT: &str = "Convert the file to WAV, FLAC, MP3, AAC-LC, Ogg Vorbis or Opus, and send it again";
/// Advice for a file that looks broken.
const CHECK: &str =
    "Check that the file plays and was sent completely, or convert it to WAV or FLAC, and send it again";

/// Returns the name of a container.
pub(super) fn container(info: &FormatInfo) -> &'static str {
    match info.format {
        FORMAT_ID_WAVE => "WAV",
        FORMAT_ID_AIFF => "AIFF",
        FORMAT_ID_MP1 | FORMAT_ID_MP2 | FORMAT_ID_MP3 => "MPEG audio",
        FORMAT_ID_ADTS => "ADTS",
        FORMAT_ID_OGG => "Ogg",
        FORMAT_ID_FLAC => "FLAC",
        FORMAT_ID_ISOMP4 => "MPEG-4",
        _ => info.long_name,
    }
}

/// Returns true if the demuxer guesses the duration from the first frames. ADTS states no duration. MPEG audio states
/// it only in a tag, which also has the encoder's delay.
pub(super) fn guesses_duration(info: &FormatInfo, delay: Option<u32>) -> bool {
    match info.format {
        FORMAT_ID_ADTS => true,
        FORMAT_ID_MP1 | FORMAT_ID_MP2 | FORMAT_ID_MP3 => delay.is_none(),
        _ => false,
    }
}

/// Returns the name of a codec, if the codec is known at all.
pub(super) fn codec(id: AudioCodecId) -> Option<&'static str> {
    let registered = symphonia::default::get_codecs().get_audio_decoder(id);
    Some(match id {
        CODEC_ID_OPUS => "Opus",
        CODEC_ID_SPEEX => "Speex",
        CODEC_ID_AC3 => "AC-3 (Dolby Digital)",
        CODEC_ID_EAC3 => "Enhanced AC-3 (Dolby Digital Plus)",
        CODEC_ID_AC4 => "AC-4",
        CODEC_ID_DCA => "DTS",
        CODEC_ID_WMA => "Windows Media Audio",
        CODEC_ID_ADPCM_G722 => "G.722",
        CODEC_ID_ADPCM_G726 | CODEC_ID_ADPCM_G726LE => "G.726",
        CODEC_ID_AAC => "AAC",
        CODEC_ID_MP1 => "MPEG audio layer I",
        CODEC_ID_MP2 => "MPEG audio layer II",
        CODEC_ID_MP3 => "MP3 (MPEG audio layer III)",
        CODEC_ID_FLAC => "FLAC",
        CODEC_ID_ALAC => "Apple Lossless",
        CODEC_ID_VORBIS => "Vorbis",
        _ => return registered.map(|registered| registered.codec.info.long_name),
    })
}

/// Returns true if samples of this codec have a number of bits: those of PCM and of the lossless codecs do.
pub(super) fn has_bits(id: AudioCodecId) -> bool {
    let pcm = CODEC_ID_PCM_S32LE..=CODEC_ID_PCM_MULAW;
    pcm.contains(&id) || id == CODEC_ID_FLAC || id == CODEC_ID_ALAC
}

/// Returns the error for a file that no demuxer opens.
pub(super) fn unreadable(error: &Error) -> InspectError {
    match error {
        // The demuxers use "missing" for parts that a complete file has.
        Error::Unsupported(what) | Error::DecodeError(what) if what.contains("missing") => {
            undecodable(format!("the header of the audio is not complete ({what})"), CHECK)
        }
        Error::Unsupported(what) => {
            undecodable(format!("this kind of audio is not supported ({what})"), CONVERT)
        }
        Error::IoError(_) => undecodable("the file ends before its sound begins".into(), CHECK),
        other => undecodable(format!("the header of the audio cannot be read ({other})"), CHECK),
    }
}

/// Returns the error for a file of an unknown kind.
pub(super) fn unknown() -> InspectError {
    undecodable("the file is not audio of a known kind".into(), CONVERT)
}

/// Returns the error for a file that opens, but has no track that can be decoded.
pub(super) fn no_decoder(reader: &dyn FormatReader, container: &str) -> InspectError {
    let params = reader.tracks().iter().find_map(|track| track.codec_params.as_ref()?.audio());
    let codec = match params.map(|params| params.codec) {
        Some(CODEC_ID_AAC) => "AAC other than LC in mono or stereo",
        Some(CODEC_ID_OPUS) => "Opus in an unusual layout of channels",
        Some(id) => codec(id).unwrap_or("an unknown codec"),
        None => "no sound of a known codec",
    };
    cannot_decode(container, codec)
}

/// Returns the error for a file with a codec that cannot be decoded, if its first bytes show the codec and the demuxer
/// would not name it. In Ogg, the first packet names the codec, after a page header of 28 bytes. In WAVE, the `fmt `
/// chunk does, which is the first one in nearly all files.
pub(super) fn undecodable_codec(source: &mut (impl Read + Seek)) -> std::io::Result<Option<InspectError>> {
    let mut head = Vec::with_capacity(46);
    source.by_ref().take(46).read_to_end(&mut head)?;
    source.seek(SeekFrom::Start(0))?;
    Ok(match (head.get(..4), head.get(8..16), head.get(28..36)) {
        (Some(b"OggS"), _, Some(b"Speex   ")) => Some(cannot_decode("Ogg", "Speex")),
        (Some(b"OggS"), _, Some(b"CELT    ")) => Some(cannot_decode("Ogg", "CELT")),
        (_, Some(b"WAVEfmt "), _) => wave_codec(&head).map(|codec| cannot_decode("WAV", codec)),
        _ => None,
    })
}

/// Names the codec of a WAVE file that begins with its `fmt ` chunk, if it is one that cannot be decoded.
///
/// The codes are those of the IANA registry of WAVE and AVI codecs (RFC 2361), and later ones of Microsoft's `mmreg.h`.
fn wave_codec(head: &[u8]) -> Option<&'static str> {
    let code = |at: usize| head.get(at..)?.first_chunk().map(|code| u16::from_le_bytes(*code));
    let code = match code(20)? {
        // The extensible form has its code after the other fields, as the start of a GUID.
        0xfffe => code(44)?,
        plain => plain,
    };
    Some(match code {
        // Codecs that the library decodes or names in its own errors: PCM, ADPCM of Microsoft and IMA, A-law and
        // mu-law.
        0x01..=0x03 | 0x06 | 0x07 | 0x11 => return None,
        0x10 => "ADPCM of OKI",
        0x20 => "ADPCM of Yamaha",
        0x22 => "TrueSpeech",
        0x31 => "GSM 6.10",
        0x40 | 0x45 | 0x64 => "G.726",
        0x42 | 0x111 => "G.723.1",
        0x50 => "MPEG audio layer I or II",
        0x55 => "MP3 (MPEG audio layer III)",
        0x65 | 0x28f => "G.722",
        0x83 | 0x133 => "G.729",
        0xff | 0x1600 | 0x1601 | 0x1602 | 0x706d => "AAC",
        0x160..=0x163 => "Windows Media Audio",
        0x674f..=0x6751 | 0x676f..=0x6771 => "Vorbis",
        0x704f => "Opus",
        0x2000 => "AC-3 (Dolby Digital)",
        0x2001 => "DTS",
        0xf1ac => "FLAC",
        _ => "an unknown codec",
    })
}

fn cannot_decode(container: &str, codec: &str) -> InspectError {
    undecodable(format!("the file is {container} with {codec}, which this server cannot decode"), CONVERT)
}

/// Returns the error for a file whose packets are all damaged or missing.
pub(super) fn nothing_decoded(format: &Format, skipped: u64) -> InspectError {
    let Format { container, codec, .. } = format;
    let what = match skipped {
        0 => "the file ends too early".to_owned(),
        1 => "its only packet is damaged".to_owned(),
        more => format!("all {more} of its packets are damaged"),
    };
    undecodable(
        format!("the header says {container} with {codec}, but no samples could be decoded: {what}"),
        CHECK,
    )
}

/// Returns the error for sound with a rate or number of channels that cannot be measured.
pub(super) fn unmeasurable(rate: u32, channels: usize) -> InspectError {
    undecodable(
        format!("the sound has {channels} channels at {rate} Hz, which this server cannot measure"),
        CONVERT,
    )
}

fn undecodable(found: String, advice: &'static str) -> InspectError {
    InspectError::Undecodable { found, advice }
}
