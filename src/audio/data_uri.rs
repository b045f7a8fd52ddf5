//! Data URIs that contain audio, as real clients write them.

use std::io::Cursor;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::base64;
use super::container::Container;
use super::duration::stated_duration;
use super::label;
use super::no_audio::{NoAudio, Origin};
use super::recognise::recognise;
use super::source::invalid;
use crate::error::Failure;

/// The longest part before the comma, in bytes.
const MAX_HEADER_BYTES: usize = 1024;

/// Audio that was sent with the request.
#[derive(Debug, Clone)]
pub struct InlineAudio {
    /// The container of the bytes.
    pub container: Container,
    /// The audio.
    pub bytes: Bytes,
    /// How long the audio lasts, according to its container.
    pub duration: Option<Duration>,
    /// The media type that the client wrote, in lower case and without parameters.
    pub declared: String,
}

impl InlineAudio {
    /// Returns the length of the base64 text that upstreams receive.
    #[must_use]
    pub fn text_len(&self) -> u64 {
        base64::base64_len(self.bytes.len() as u64)
    }
}

/// Reads a data URI.
///
/// # Errors
/// `invalid_audio_url` with the reason, or `unsupported_audio_format` for content that is not audio.
pub(super) fn parse(mut uri: BytesMut) -> Result<InlineAudio, Failure> {
    let comma = uri
        .iter()
        .take(MAX_HEADER_BYTES)
        .position(|byte| *byte == b',')
        .ok_or_else(|| invalid("the data URI has no comma before its payload"))?;
    let header = uri.get("data:".len()..comma).unwrap_or_default();
    let header = std::str::from_utf8(header).map_err(|_| invalid("the data URI's type is not ASCII"))?;
    let header = header.to_ascii_lowercase();
    let Some(media_type) = header.trim_end().strip_suffix(";base64") else {
        return Err(invalid("the data URI must have ;base64 right before its comma"));
    };
    let declared = media_type.split(';').next().unwrap_or_default().trim().to_owned();
    if !label::is_of_audio(&declared) {
        return Err(invalid(
            "the data URI's type must be audio/<type>, video/<type> or application/octet-stream, for example \
             data:audio/wav;base64,...",
        ));
    }
    let payload = uri.split_off(comma + 1);
    if payload.iter().all(u8::is_ascii_whitespace) {
        return Err(NoAudio::Empty.failure(Origin::Inline));
    }
    let bytes =
        base64::decode(payload).map_err(|err| invalid(format!("its payload is not base64: {err}")))?;
    let mut reader = Cursor::new(&bytes);
    let container = recognise(&mut reader)
        .unwrap_or(Err(NoAudio::Unknown))
        .map_err(|no_audio| no_audio.failure(Origin::Inline))?;
    let duration = stated_duration(&mut reader, container);
    Ok(InlineAudio { container, bytes, duration, declared })
}
