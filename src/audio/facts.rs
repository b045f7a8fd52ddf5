//! What there is to say about a request's audio when the audio itself is gone: small, without secrets, and kept as
//! long as its task.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use super::container::Container;
use super::source::AudioSource;

/// What stands for a query that was taken out of a URL: signed URLs carry their signature there.
const HIDDEN_QUERY: &str = "...";

/// Where a request's audio came from, and what it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "source", rename_all = "snake_case")]
pub enum AudioFacts {
    /// It was sent along.
    Inline {
        /// What it was.
        #[serde(flatten)]
        sound: Sound,
    },
    /// It was, or is to be, downloaded.
    Url {
        /// From where; user, password and query are taken out.
        url: String,
        /// What it was; nothing is known before the download.
        #[serde(flatten)]
        sound: Option<Sound>,
    },
}

/// What is known of a file with sound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sound {
    /// What the bytes are.
    pub format: Container,
    /// Length of the file.
    pub bytes: u64,
    /// How long it says that it lasts, to the millisecond.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<f64>,
}

impl Sound {
    /// What is known of a file of so many bytes.
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
    /// What there is to say about audio that was just submitted.
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

    /// What there is to say about audio that was just downloaded.
    #[must_use]
    pub fn downloaded(url: &Url, sound: Sound) -> Self {
        Self::Url { url: without_secrets(url.clone()), sound: Some(sound) }
    }
}

fn without_secrets(mut url: Url) -> String {
    // Both fail only for URLs that have no host, and therefore no user.
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
    fn a_url_is_told_without_what_opens_it() {
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
