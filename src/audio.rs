//! The audio of a task: its source, its format and its bytes.
//!
//! The code that reads file formats is separate from the code that uses them:
//!
//! | where | what |
//! |---|---|
//! | [`container`] | the names of the accepted containers |
//! | [`reading`] | bounded reads at any place of a file |
//! | `format` | the knowledge of the formats: one file for each format reads its headers; Ogg has two, one for pages and one for streams |
//! | `library` | the decoding library: each call to it is bounded, and it sees a corrected file where it would refuse the original, such as the intact pages of a damaged Ogg file |
//! | [`no_audio`] | names content that is not audio, and tells what to do instead |
//! | [`recognise`](mod@recognise) | finds which container a file is, and whether it has sound |
//! | `layout` | finds where the sound of a file lies: its parts, how long each lasts, whether it is cut off, and where it is damaged |
//! | [`duration`] | returns how long a file lasts, according to its layout |
//!
//! Each module uses only the modules above it: `duration → layout → library → format → reading`, and
//! `recognise → {no_audio, library}`.

mod address;
mod base64;
mod blob_id;
mod bytes;
mod container;
mod data_uri;
mod duration;
mod facts;
mod format;
mod gate;
mod host_pattern;
mod label;
mod layout;
mod library;
mod no_audio;
mod reading;
mod recognise;
mod source;

use std::time::Duration;

pub use address::is_public;
pub use base64::base64_len;
pub use blob_id::BlobId;
pub use bytes::{AudioBytes, BytesAt};
pub use container::Container;
pub use data_uri::InlineAudio;
pub use duration::stated_duration;
pub use facts::{AudioFacts, Sound};
pub use gate::{Gate, UrlRefusal};
pub use host_pattern::HostPattern;
pub use label::contradicts_label;
pub use no_audio::{NoAudio, Origin};
pub use recognise::recognise;
pub use source::{AudioSource, KeptAudio};
// The engine of the embedded channel reads the same parts of a file.
#[cfg(test)]
pub(crate) use bytes::tests::{Disk, both};
#[cfg(test)]
pub(crate) use layout::tests::made_flac;
pub(crate) use layout::{LONGEST, Layout, Part, Unknown};
pub(crate) use library::open;

/// Audio that can be sent to an upstream.
#[derive(Debug, Clone)]
pub struct Audio {
    /// The container of the bytes.
    pub container: Container,
    /// The bytes.
    pub bytes: AudioBytes,
    /// How long the audio plays, if its container states it.
    pub duration: Option<Duration>,
}

/// The lowest plausible rate of a recording, in bytes per second: Opus has bit rates down to 6 kbit/s.
const FEWEST_BYTES_A_SECOND: u64 = 750;

impl Audio {
    /// Returns the duration of the audio, limited to the longest one that is plausible for its size. A header of a few
    /// bytes can state a week.
    #[must_use]
    pub fn plausible_duration(&self) -> Option<Duration> {
        let most = Duration::from_secs(self.bytes.len().div_ceil(FEWEST_BYTES_A_SECOND));
        self.duration.map(|stated| stated.min(most))
    }
}

impl From<InlineAudio> for Audio {
    fn from(InlineAudio { container, bytes, duration, .. }: InlineAudio) -> Self {
        Self { container, bytes: bytes.into(), duration }
    }
}

#[cfg(test)]
mod tests {
    use ::bytes::Bytes;

    use super::*;

    fn plausible(bytes: usize, stated: Option<Duration>) -> Option<Duration> {
        let bytes = Bytes::from(vec![0; bytes]).into();
        Audio { container: Container::Flac, bytes, duration: stated }.plausible_duration()
    }

    #[test]
    fn a_stated_duration_is_limited_by_the_number_of_bytes() {
        let (minute, week) = (Duration::from_secs(60), Duration::from_secs(7 * 24 * 3600));
        assert_eq!(plausible(3 << 20, Some(minute)), Some(minute));
        assert_eq!(plausible(75_000, Some(week)), Some(Duration::from_secs(100)));
        assert_eq!(plausible(75_000, None), None);
    }
}
