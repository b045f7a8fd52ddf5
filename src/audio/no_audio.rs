//! The reasons why bytes are not usable audio, for messages to users: what the bytes are, and what to do instead.

pub(super) mod foreign;

use super::container::Container;
use crate::error::{ErrorCode, Failure};

/// The advice that turns almost any recording into an accepted one.
const CONVERT: &str =
    "convert it to wav, mp3 or flac, for example with `ffmpeg -i INPUT -ac 1 -ar 16000 output.wav`";

/// The reason why bytes are not usable audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAudio {
    /// There are no bytes.
    Empty,
    /// An accepted container without sound: it ends before the first sample, frame or packet.
    Soundless(Container),
    /// A video without a sound track.
    SilentVideo,
    /// A known format that is not accepted.
    Foreign(Foreign),
    /// An unknown format.
    Unknown,
}

/// A known format that is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Foreign {
    /// The name of the format, with its article.
    pub(super) name: &'static str,
    /// The kind of the format.
    pub(super) kind: Kind,
}

/// The kinds of formats that are known and not accepted. The kind decides which advice the message gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file that may hold sound, in a format that is not accepted.
    Recording,
    /// Notes or commands for an instrument, without the sound itself.
    Notes,
    /// A picture, a document or a program.
    Other,
    /// A file in which other files are packed.
    Archive,
    /// A page for a browser.
    WebPage,
    /// A list of addresses of recordings.
    Playlist,
    /// Text, such as a server's error message.
    Text,
    /// Base64 where the decoded bytes are expected.
    Base64,
}

/// The origin of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A data URI in the request.
    Inline,
    /// A download.
    Download,
}

impl NoAudio {
    /// Returns what the bytes are, with its article, if they are a known format that is not accepted.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Foreign(Foreign { name, .. }) => Some(name),
            _ => None,
        }
    }

    /// Returns the failure to report to the submitter.
    #[must_use]
    pub fn failure(self, origin: Origin) -> Failure {
        let content = match origin {
            Origin::Inline => "The content of audio_url",
            Origin::Download => "The content behind audio_url",
        };
        let message = match self {
            Self::Empty => format!("{content} is empty; {}", check(origin)),
            Self::Soundless(container) => {
                format!(
                    "{content} is {} without any sound: {}; record it again, or send the whole file",
                    file_of(container),
                    missing(container)
                )
            }
            Self::SilentVideo => {
                format!("{content} is a video without sound; send a recording that has sound")
            }
            Self::Foreign(Foreign { name, kind }) => {
                format!("{content} is {name}{}", advice(kind, origin))
            }
            Self::Unknown => {
                let known: Vec<_> = Container::all().iter().map(|container| container.name()).collect();
                format!("{content} is not a known audio format; supported formats are {}", known.join(", "))
            }
        };
        Failure::new(ErrorCode::UnsupportedAudioFormat, message).with_param("audio_url")
    }
}

fn check(origin: Origin) -> &'static str {
    match origin {
        Origin::Inline => "check what is encoded, and send a whole recording",
        Origin::Download => "open the link to see what its server sends, and use the direct download link",
    }
}

fn file_of(container: Container) -> &'static str {
    match container {
        Container::Wav => "a WAV file",
        Container::Mp3 => "an MP3 file",
        Container::Aiff => "an AIFF file",
        Container::Aac => "an AAC file",
        Container::Ogg => "an Ogg file",
        Container::Flac => "a FLAC file",
        Container::M4a => "an MPEG-4 (m4a, mp4) file",
    }
}

fn missing(container: Container) -> &'static str {
    match container {
        Container::Wav | Container::Aiff => "no samples follow its header",
        Container::Mp3 | Container::Aac | Container::Flac => "it does not contain a whole frame",
        Container::Ogg => "no packet follows its headers",
        Container::M4a => "its index (the moov box) is missing, is cut off, or lists no sound that is there",
    }
}

fn advice(kind: Kind, origin: Origin) -> String {
    match (kind, origin) {
        (Kind::Recording, _) => format!(", which is not supported; {CONVERT}"),
        (Kind::Notes, _) => {
            ", which holds notes but no sound; play it with a synthesizer and send the recording".to_owned()
        }
        (Kind::Other, _) => ", not a recording; send a recording".to_owned(),
        (Kind::Archive, _) => "; unpack it and send the recording that is in it".to_owned(),
        (Kind::WebPage, Origin::Download) => ", not a recording; use the direct download link".to_owned(),
        (Kind::Playlist, _) => ", not a recording; send one of the recordings that it lists".to_owned(),
        (Kind::Base64, _) => ", encoded once more than expected; encode the file itself, once".to_owned(),
        (Kind::Text | Kind::WebPage, _) => format!(", not a recording; {}", check(origin)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_names_the_content_and_what_to_do() {
        let page = NoAudio::Foreign(Foreign { name: "a web page (HTML)", kind: Kind::WebPage });
        let failure = page.failure(Origin::Download);
        assert_eq!(failure.code, ErrorCode::UnsupportedAudioFormat);
        assert_eq!(
            failure.message,
            "The content behind audio_url is a web page (HTML), not a recording; use the direct download link"
        );
        let amr = NoAudio::Foreign(Foreign { name: "an AMR recording", kind: Kind::Recording });
        assert_eq!(
            amr.failure(Origin::Inline).message,
            "The content of audio_url is an AMR recording, which is not supported; convert it to wav, mp3 or \
             flac, for example with `ffmpeg -i INPUT -ac 1 -ar 16000 output.wav`"
        );
        assert_eq!(
            NoAudio::Soundless(Container::Wav).failure(Origin::Inline).message,
            "The content of audio_url is a WAV file without any sound: no samples follow its header; record it \
             again, or send the whole file"
        );
        assert!(
            NoAudio::Unknown.failure(Origin::Inline).message.ends_with("wav, mp3, aiff, aac, ogg, flac, m4a")
        );
    }
}
