//! `audio_url`: an http(s) URL or a base64 data URI, judged by its text alone.
//!
//! Nothing is fetched and no name is resolved here. An address that is literally internal is refused at once;
//! what a name resolves to is for whoever downloads it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::base64_reader::Base64Reader;
use super::base64_text;
use super::container::{self, Container};
use crate::error::{ErrorCode, Failure};

/// Longest URL that is accepted, in bytes: what common servers take.
const MAX_URL_BYTES: usize = 8192;

/// Where a task's audio comes from.
#[derive(Debug, Clone)]
pub enum AudioSource {
    /// To be downloaded when the task runs.
    Url(Url),
    /// Sent along with the request.
    Inline(InlineAudio),
}

/// Audio that was sent along with the request.
#[derive(Debug, Clone)]
pub struct InlineAudio {
    /// What the bytes are.
    pub container: Container,
    /// The audio as base64: standard alphabet, padded, no white space.
    pub base64: Bytes,
    /// The media type that the client wrote, in lower case and without parameters.
    pub declared: String,
}

/// Audio of a task that is durable: where whoever runs the task, in this process or a later one, finds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeptAudio {
    /// To be downloaded.
    Url(Url),
    /// In the store's spool.
    Spooled {
        /// What the bytes are.
        container: Container,
        /// Length of the base64 text.
        bytes: u64,
    },
}

impl AudioSource {
    /// How the audio is kept once its task is durable.
    #[must_use]
    pub fn kept(&self) -> KeptAudio {
        match self {
            Self::Url(url) => KeptAudio::Url(url.clone()),
            Self::Inline(audio) => {
                KeptAudio::Spooled { container: audio.container, bytes: audio.base64.len() as u64 }
            }
        }
    }
}

impl InlineAudio {
    /// Does the label name another container than the bytes show? Labels that name none never do.
    #[must_use]
    pub fn is_mislabelled(&self) -> bool {
        let subtype = self.declared.split_once('/').map_or("", |(_, subtype)| subtype);
        let subtype = subtype.trim_start_matches("x-").trim_start_matches("vnd.");
        let named = match subtype {
            "wav" | "wave" => Container::Wav,
            "mp3" | "mpeg" | "mpeg3" | "mpga" => Container::Mp3,
            "aiff" | "aif" | "aifc" => Container::Aiff,
            "aac" | "aacp" => Container::Aac,
            "ogg" | "opus" | "vorbis" => Container::Ogg,
            "flac" => Container::Flac,
            "m4a" | "mp4" => Container::M4a,
            _ => return false,
        };
        named != self.container
    }
}

/// Reads an `audio_url`.
///
/// # Errors
/// `invalid_audio_url` with the reason, or `unsupported_audio_format` for inline content that is no audio.
pub fn parse(audio_url: Bytes, allow_private_networks: bool) -> Result<AudioSource, Failure> {
    let scheme = audio_url.split(|byte| *byte == b':').next().unwrap_or_default().to_ascii_lowercase();
    match scheme.as_slice() {
        b"data" => parse_data_uri(&audio_url).map(AudioSource::Inline),
        b"http" | b"https" => parse_url(&audio_url, allow_private_networks).map(AudioSource::Url),
        _ => Err(invalid("it must be an http:// or https:// URL or data:audio/<type>;base64,<payload>")),
    }
}

fn invalid(reason: impl std::fmt::Display) -> Failure {
    Failure::new(ErrorCode::InvalidAudioUrl, format!("audio_url cannot be used: {reason}"))
        .with_param("audio_url")
}

fn unsupported(reason: &str) -> Failure {
    let known = Container::all().iter().map(|container| container.name()).collect::<Vec<_>>().join(", ");
    Failure::new(ErrorCode::UnsupportedAudioFormat, format!("{reason}; supported are {known}"))
        .with_param("audio_url")
}

fn parse_data_uri(uri: &Bytes) -> Result<InlineAudio, Failure> {
    let comma = uri
        .iter()
        .position(|byte| *byte == b',')
        .ok_or_else(|| invalid("the data URI has no comma before its payload"))?;
    let header = uri.get("data:".len()..comma).unwrap_or_default();
    let header = std::str::from_utf8(header).map_err(|_| invalid("the data URI's type is not ASCII"))?;
    let header = header.to_ascii_lowercase();
    let Some(media_type) = header.trim_end().strip_suffix(";base64") else {
        return Err(invalid("the data URI must say ;base64 right before its comma"));
    };
    let declared = media_type.split(';').next().unwrap_or_default().trim().to_owned();
    if !is_audio_type(&declared) {
        return Err(invalid(
            "the data URI's type must be audio/<type>, for example data:audio/wav;base64,...",
        ));
    }
    let payload = uri.slice(comma + 1..);
    if payload.iter().all(u8::is_ascii_whitespace) {
        return Err(unsupported("The data URI in audio_url is empty: it holds no audio"));
    }
    let base64 =
        base64_text::normalise(payload).map_err(|err| invalid(format!("its payload is no base64: {err}")))?;
    let container = container::recognise(&mut Base64Reader::new(base64.clone()))
        .ok()
        .flatten()
        .ok_or_else(|| unsupported("The content of audio_url is no audio that is known here"))?;
    Ok(InlineAudio { container, base64, declared })
}

/// Labels that clients put on audio: any `audio/` type, what ogg and mp4 files are also called, and what
/// browsers write when they do not know. The bytes decide what it is.
fn is_audio_type(media_type: &str) -> bool {
    match media_type.split_once('/') {
        Some(("audio", subtype)) => {
            !subtype.is_empty()
                && subtype.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte))
        }
        _ => matches!(media_type, "application/ogg" | "video/mp4" | "application/octet-stream"),
    }
}

fn parse_url(text: &Bytes, allow_private_networks: bool) -> Result<Url, Failure> {
    if text.len() > MAX_URL_BYTES {
        return Err(invalid(format!("the URL is longer than {MAX_URL_BYTES} bytes")));
    }
    let text = std::str::from_utf8(text).map_err(|_| invalid("the URL is not UTF-8"))?;
    let authority = text.split_once(':').map(|(_, rest)| rest).unwrap_or_default();
    // Of `https:///a.wav` the parser would make the host a.wav.
    if !authority.starts_with("//")
        || authority.starts_with("///")
        || text.chars().any(|c| c.is_whitespace() || c.is_control())
    {
        return Err(invalid("the URL must read https://host/path, without white space"));
    }
    let url = Url::parse(text).map_err(|err| invalid(format!("the URL does not parse ({err})")))?;
    let internal = match url.host() {
        None => return Err(invalid("the URL has no host")),
        Some(Host::Ipv4(address)) => !is_public(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => !is_public(IpAddr::V6(address)),
        Some(Host::Domain(name)) => is_internal_name(name),
    };
    if internal && !allow_private_networks {
        return Err(invalid("its host is not on the public internet"));
    }
    Ok(url)
}

fn is_internal_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let last = name.rsplit('.').next().unwrap_or_default();
    name.is_empty() || matches!(last, "localhost" | "local" | "internal" | "localdomain")
}

/// Is the address one that the public internet routes? After IANA's special-purpose address registries.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(a == 0
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || a >= 224 // multicast, reserved, broadcast
        || (a == 100 && b & 0xc0 == 64) // carrier-grade NAT
        || (a == 192 && b == 0 && c == 0) // protocol assignments
        || (a == 192 && b == 88 && c == 99) // 6to4 relays
        || (a == 198 && b & 0xfe == 18)) // benchmarking
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    // Of global unicast (2000::/3) without what embeds or stands for something else: Teredo and the other
    // protocol assignments (2001::/23), documentation (2001:db8::/32, 3fff::/20), 6to4 (2002::/16).
    // Everything outside 2000::/3 is loopback, mapped, translated, local, multicast or unassigned.
    a & 0xe000 == 0x2000
        && !(a == 0x2001 && (b < 0x200 || b == 0xdb8))
        && a != 0x2002
        && !(a == 0x3fff && b < 0x1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(audio_url: &str) -> Result<AudioSource, ErrorCode> {
        parse(Bytes::copy_from_slice(audio_url.as_bytes()), false).map_err(|failure| failure.code)
    }

    const WAV: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA=";

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
    fn other_data_uris_are_refused() {
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
        assert!(parse(Bytes::from_static(b"http://127.0.0.1/a.wav"), true).is_ok());
    }
}
