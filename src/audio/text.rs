//! The base64 text of a piece of audio, wherever it lies: in memory, or on a disk from where it is read a piece at
//! a time, so that nobody has to hold all of it.

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

/// A text that can be read from any place. Reading blocks.
pub trait TextAt: Send + Sync {
    /// Fills `buf` with what stands at `offset`, as far as the text goes; returns how many bytes that are.
    ///
    /// # Errors
    /// When the text cannot be read.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;
}

/// The base64 text of a piece of audio: standard alphabet, padded, no white space. Cheap to clone.
#[derive(Clone)]
pub enum AudioText {
    /// All of it is in memory.
    Held(Bytes),
    /// It is stored elsewhere.
    Stored {
        /// Where to read it.
        text: Arc<dyn TextAt>,
        /// Its length.
        bytes: u64,
    },
}

impl AudioText {
    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Held(text) => text.len() as u64,
            Self::Stored { bytes, .. } => *bytes,
        }
    }

    /// Is there no audio at all?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buf` with what stands at `offset`, as far as the text goes; returns how many bytes that are.
    ///
    /// # Errors
    /// When a stored text cannot be read.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Held(text) => {
                let from =
                    usize::try_from(offset).ok().and_then(|offset| text.get(offset..)).unwrap_or_default();
                let count = from.len().min(buf.len());
                for (to, from) in buf.iter_mut().zip(from) {
                    *to = *from;
                }
                Ok(count)
            }
            Self::Stored { text, .. } => text.read_at(offset, buf),
        }
    }
}

impl From<Bytes> for AudioText {
    fn from(text: Bytes) -> Self {
        Self::Held(text)
    }
}

impl fmt::Debug for AudioText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if matches!(self, Self::Held(_)) { "Held" } else { "Stored" };
        write!(f, "{kind}({} bytes)", self.len())
    }
}
