//! Reads base64 text as the bytes it stands for, a small block at a time: random access over a payload
//! that stays encoded and stays where it is, so that no second copy of an upload is ever held. It does not know what
//! the bytes are, where the text came from or who validated it; text that is not canonical is an I/O error here.

use std::io::{self, Read, Seek, SeekFrom};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use symphonia::core::io::MediaSource;

use super::text::AudioText;

/// Characters in one quantum of base64 (RFC 4648, section 4).
const QUANTUM_TEXT: u64 = 4;
/// Bytes that one full quantum stands for.
const QUANTUM_BYTES: u64 = 3;
/// Bytes decoded at a time: a whole number of quanta, and a page of text, in which disks are read.
pub const BLOCK_BYTES: usize = 3072;
/// Characters that one full block occupies.
const BLOCK_TEXT: usize = BLOCK_BYTES / 3 * 4;

/// A seekable reader over the bytes that padded, standard-alphabet base64 text stands for.
#[derive(Debug, Clone)]
pub struct Base64Reader {
    text: AudioText,
    decoded_len: u64,
    position: u64,
    /// The text of a block, on its way to be decoded.
    encoded: Box<[u8]>,
    block: Box<[u8]>,
    /// Offset in decoded bytes at which `block` starts, and how much of it holds data.
    block_start: u64,
    block_len: usize,
}

impl Base64Reader {
    /// Wraps `text`. Nothing is decoded yet; a length that no base64 text can have, and a text that cannot be
    /// read, are found by the first read.
    #[must_use]
    pub fn new(text: impl Into<AudioText>) -> Self {
        let text = text.into();
        let mut end = [0; 2];
        let read = text.read_at(text.len().saturating_sub(2), &mut end).unwrap_or(0);
        let decoded_len = decoded_len(text.len(), end.get(..read).unwrap_or_default());
        Self {
            text,
            decoded_len,
            position: 0,
            encoded: vec![0; BLOCK_TEXT].into_boxed_slice(),
            block: vec![0; BLOCK_BYTES].into_boxed_slice(),
            block_start: 0,
            block_len: 0,
        }
    }

    /// How many bytes a text in memory stands for.
    #[must_use]
    pub fn decoded_len_of(text: &[u8]) -> u64 {
        decoded_len(text.len() as u64, text.get(text.len().saturating_sub(2)..).unwrap_or_default())
    }

    /// How many bytes the text stands for.
    #[must_use]
    pub fn decoded_len(&self) -> u64 {
        self.decoded_len
    }

    /// The decoded bytes from the current position to the end of its block; decodes the block if needed.
    fn available(&mut self) -> io::Result<&[u8]> {
        let held = self.block_start..self.block_start + self.block_len as u64;
        if !held.contains(&self.position) {
            self.load()?;
        }
        let skip = usize::try_from(self.position - self.block_start).map_err(io::Error::other)?;
        Ok(self.block.get(skip..self.block_len).unwrap_or_default())
    }

    /// Decodes the block that holds the current position.
    fn load(&mut self) -> io::Result<()> {
        // Forget the old block first: a failed decode may have overwritten part of it.
        self.block_len = 0;
        let index = self.position / BLOCK_BYTES as u64;
        self.block_start = index * BLOCK_BYTES as u64;
        let count = self.text.read_at(index * BLOCK_TEXT as u64, &mut self.encoded)?;
        let text = self.encoded.get(..count).unwrap_or_default();
        let written = STANDARD
            .decode_slice(text, &mut self.block)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        // Padding inside the text makes a block shorter than its place: everything after would shift.
        let expected = (self.decoded_len - self.block_start).min(BLOCK_BYTES as u64);
        if written as u64 != expected {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "base64 padding before the end"));
        }
        self.block_len = written;
        Ok(())
    }
}

/// What a text of this length stands for, whose last two characters are `end`.
fn decoded_len(text_len: u64, end: &[u8]) -> u64 {
    let padding = end.iter().rev().take_while(|byte| **byte == b'=').count() as u64;
    (text_len.div_ceil(QUANTUM_TEXT) * QUANTUM_BYTES).saturating_sub(padding)
}

impl Read for Base64Reader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() || self.position >= self.decoded_len {
            return Ok(0);
        }
        let available = self.available()?;
        let count = available.len().min(buf.len());
        for (to, from) in buf.iter_mut().zip(available) {
            *to = *from;
        }
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Base64Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.decoded_len.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = target.ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "seek before the start of the audio")
        })?;
        Ok(self.position)
    }
}

impl MediaSource for Base64Reader {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.decoded_len)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn reader(bytes: &[u8]) -> Base64Reader {
        Base64Reader::new(Bytes::from(STANDARD.encode(bytes)))
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
        fn any_reads_and_seeks_equal_those_of_a_cursor_over_the_decoded_bytes(
            bytes in proptest::collection::vec(any::<u8>(), 0..10_000),
            steps in proptest::collection::vec(step(), 0..40),
        ) {
            let mut ours = reader(&bytes);
            prop_assert_eq!(ours.decoded_len(), bytes.len() as u64);
            let mut theirs = Cursor::new(&bytes);
            for step in steps {
                match step {
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

        #[test]
        fn text_that_is_not_base64_is_an_error_and_never_a_panic(text in proptest::collection::vec(any::<u8>(), 0..9000)) {
            let canonical = STANDARD.decode(&text);
            let mut reader = Base64Reader::new(Bytes::from(text));
            let mut out = Vec::new();
            let read = reader.read_to_end(&mut out);
            match canonical {
                Ok(bytes) => prop_assert_eq!(out, bytes),
                Err(_) => prop_assert!(read.is_err()),
            }
        }
    }

    #[test]
    fn an_empty_text_is_an_empty_reader() {
        let mut reader = reader(&[]);
        assert_eq!(reader.decoded_len(), 0);
        assert_eq!(reader.read(&mut [0; 8]).unwrap(), 0);
    }

    #[test]
    fn padding_in_the_middle_is_an_error() {
        // Two encoded payloads glued together, the first ending in padding at the end of a block.
        let mut text = STANDARD.encode(vec![7; BLOCK_BYTES - 1]);
        text.push_str(&STANDARD.encode([1, 2, 3]));
        let mut out = Vec::new();
        let error = Base64Reader::new(Bytes::from(text)).read_to_end(&mut out).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_text_cut_in_a_quantum_is_an_error() {
        let mut out = Vec::new();
        let error = Base64Reader::new(Bytes::from_static(b"QUJDRA")).read_to_end(&mut out).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_reader_can_cross_threads_and_tells_its_length() {
        fn assert_source<T: MediaSource + Send + Sync>(source: &T) -> Option<u64> {
            source.byte_len()
        }
        assert_eq!(assert_source(&reader(b"hearken")), Some(7));
    }
}
