//! The audio a task carries: where it comes from, what it is and how it travels.

pub mod address;
pub(crate) mod aiff;
pub mod base64_reader;
pub mod base64_text;
pub(crate) mod boxes;
pub mod container;
pub mod data_uri;
pub mod duration;
pub mod facts;
pub mod gate;
pub mod host_pattern;
pub mod label;
pub(crate) mod layout;
pub mod library;
mod made_header;
pub mod no_audio;
pub mod source;
pub mod text;
pub(crate) mod wave;

use std::time::Duration;

use container::Container;
use data_uri::InlineAudio;
use text::AudioText;

/// Audio that is at hand, to be sent upstream.
#[derive(Debug, Clone)]
pub struct Audio {
    /// What the bytes are.
    pub container: Container,
    /// The bytes.
    pub text: AudioText,
    /// How long it plays, where its container tells.
    pub duration: Option<Duration>,
}

impl From<InlineAudio> for Audio {
    fn from(InlineAudio { container, base64, duration, .. }: InlineAudio) -> Self {
        Self { container, text: base64.into(), duration }
    }
}
