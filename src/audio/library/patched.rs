//! A file in which some bytes are replaced and some are added at the end, for headers that all players accept but the
//! library refuses.

use std::io::{self, Read, Seek, SeekFrom};

use symphonia::core::io::MediaSource;

/// The offset at which bytes are replaced, and the new bytes.
pub(super) type Patch = (u64, Vec<u8>);

/// A file as it is shown.
pub(super) struct Patched<'s> {
    inner: Box<dyn MediaSource + 's>,
    /// The replacements, in order.
    patches: Vec<Patch>,
    /// The bytes that are shown behind the end of the file.
    tail: &'static [u8],
    /// The end of the file.
    end: u64,
    position: u64,
}

impl<'s> Patched<'s> {
    /// Shows the file in `inner` with the replacements, which must not overlap, and with `tail` behind it.
    pub(super) fn new(
        mut inner: Box<dyn MediaSource + 's>,
        mut patches: Vec<Patch>,
        tail: &'static [u8],
    ) -> io::Result<Self> {
        let end = inner.seek(SeekFrom::End(0))?;
        inner.seek(SeekFrom::Start(0))?;
        patches.sort_by_key(|(at, _)| *at);
        Ok(Self { inner, patches, tail, end, position: 0 })
    }
}

impl Read for Patched<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = match self.position.checked_sub(self.end) {
            Some(behind) => {
                let from = usize::try_from(behind).map_err(io::Error::other)?;
                self.tail.get(from..).unwrap_or_default().read(buf)?
            }
            None => self.inner.read(buf)?,
        };
        let (start, end) = (self.position, self.position.saturating_add(count as u64));
        let first =
            self.patches.partition_point(|(at, bytes)| at.saturating_add(bytes.len() as u64) <= start);
        let patches = self.patches.get(first..).unwrap_or_default();
        for (at, bytes) in patches.iter().take_while(|(at, _)| *at < end) {
            for (place, shown) in (*at..).zip(bytes) {
                let index = place.checked_sub(start).and_then(|index| usize::try_from(index).ok());
                if let Some(byte) = index.and_then(|index| buf.get_mut(..count)?.get_mut(index)) {
                    *byte = *shown;
                }
            }
        }
        self.position = self.position.saturating_add(count as u64);
        Ok(count)
    }
}

impl Seek for Patched<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.end.saturating_add(self.tail.len() as u64).checked_add_signed(by),
        };
        let position = position.ok_or(io::ErrorKind::InvalidInput)?;
        self.inner.seek(SeekFrom::Start(position.min(self.end)))?;
        self.position = position;
        Ok(position)
    }
}

impl MediaSource for Patched<'_> {
    fn is_seekable(&self) -> bool {
        self.inner.is_seekable()
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.end.saturating_add(self.tail.len() as u64))
    }
}
