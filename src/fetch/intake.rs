//! Processes the bytes of a download, one piece at a time: decompresses them if necessary, counts them and writes them.
//! At the end it examines the file. All of this blocks the thread.

use std::io::{self, BufWriter, Write};

use awc::http::header::{self, HeaderMap};
use flate2::write::MultiGzDecoder;

use super::FetchError;
use crate::audio::{Audio, AudioBytes, NoAudio, base64_len, recognise, stated_duration};
use crate::store::Download;

/// The number of bytes that are written together.
const WRITE_BYTES: usize = 64 * 1024;

/// The coding that a response states for its body. It is only a hint, and the bytes decide: storage services state
/// `aws-chunked`, `utf-8` or `none` for files that they send unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// The body is not coded, or the stated coding does not change the bytes.
    Identity,
    /// The body is coded with gzip. hearken does not request this, but some servers store files in gzip and send them
    /// so.
    Gzip,
    /// The body has this coding, which hearken does not decode.
    Other(&'static str),
}

/// Compressions that hearken does not decode.
const OTHERS: [&str; 5] = ["br", "zstd", "deflate", "compress", "lzma"];

impl Coding {
    /// Reads the coding from the header.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::CONTENT_ENCODING).filter_map(|value| value.to_str().ok());
        let codings: Vec<_> = values
            .flat_map(|value| value.split(','))
            .map(|coding| coding.trim().to_ascii_lowercase())
            .collect();
        if let Some(other) = OTHERS.into_iter().find(|other| codings.iter().any(|coding| coding == other)) {
            Self::Other(other)
        } else if codings.iter().any(|coding| matches!(coding.as_str(), "gzip" | "x-gzip")) {
            Self::Gzip
        } else {
            Self::Identity
        }
    }
}

/// The limits for a download.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// The most bytes of the file.
    file: u64,
    /// The most bytes of its base64 text, the form that upstreams get.
    text: u64,
}

impl Bounds {
    pub(super) fn new(file: u64, text: u64) -> Self {
        Self { file, text }
    }

    /// Checks that a file of this size is within both bounds.
    pub(super) fn check(self, bytes: u64) -> Result<(), FetchError> {
        if bytes > self.file {
            Err(FetchError::FileTooLarge(self.file))
        } else if base64_len(bytes) > self.text {
            Err(FetchError::TextTooLarge(self.text))
        } else {
            Ok(())
        }
    }
}

/// The first bytes of gzip, with its only compression method.
const GZIP: &[u8] = b"\x1f\x8b\x08";

/// Receives a download.
#[derive(Debug)]
pub(super) struct Intake {
    coding: Coding,
    through: Through,
}

/// The writer to which the bytes are passed.
#[derive(Debug)]
enum Through {
    /// The writer is not chosen yet: the first bytes decide.
    Undecided(Box<Counter>),
    /// The bytes are written unchanged.
    Identity(Box<Counter>),
    /// The bytes pass through a decompressor.
    Gzip(Box<MultiGzDecoder<Counter>>),
}

impl Intake {
    pub(super) fn new(download: Download, coding: Coding, bounds: Bounds) -> Self {
        let spool = BufWriter::with_capacity(WRITE_BYTES, Spool(download));
        let counter = Counter { bounds, bytes: 0, spool };
        Self { coding, through: Through::Undecided(Box::new(counter)) }
    }

    /// Receives the next piece of the body. The first piece is long enough to recognise gzip.
    ///
    /// # Errors
    /// Returns an error if the body is invalid, exceeds a limit, or the store fails.
    pub(super) fn take(mut self, piece: &[u8]) -> Result<Self, FetchError> {
        if let Through::Undecided(counter) = self.through {
            self.through = if self.coding == Coding::Gzip && piece.starts_with(GZIP) {
                Through::Gzip(Box::new(MultiGzDecoder::new(*counter)))
            } else {
                Through::Identity(counter)
            };
        }
        match &mut self.through {
            Through::Undecided(counter) | Through::Identity(counter) => counter.write_all(piece),
            Through::Gzip(decoder) => decoder.write_all(piece),
        }
        .map_err(cause)?;
        Ok(self)
    }

    /// Completes the download at the end of the body. Returns the audio and the length of its file.
    ///
    /// # Errors
    /// Returns an error if the body is invalid, exceeds a limit, or the store fails.
    pub(super) fn finish(self) -> Result<(Audio, u64), FetchError> {
        let counter = match self.through {
            Through::Undecided(counter) | Through::Identity(counter) => *counter,
            Through::Gzip(decoder) => decoder.finish().map_err(cause)?,
        };
        let bytes = counter.bytes;
        let spool = counter.spool.into_inner().map_err(|err| cause(err.into_error()))?;
        let audio = examine(spool.0.finish()).map_err(|err| match (err, self.coding) {
            (FetchError::NoAudio(NoAudio::Unknown), Coding::Other(coding)) => FetchError::Coding(coding),
            (err, _) => err,
        })?;
        Ok((audio, bytes))
    }
}

/// Examines the downloaded file.
fn examine(bytes: AudioBytes) -> Result<Audio, FetchError> {
    let mut reader = bytes.reader();
    let container = recognise(&mut reader).map_err(FetchError::Reading)?;
    let container = container.map_err(FetchError::NoAudio)?;
    let duration = stated_duration(&mut reader, container);
    Ok(Audio { container, bytes, duration })
}

/// Counts the bytes of the file and passes them on.
#[derive(Debug)]
pub(super) struct Counter {
    bounds: Bounds,
    bytes: u64,
    spool: BufWriter<Spool>,
}

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes += bytes.len() as u64;
        self.bounds.check(self.bytes).map_err(io::Error::other)?;
        self.spool.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct Spool(Download);

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.append(bytes).map_err(|err| io::Error::other(FetchError::Store(err)))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the cause of an I/O error. The writers can report only I/O errors, so hearken's own errors are wrapped in
/// them; every other error comes from the decompressor.
fn cause(err: io::Error) -> FetchError {
    err.downcast().unwrap_or(FetchError::Gzip)
}
