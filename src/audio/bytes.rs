//! The bytes of an audio file: in memory, or on a disk. Bytes on a disk are read a piece at a time, so that a file is
//! never in memory as a whole.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;
use symphonia::core::io::MediaSource;

/// Bytes that can be read from any offset. Reading blocks.
pub trait BytesAt: Send + Sync {
    /// Fills `buf` with the bytes at `offset`, fewer if the data ends before; returns how many were read.
    ///
    /// # Errors
    /// When the bytes cannot be read.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;
}

/// The bytes of an audio file. Cheap to clone.
#[derive(Clone)]
pub enum AudioBytes {
    /// All bytes are in memory.
    Held(Bytes),
    /// The bytes are on a disk.
    Stored {
        /// Reads the bytes.
        source: Arc<dyn BytesAt>,
        /// The number of bytes.
        len: u64,
    },
}

impl AudioBytes {
    /// Returns the number of bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Held(bytes) => bytes.len() as u64,
            Self::Stored { len, .. } => *len,
        }
    }

    /// Returns true if there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns `count` bytes from `offset` on. Copies only bytes that are stored elsewhere.
    ///
    /// # Errors
    /// When stored bytes cannot be read, or end too early.
    pub fn piece(&self, offset: u64, count: usize) -> io::Result<Bytes> {
        match self {
            Self::Held(bytes) => {
                let start = usize::try_from(offset).map_err(io::Error::other)?;
                let end = start.checked_add(count).filter(|end| *end <= bytes.len());
                Ok(bytes.slice(start..end.ok_or(io::ErrorKind::UnexpectedEof)?))
            }
            Self::Stored { source, .. } => {
                let mut piece = vec![0; count];
                if source.read_at(offset, &mut piece)? < count {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Ok(piece.into())
            }
        }
    }

    /// Returns a reader that begins at the first byte.
    #[must_use]
    pub fn reader(&self) -> AudioReader {
        let block = if let Self::Held(bytes) = self { bytes.clone() } else { Bytes::new() };
        AudioReader { audio: self.clone(), position: 0, block, block_start: 0 }
    }
}

impl From<Bytes> for AudioBytes {
    fn from(bytes: Bytes) -> Self {
        Self::Held(bytes)
    }
}

impl fmt::Debug for AudioBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if matches!(self, Self::Held(_)) { "Held" } else { "Stored" };
        write!(f, "{kind}({} bytes)", self.len())
    }
}

/// The number of bytes that are read from a disk at once.
const BLOCK_BYTES: u64 = 4096;

/// Reads audio from any offset. Reading blocks if the audio is stored.
#[derive(Debug, Clone)]
pub struct AudioReader {
    audio: AudioBytes,
    position: u64,
    /// The block that was read last, and where it begins: all of the audio if it is in memory.
    block: Bytes,
    block_start: u64,
}

impl AudioReader {
    /// Returns the bytes that are available from the position on. Reads a block first if there are none.
    fn available(&mut self) -> io::Result<&[u8]> {
        let held = self.block_start..self.block_start + self.block.len() as u64;
        if !held.contains(&self.position) {
            let start = self.position / BLOCK_BYTES * BLOCK_BYTES;
            let count =
                usize::try_from((self.audio.len() - start).min(BLOCK_BYTES)).map_err(io::Error::other)?;
            self.block = self.audio.piece(start, count)?;
            self.block_start = start;
        }
        let skip = usize::try_from(self.position - self.block_start).map_err(io::Error::other)?;
        Ok(self.block.get(skip..).unwrap_or_default())
    }
}

impl Read for AudioReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.audio.len() {
            return Ok(0);
        }
        let count = self.available()?.read(buf)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for AudioReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.audio.len().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = target.ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "seek before the start of the audio")
        })?;
        Ok(self.position)
    }
}

impl MediaSource for AudioReader {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.audio.len())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    /// Simulates a file on a disk.
    pub(crate) struct Disk(pub(crate) Bytes);

    impl BytesAt for Disk {
        fn read_at(&self, offset: u64, mut buf: &mut [u8]) -> io::Result<usize> {
            let from = usize::try_from(offset).unwrap().min(self.0.len());
            io::Write::write(&mut buf, &self.0[from..])
        }
    }

    /// Returns the same bytes in memory and on a disk.
    pub(crate) fn both(bytes: Vec<u8>) -> [AudioBytes; 2] {
        let bytes = Bytes::from(bytes);
        let stored = AudioBytes::Stored { len: bytes.len() as u64, source: Arc::new(Disk(bytes.clone())) };
        [AudioBytes::Held(bytes), stored]
    }

    #[derive(Debug, Clone)]
    enum Step {
        Read(usize),
        Start(u64),
        End(i64),
        Current(i64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0usize..5000).prop_map(Step::Read),
            (0u64..12_000).prop_map(Step::Start),
            (-12_000i64..1000).prop_map(Step::End),
            (-8000i64..8000).prop_map(Step::Current),
        ]
    }

    proptest! {
        #[test]
        fn a_reader_reads_and_seeks_like_a_cursor(
            bytes in proptest::collection::vec(any::<u8>(), 0..10_000),
            steps in proptest::collection::vec(step(), 0..40),
        ) {
            for mut ours in both(bytes.clone()).map(|audio| audio.reader()) {
                let mut theirs = Cursor::new(&bytes);
                prop_assert_eq!(ours.byte_len(), Some(bytes.len() as u64));
                for step in &steps {
                    match *step {
                        Step::Read(count) => {
                            let (mut a, mut b) = (Vec::new(), Vec::new());
                            (&mut ours).take(count as u64).read_to_end(&mut a).unwrap();
                            (&mut theirs).take(count as u64).read_to_end(&mut b).unwrap();
                            prop_assert_eq!(a, b);
                        }
                        Step::Start(to) => prop_assert_eq!(
                            ours.seek(SeekFrom::Start(to)).unwrap(), theirs.seek(SeekFrom::Start(to)).unwrap()),
                        Step::End(to) => prop_assert_eq!(
                            ours.seek(SeekFrom::End(to)).ok(), theirs.seek(SeekFrom::End(to)).ok()),
                        Step::Current(to) => prop_assert_eq!(
                            ours.seek(SeekFrom::Current(to)).ok(), theirs.seek(SeekFrom::Current(to)).ok()),
                    }
                }
            }
        }
    }

    #[test]
    fn stored_bytes_that_are_cut_off_are_an_error() {
        let audio = AudioBytes::Stored { source: Arc::new(Disk(Bytes::from_static(b"RIFF"))), len: 5 };
        assert_eq!(audio.piece(0, 4).unwrap(), "RIFF");
        assert_eq!(audio.piece(1, 4).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert!(audio.reader().read_to_end(&mut Vec::new()).is_err());
        assert!(AudioBytes::from(Bytes::from_static(b"RIFF")).piece(1, 4).is_err());
    }
}
