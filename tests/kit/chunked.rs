//! HTTP/1.1's chunked framing: adds it, and removes it as it arrives.

use std::io::Write as _;

use super::Outcome;

/// The end of a chunked body.
pub(crate) const LAST: &[u8] = b"0\r\n\r\n";

/// The most digits of a chunk's size: no sender here has chunks of 4 GiB.
const MOST_DIGITS: u8 = 8;

/// Appends data as one chunk.
pub(crate) fn chunk(data: &[u8], to: &mut Vec<u8>) {
    // A write to a Vec cannot fail.
    let _ = write!(to, "{:x}\r\n", data.len());
    to.extend_from_slice(data);
    to.extend_from_slice(b"\r\n");
}

/// A body that is being received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunked {
    expects: Expects,
    /// The size of a chunk as far as it is read, and then the number of its bytes that are still to come.
    left: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expects {
    /// The number of digits that were read.
    Size(u8),
    Extension,
    SizeFeed,
    Data,
    DataReturn,
    DataFeed,
    /// The line end after the last chunk. No server here sends trailers.
    LastReturn,
    LastFeed,
    Nothing,
}

impl Chunked {
    pub(crate) const fn new() -> Self {
        Self { expects: Expects::Size(0), left: 0 }
    }

    /// Returns true if the last chunk has arrived.
    pub(crate) fn is_over(&self) -> bool {
        self.expects == Expects::Nothing
    }

    /// Takes received bytes, and passes on the data in the chunks, piece by piece.
    pub(crate) fn take(&mut self, mut bytes: &[u8], mut on_data: impl FnMut(&[u8])) -> Outcome<()> {
        while let Some(first) = bytes.first() {
            if self.expects == Expects::Data {
                let (data, rest) = bytes.split_at(self.left.min(bytes.len()));
                on_data(data);
                self.left -= data.len();
                bytes = rest;
                if self.left == 0 {
                    self.expects = Expects::DataReturn;
                }
            } else {
                self.step(*first)?;
                bytes = &bytes[1..];
            }
        }
        Ok(())
    }

    fn step(&mut self, byte: u8) -> Outcome<()> {
        self.expects = match (self.expects, byte) {
            (Expects::Size(digits), _) if byte.is_ascii_hexdigit() && digits < MOST_DIGITS => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                self.left = self.left << 4 | digit as usize;
                Expects::Size(digits + 1)
            }
            (Expects::Size(1..), b';') => Expects::Extension,
            (Expects::Size(1..) | Expects::Extension, b'\r') => Expects::SizeFeed,
            (Expects::Extension, _) => Expects::Extension,
            (Expects::SizeFeed, b'\n') if self.left == 0 => Expects::LastReturn,
            (Expects::SizeFeed, b'\n') => Expects::Data,
            (Expects::DataReturn, b'\r') => Expects::DataFeed,
            (Expects::DataFeed, b'\n') => Expects::Size(0),
            (Expects::LastReturn, b'\r') => Expects::LastFeed,
            (Expects::LastFeed, b'\n') => Expects::Nothing,
            (expects, _) => {
                return Err(format!("byte {byte:#04x} breaks chunked framing at {expects:?}").into());
            }
        };
        Ok(())
    }
}
