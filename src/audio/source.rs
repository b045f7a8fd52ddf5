//! Reads an `audio_url`: an http(s) URL or a base64 data URI. Only its text is checked.
//!
//! Nothing is fetched and no name is resolved here.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use serde::{Deserialize, Serialize};
use url::Url;

use super::blob_id::BlobId;
use super::container::Container;
use super::data_uri::{self, InlineAudio};
use super::gate::{Gate, UrlRefusal};
use crate::error::{ErrorCode, Failure};

/// The source of a task's audio.
#[derive(Debug, Clone)]
pub enum AudioSource {
    /// The audio is downloaded when the task runs.
    Url(Url),
    /// The audio was sent with the request.
    Inline(InlineAudio),
}

/// The audio of a durable task: where the process that runs the task, this one or a later one, finds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeptAudio {
    /// The audio is downloaded from this URL.
    Url(Url),
    /// The audio is in the store.
    Blob {
        /// The id in the store.
        id: BlobId,
        /// The container of the bytes.
        container: Container,
        /// The number of bytes.
        bytes: u64,
        /// How long the audio lasts, according to its container.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        duration: Option<Duration>,
    },
}

impl AudioSource {
    /// Reads an `audio_url`.
    ///
    /// # Errors
    /// `invalid_audio_url` with the reason, or `unsupported_audio_format` for inline content that is no audio.
    pub fn parse(mut audio_url: BytesMut, gate: &Gate) -> Result<Self, Failure> {
        while let Some(in_front) = IN_FRONT.into_iter().find(|in_front| audio_url.starts_with(in_front)) {
            audio_url.advance(in_front.len());
        }
        let scheme = audio_url.as_ref().split(|byte: &u8| *byte == b':').next().unwrap_or_default();
        if scheme.eq_ignore_ascii_case(b"data") {
            data_uri::parse(audio_url).map(Self::Inline)
        } else {
            parse_url(&audio_url, gate).map(Self::Url)
        }
    }

    /// Returns the audio that was sent with the request.
    #[must_use]
    pub fn inline(&self) -> Option<&InlineAudio> {
        match self {
            Self::Inline(audio) => Some(audio),
            Self::Url(_) => None,
        }
    }

    /// Returns the audio that was sent with the request, so that it can be moved elsewhere.
    #[must_use]
    pub fn inline_mut(&mut self) -> Option<&mut InlineAudio> {
        match self {
            Self::Inline(audio) => Some(audio),
            Self::Url(_) => None,
        }
    }

    /// Returns how the audio is kept once its task is durable. `id` makes the id for audio that was sent with the
    /// request.
    pub fn kept(&self, id: impl FnOnce() -> BlobId) -> KeptAudio {
        match self {
            Self::Url(url) => KeptAudio::Url(url.clone()),
            Self::Inline(audio) => KeptAudio::Blob {
                id: id(),
                container: audio.container,
                bytes: audio.bytes.len() as u64,
                duration: audio.duration,
            },
        }
    }
}

/// The bytes that are removed in front of a data URI: white space, of HTML too, and a byte order mark. They were copied
/// by accident. The gate removes the same around a URL.
const IN_FRONT: [&[u8]; 8] =
    [b" ", b"\t", b"\n", b"\r", b"\x0c", b"\xc2\xa0", b"\xe2\x80\x8b", b"\xef\xbb\xbf"];

/// Returns the failure for an `audio_url` that cannot be used.
pub(super) fn invalid(reason: impl std::fmt::Display) -> Failure {
    Failure::new(ErrorCode::InvalidAudioUrl, format!("audio_url cannot be used: {reason}"))
        .with_param("audio_url")
}

fn parse_url(text: &[u8], gate: &Gate) -> Result<Url, Failure> {
    let text = std::str::from_utf8(text).map_err(|_| invalid("the URL is not UTF-8"))?;
    gate.admit(text).map_err(|refusal| match refusal {
        UrlRefusal::Scheme => invalid(format!("{refusal}, or be data:audio/<type>;base64,<payload>")),
        _ => invalid(refusal),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(audio_url: &str) -> Result<AudioSource, ErrorCode> {
        AudioSource::parse(BytesMut::from(audio_url), &Gate::default()).map_err(|failure| failure.code)
    }

    const WAV: &str = "UklGRiwAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQgAAACAgICAgICAgA==";

    #[test]
    fn data_uris_are_read_as_real_clients_write_them() {
        for header in [
            "data:audio/wav;base64,",
            "DATA:AUDIO/X-WAV;BASE64,",
            "data:audio/ogg;codecs=opus;base64,",
            "data:application/ogg;base64,",
            "data:audio/vnd.wave; codecs=1;base64,",
        ] {
            let source = code(&format!("{header}{WAV}"));
            assert!(
                matches!(&source, Ok(AudioSource::Inline(audio)) if audio.container == Container::Wav),
                "{header}: {source:?}"
            );
        }
    }

    #[test]
    fn white_space_and_byte_order_marks_around_a_url_are_removed() {
        for (before, after) in [("\u{feff}", ""), (" \n\u{feff}\t", "\r\n"), ("\u{a0}", "\t \n")] {
            let source = code(&format!("{before}https://example.com/a%20b.wav?x=1{after}"));
            let Ok(AudioSource::Url(url)) = &source else { panic!("{before:?}: {source:?}") };
            assert_eq!(url.as_str(), "https://example.com/a%20b.wav?x=1");
            let source = code(&format!("{before}data:audio/wav;base64,{WAV}{after}"));
            assert!(
                matches!(&source, Ok(AudioSource::Inline(audio)) if audio.bytes.starts_with(b"RIFF")),
                "{source:?}"
            );
        }
        for nothing in ["", " ", "\u{feff}\n"] {
            assert_eq!(code(nothing).unwrap_err(), ErrorCode::InvalidAudioUrl);
        }
    }

    #[test]
    fn data_uris_in_another_form_are_refused() {
        for uri in [
            "data:audio/wav,abc",
            "data:audio/wav;base64",
            "data:;base64,QUJD",
            "data:text/plain;base64,QUJD",
            "data:audio/;base64,QUJD",
            "data:audio/wav;base64,QUJ%3D",
            "data:audio/wav;base64,Q",
            "data:audio/wav;base64;x,QUJD",
        ] {
            assert_eq!(code(uri).unwrap_err(), ErrorCode::InvalidAudioUrl, "{uri}");
        }
        for uri in ["data:audio/wav;base64,", "data:audio/wav;base64, \n", "data:audio/wav;base64,SGVsbG8="] {
            assert_eq!(code(uri).unwrap_err(), ErrorCode::UnsupportedAudioFormat, "{uri}");
        }
    }

    #[test]
    fn public_urls_pass() {
        for url in
            ["https://storage.googleapis.com/a/b.flac", "HTTP://example.com", "http://8.8.8.8:8080/x?y=z"]
        {
            assert!(matches!(code(url), Ok(AudioSource::Url(_))), "{url}");
        }
    }

    #[test]
    fn other_schemes_and_internal_hosts_are_refused() {
        for url in [
            "ftp://example.com/a.wav",
            "file:///etc/passwd",
            "example.com/a.wav",
            "http:/example.com",
            "https:///example.com/a.wav",
            "http://",
            "http://exa mple.com/",
            "http://localhost/a.wav",
            "http://LOCALHOST.:80/",
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://10.0.0.1/",
            "http://169.254.169.254/latest/meta-data",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[64:ff9b::7f00:1]/",
            "http://100.64.0.1/",
        ] {
            assert_eq!(code(url).unwrap_err(), ErrorCode::InvalidAudioUrl, "{url}");
        }
        assert!(
            AudioSource::parse(
                BytesMut::from("http://127.0.0.1/a.wav"),
                &Gate { allow_private_networks: true, ..Gate::default() }
            )
            .is_ok()
        );
    }
}
