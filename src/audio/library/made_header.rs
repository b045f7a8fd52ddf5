//! A file behind a header that was made for it: the library reads a header in its plainest form, then the samples
//! unchanged. The modules of the formats parse the original headers that the library cannot read.

use std::io::{self, Read, Seek, SeekFrom};

use symphonia::core::io::MediaSource;

use crate::audio::format::chunks::Shape;

/// A file behind a header that was made for it.
pub(super) struct MadeHeader<'s> {
    inner: Box<dyn MediaSource + 's>,
    shape: Shape,
    position: u64,
}

impl<'s> MadeHeader<'s> {
    /// Shows the file that `inner` holds in the given shape.
    pub(super) fn new(inner: Box<dyn MediaSource + 's>, shape: Shape) -> Self {
        Self { inner, shape, position: 0 }
    }

    /// Returns the length of the file as it is shown.
    fn end(&self) -> u64 {
        self.shape.length.saturating_add(self.shape.header.len() as u64)
    }
}

impl Read for MadeHeader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let made = self.shape.header.len() as u64;
        let count = match self.position.checked_sub(made) {
            None => {
                let from = usize::try_from(self.position).map_err(io::Error::other)?;
                self.shape.header.get(from..).unwrap_or_default().read(buf)?
            }
            Some(behind) => {
                self.inner.seek(SeekFrom::Start(self.shape.data.saturating_add(behind)))?;
                (&mut self.inner).take(self.shape.length.saturating_sub(behind)).read(buf)?
            }
        };
        self.position = self.position.saturating_add(count as u64);
        Ok(count)
    }
}

impl Seek for MadeHeader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.end().checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl MediaSource for MadeHeader<'_> {
    fn is_seekable(&self) -> bool {
        self.inner.is_seekable()
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.end())
    }
}

#[cfg(test)]
pub(crate) mod tests;
