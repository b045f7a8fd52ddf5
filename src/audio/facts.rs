//! The facts about a request's audio. They are small, have no secrets, and are kept as long as the task, also after the
//! audio is deleted.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use super::container::Container;
use super::source::AudioSource;

/// The text that replaces the query of a URL: signed URLs carry their signature there.
const HIDDEN_QUERY: &str = "...";

/// The source and the properties of a request's audio.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "source", rename_all = "snake_case")]
pub enum AudioFacts {
    /// The audio was sent with the request.
    Inline {
        /// The properties of the audio.
        #[serde(flatten)]
        sound: Sound,
    },
    /// The audio was downloaded, or will be.
    Url {
        /// The URL without user, password and query.
        url: String,
        /// The properties of the audio; `None` before the download.
        #[serde(flatten)]
        sound: Option<Sound>,
    },
}

/// The properties of a file with sound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sound {
    /// The container of the bytes.
    pub format: Container,
    /// Length of the file.
    pub bytes: u64,
    /// How long the file lasts, according to its container, to the millisecond.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<f64>,
}

impl Sound {
    /// Returns the properties of a file with this number of bytes.
    #[must_use]
    pub fn new(format: Container, bytes: u64, duration: Option<Duration>) -> Self {
        Self {
            format,
            bytes,
            duration_seconds: duration.map(|duration| duration.as_millis() as f64 / 1000.0),
        }
    }
}

impl AudioFacts {
    /// Returns the facts about audio that was just submitted.
    #[must_use]
    pub fn of(source: &AudioSource) -> Self {
        match source {
            AudioSource::Url(url) => Self::Url { url: without_secrets(url.clone()), sound: None },
            AudioSource::Inline(audio) => {
                let bytes = audio.bytes.len() as u64;
                Self::Inline { sound: Sound::new(audio.container, bytes, audio.duration) }
            }
        }
    }

    /// Returns the facts about audio that was just downloaded.
    #[must_use]
    pub fn downloaded(url: &Url, sound: Sound) -> Self {
        Self::Url { url: without_secrets(url.clone()), sound: Some(sound) }
    }
}

fn without_secrets(mut url: Url) -> String {
    // Both calls fail only for URLs that have no host, and therefore no user.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
    if url.query().is_some() {
        url.set_query(Some(HIDDEN_QUERY));
    }
    url.into()
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::audio::gate::Gate;

    fn facts(audio_url: &str) -> AudioFacts {
        AudioFacts::of(&AudioSource::parse(BytesMut::from(audio_url), &Gate::default()).unwrap())
    }

    #[test]
    fn sent_audio_is_described_by_its_bytes() {
        let facts = facts(
            "data:audio/mp3;base64,UklGRiwAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQgAAACAgICAgICAgA==",
        );
        let json = serde_json::to_value(&facts).unwrap();
        assert_eq!(
            (&json["source"], &json["format"], &json["bytes"]),
            (&"inline".into(), &"wav".into(), &52.into())
        );
        assert_eq!(serde_json::from_value::<AudioFacts>(json).unwrap(), facts);
    }

    #[test]
    fn a_url_is_shown_without_its_secrets() {
        let url = "https://user:secret@files.example.com/a/b.wav?X-Signature=secret#secret";
        let json =
            serde_json::to_value(AudioFacts::Url { url: without_secrets(url.parse().unwrap()), sound: None })
                .unwrap();
        assert_eq!(
            json,
            serde_json::json!({"source": "url", "url": "https://files.example.com/a/b.wav?..."})
        );
        let plain = facts("https://files.example.com/a.wav");
        assert_eq!(
            serde_json::to_string(&plain).unwrap(),
            r#"{"source":"url","url":"https://files.example.com/a.wav"}"#
        );
        let url = "https://files.example.com/a.wav".parse().unwrap();
        let known =
            AudioFacts::downloaded(&url, Sound::new(Container::Wav, 44, Some(Duration::from_millis(1500))));
        let json = serde_json::to_string(&known).unwrap();
        assert!(json.ends_with(r#""format":"wav","bytes":44,"duration_seconds":1.5}"#), "{json}");
        assert_eq!(serde_json::from_str::<AudioFacts>(&json).unwrap(), known);
    }
}
