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
pub(crate) mod flac;
pub mod gate;
pub mod host_pattern;
pub mod label;
pub(crate) mod layout;
pub mod library;
mod made_header;
pub mod no_audio;
mod patched;
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

/// The lowest bit rate at which a whole recording of speech is kept, in bytes a second: Opus goes down to 6 kbit/s.
const FEWEST_BYTES_A_SECOND: u64 = 750;

impl Audio {
    /// Returns how long it plays, as far as its size makes that believable: a header can state a week in some bytes.
    #[must_use]
    pub fn plausible_duration(&self) -> Option<Duration> {
        let bytes = self.text.len() / 4 * 3;
        self.duration.map(|stated| stated.min(Duration::from_secs(bytes.div_ceil(FEWEST_BYTES_A_SECOND))))
    }
}

impl From<InlineAudio> for Audio {
    fn from(InlineAudio { container, base64, duration, .. }: InlineAudio) -> Self {
        Self { container, text: base64.into(), duration }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn plausible(bytes: usize, stated: Option<Duration>) -> Option<Duration> {
        let text = AudioText::Held(Bytes::from(vec![b'A'; bytes / 3 * 4]));
        Audio { container: Container::Flac, text, duration: stated }.plausible_duration()
    }

    #[test]
    fn a_duration_is_believed_as_far_as_the_bytes_go() {
        let (minute, week) = (Duration::from_secs(60), Duration::from_secs(7 * 24 * 3600));
        assert_eq!(plausible(3 << 20, Some(minute)), Some(minute));
        assert_eq!(plausible(75_000, Some(week)), Some(Duration::from_secs(100)));
        assert_eq!(plausible(75_000, None), None);
    }
}
