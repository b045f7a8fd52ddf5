//! The audio containers that hearken accepts, by name and media type. `src/audio/format` knows what their bytes look
//! like.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
    /// Returns all containers, in the order in which the Gemini API lists them.
    #[must_use]
    pub fn all() -> &'static [Self] {
        &[Self::Wav, Self::Mp3, Self::Aiff, Self::Aac, Self::Ogg, Self::Flac, Self::M4a]
    }

    /// Returns the media type, as the Gemini API spells it.
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

    /// Returns the media type in its registered spelling, for receivers other than Gemini.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Mp3 => "audio/mpeg",
            Self::M4a => "audio/mp4",
            Self::Wav | Self::Aiff | Self::Aac | Self::Ogg | Self::Flac => self.mime(),
        }
    }

    /// Returns the short name in lower case: the part of the media type after the slash.
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
