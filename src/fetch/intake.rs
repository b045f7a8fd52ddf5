//! What becomes of the bytes of a download: they are decompressed where necessary, counted and written, a piece at a
//! time, and examined at the end. All of it blocks.

use std::io::{self, BufWriter, Write};

use awc::http::header::{self, HeaderMap};
use flate2::write::MultiGzDecoder;

use super::FetchError;
use crate::audio::{Audio, AudioBytes, NoAudio, base64_len, recognise, stated_duration};
use crate::store::Download;

/// Bytes that are written together.
const WRITE_BYTES: usize = 64 * 1024;

/// What a response says of how its body is coded. It is a hint: storages say `aws-chunked`, `utf-8` or `none` of files that
/// they send as they are, and the bytes decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// Not at all, or in a way that is none.
    Identity,
    /// With gzip; it was not asked for, and yet files that are stored so are sent so.
    Gzip,
    /// In this way, which is not undone here.
    Other(&'static str),
}

/// Ways of compression that are not undone here.
const OTHERS: [&str; 5] = ["br", "zstd", "deflate", "compress", "lzma"];

impl Coding {
    /// What the header says.
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

/// How much may come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Bytes of the file.
    file: u64,
    /// Bytes of its base64 text, which is how upstreams get it.
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

/// How gzip begins, with the only method that it has.
const GZIP: &[u8] = b"\x1f\x8b\x08";

/// Takes in a download.
#[derive(Debug)]
pub(super) struct Intake {
    coding: Coding,
    through: Through,
}

/// The way of the bytes.
#[derive(Debug)]
enum Through {
    /// The first of them decide.
    Undecided(Box<Counter>),
    /// As they are.
    Identity(Box<Counter>),
    /// Through a decompressor.
    Gzip(Box<MultiGzDecoder<Counter>>),
}

impl Intake {
    pub(super) fn new(download: Download, coding: Coding, bounds: Bounds) -> Self {
        let spool = BufWriter::with_capacity(WRITE_BYTES, Spool(download));
        let counter = Counter { bounds, bytes: 0, spool };
        Self { coding, through: Through::Undecided(Box::new(counter)) }
    }

    /// Takes in the next piece of the body. The first one is long enough to tell what it is.
    ///
    /// # Errors
    /// What is wrong with the body, or with the store.
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

    /// The body is complete: the audio, and the length of its file.
    ///
    /// # Errors
    /// What is wrong with the body, or with the store.
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

/// What was downloaded.
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

/// What really went wrong. Our own errors travel through writers that know only errors of I/O; what is none of ours
/// is the decompressor's.
fn cause(err: io::Error) -> FetchError {
    err.downcast().unwrap_or(FetchError::Gzip)
}
