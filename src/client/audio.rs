//! Reads the audio that a user names: a URL, a file, or standard input.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Cursor, IsTerminal as _, Read};
use std::path::PathBuf;

use url::Url;

use crate::audio::{Container, Gate, UrlRefusal, recognise};

/// Largest request body that a server accepts by default, in bytes.
pub(super) const MAX_BODY_BYTES: u64 = 28 << 20;

/// Audio for a request.
#[derive(Debug)]
pub enum AudioInput {
    /// An http(s) URL that the server will fetch, or a data URI.
    Url(String),
    /// Audio that is sent in the request.
    Inline {
        /// The media type of the bytes, for the data URI.
        media_type: &'static str,
        /// The bytes.
        bytes: Vec<u8>,
    },
}

/// Why there is no audio to send.
#[derive(Debug, thiserror::Error)]
pub enum AudioError {
    /// The audio cannot be read.
    #[error("{name}: {reason}")]
    Unreadable {
        /// The argument.
        name: String,
        /// The reason.
        reason: String,
    },
    /// The argument that names the audio is empty.
    #[error("the name of the audio is empty; if it comes from a variable, set that variable")]
    Unnamed,
    /// The audio holds no bytes.
    #[error("{0} is empty; name a file with audio")]
    Empty(String),
    /// Standard input is a terminal.
    #[error("standard input is a terminal; pipe audio into it, as in: cat speech.wav | hearken submit -")]
    Terminal,
    /// The audio is too large for a request.
    #[error(
        "{0} is too large to be sent in a request, which may have 28 MiB (about 22 MB of audio); compress it, as in \
         `ffmpeg -i IN -ac 1 -b:a 48k OUT.mp3`, or pass a URL that the server can fetch"
    )]
    TooLarge(String),
}

impl AudioInput {
    /// Reads the audio that an argument names: `-`, a URL, or a file. The name of a file need not be UTF-8.
    ///
    /// # Errors
    /// When there is no audio to send.
    pub fn named(argument: &OsStr) -> Result<Self, AudioError> {
        if let Some(url) = argument.to_str().filter(|text| is_url(text)) {
            return Ok(Self::Url(url.to_owned()));
        }
        if argument == "-" {
            let input = io::stdin();
            if input.is_terminal() {
                return Err(AudioError::Terminal);
            }
            return Self::read("standard input", input.lock());
        }
        let name = argument.display().to_string();
        let unreadable =
            |reason: &str| AudioError::Unreadable { name: name.clone(), reason: reason.to_owned() };
        if argument.is_empty() {
            return Err(AudioError::Unnamed);
        }
        let path = match argument.to_str().filter(|text| is_file_url(text)) {
            None => PathBuf::from(argument),
            Some(url) => path_of(url).ok_or_else(|| {
                unreadable("it names a file on another machine, or no file; name the file by its path alone")
            })?,
        };
        let file = File::open(path).map_err(|err| match err.kind() {
            io::ErrorKind::NotFound if name.contains("://") && !is_file_url(&name) => {
                unreadable("only files and http(s) URLs can be sent; download the audio, and name the file")
            }
            io::ErrorKind::NotFound => unreadable("there is no such file"),
            io::ErrorKind::PermissionDenied => unreadable("you may not read this file"),
            _ => unreadable(&err.to_string()),
        })?;
        if file.metadata().is_ok_and(|body_with| body_with.is_dir()) {
            return Err(unreadable("it is a directory; name a file"));
        }
        Self::read(&name, file)
    }

    fn read(name: &str, from: impl Read) -> Result<Self, AudioError> {
        let mut bytes = Vec::new();
        // Bytes that would exceed the limit in base64 are not read.
        let most = MAX_BODY_BYTES / 4 * 3;
        from.take(most + 1)
            .read_to_end(&mut bytes)
            .map_err(|err| AudioError::Unreadable { name: name.to_owned(), reason: err.to_string() })?;
        if bytes.is_empty() {
            return Err(AudioError::Empty(name.to_owned()));
        }
        if bytes.len() as u64 > most {
            return Err(AudioError::TooLarge(name.to_owned()));
        }
        // A file of an unknown format is sent, too, because the server detects formats itself.
        let known = recognise(&mut Cursor::new(&bytes)).ok().and_then(Result::ok);
        let media_type = known.map_or("application/octet-stream", Container::media_type);
        Ok(Self::Inline { media_type, bytes })
    }
}

/// Returns true for an http(s) URL that leads to this machine or to a private network. A server fetches it only if its
/// operator allows that.
#[must_use]
pub fn is_local(url: &str) -> bool {
    matches!(Gate::default().admit(url), Err(UrlRefusal::InternalAddress(_) | UrlRefusal::InternalName(_)))
}

/// Returns true for `file:///a/b.mp3` and `file:/a/b.mp3`, as file managers and browsers write them.
fn is_file_url(text: &str) -> bool {
    text.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("file:/"))
}

/// Returns the path that a file URL names on this machine.
fn path_of(url: &str) -> Option<PathBuf> {
    Url::parse(url).ok()?.to_file_path().ok()
}

fn is_url(text: &str) -> bool {
    let scheme = text.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    matches!(scheme.as_deref(), Some("http" | "https" | "data"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_media_type_comes_from_the_bytes() {
        let read = |bytes: &[u8]| match AudioInput::read("x", bytes).unwrap() {
            AudioInput::Inline { media_type, .. } => media_type,
            AudioInput::Url(url) => panic!("{url}"),
        };
        assert_eq!(read(b"RIFF\xff\xff\xff\xffWAVEdata\xff\xff\xff\xff\0\0"), "audio/wav");
        assert_eq!(read(b"no audio"), "application/octet-stream");
    }

    #[test]
    fn a_url_of_this_machine_or_a_private_network_is_local() {
        for url in [
            "http://localhost/x.wav",
            "http://127.0.0.1:8000/x.wav",
            "http://[::1]/x",
            "http://192.168.1.7/x.mp3",
        ] {
            assert!(is_local(url), "{url}");
        }
        for url in ["https://example.com/x.wav", "data:audio/wav;base64,UklGRg==", "x.wav", "http://"] {
            assert!(!is_local(url), "{url}");
        }
    }

    #[test]
    fn missing_and_oversized_audio_is_refused_before_a_request() {
        let named = |argument: &str| AudioInput::named(argument.as_ref());
        assert!(matches!(AudioInput::read("x", &[][..]), Err(AudioError::Empty(_))));
        assert!(matches!(AudioInput::read("x", io::repeat(7)), Err(AudioError::TooLarge(_))));
        assert!(matches!(named("HTTPS://h/a.wav"), Ok(AudioInput::Url(_))));
        let err = named("/no/such/file.wav").unwrap_err().to_string();
        assert_eq!(err, "/no/such/file.wav: there is no such file");
        assert!(named("/").unwrap_err().to_string().contains("directory"));
        assert!(matches!(named(""), Err(AudioError::Unnamed)));
        let err = named("s3://bucket/a.wav").unwrap_err().to_string();
        assert!(err.contains("only files and http(s) URLs"), "{err}");
    }

    #[test]
    fn a_file_url_names_a_file_of_this_machine() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("my call #1.wav");
        std::fs::write(&path, "RIFF").unwrap();
        let encoded = Url::from_file_path(&path).unwrap();
        let path = encoded.path();
        for url in [format!("file://{path}"), format!("FILE:{path}"), format!("file://localhost{path}")] {
            assert!(matches!(AudioInput::named(url.as_ref()), Ok(AudioInput::Inline { .. })), "{url}");
        }
        let err = AudioInput::named("file://elsewhere/a.wav".as_ref()).unwrap_err().to_string();
        assert!(err.contains("another machine"), "{err}");
        let err = AudioInput::named("file:///no/such.wav".as_ref()).unwrap_err().to_string();
        assert_eq!(err, "file:///no/such.wav: there is no such file");
    }
}
