//! The outer boxes of an MPEG-4 file (ISO/IEC 14496-12), and a view of the file in which none of them says that it
//! goes on behind the end: the library passes over such a box, and finds no sample in a file whose last bytes are
//! missing.

use std::io::{self, Read, Seek, SeekFrom};

use symphonia::core::io::MediaSource;

use super::container::read_at;

/// Boxes that are looked at; a file in fragments has two for each of them.
const BOXES: usize = 100_000;

/// An outer box, by its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OuterBox {
    pub(super) kind: [u8; 4],
    pub(super) start: u64,
    /// Where it says that it ends.
    pub(super) end: u64,
    /// Whether its size is written in 64 bits.
    is_long: bool,
}

/// Calls `visit` with each outer box from `at` on, as far as there are any.
pub(super) fn each<S: Read + Seek>(
    source: &mut S,
    mut at: u64,
    end: u64,
    mut visit: impl FnMut(OuterBox),
) -> io::Result<()> {
    for _ in 0..BOXES {
        if at >= end {
            break;
        }
        let head = read_at::<16>(source, at)?;
        let Some(found) = parse(head.bytes(), at, end) else { break };
        visit(found);
        at = found.end;
    }
    Ok(())
}

fn parse(bytes: &[u8], start: u64, end: u64) -> Option<OuterBox> {
    let (size, rest) = bytes.split_first_chunk::<4>()?;
    let (kind, rest) = rest.split_first_chunk::<4>()?;
    let (size, least, is_long) = match u32::from_be_bytes(*size) {
        0 => (end.saturating_sub(start), 8, false),
        1 => (u64::from_be_bytes(*rest.first_chunk()?), 16, true),
        size => (u64::from(size), 8, false),
    };
    let is_kind = kind.iter().all(|byte| byte.is_ascii_graphic() || matches!(byte, b' ' | 0xa9));
    (is_kind && size >= least).then(|| OuterBox {
        kind: *kind,
        start,
        end: start.saturating_add(size),
        is_long,
    })
}

/// A file whose last box ends where the file ends.
pub(super) struct Clipped<'s> {
    inner: Box<dyn MediaSource + 's>,
    /// Where the size of the last box stands, and what is shown there.
    patch: Option<(u64, Vec<u8>)>,
    position: u64,
}

impl<'s> Clipped<'s> {
    /// Looks at the boxes of the file that `inner` holds.
    pub(super) fn new(mut inner: Box<dyn MediaSource + 's>) -> io::Result<Self> {
        let end = inner.seek(SeekFrom::End(0))?;
        let mut patch = None;
        each(&mut inner, 0, end, |found| {
            let there = end.saturating_sub(found.start);
            if found.end > end && &found.kind == b"mdat" {
                patch = match (found.is_long, u32::try_from(there)) {
                    (true, _) => Some((found.start + 8, there.to_be_bytes().to_vec())),
                    (false, Ok(there)) => Some((found.start, there.to_be_bytes().to_vec())),
                    (false, Err(_)) => None,
                };
            }
        })?;
        inner.seek(SeekFrom::Start(0))?;
        Ok(Self { inner, patch, position: 0 })
    }
}

impl Read for Clipped<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buf)?;
        if let Some((at, bytes)) = &self.patch {
            for (byte, place) in buf.iter_mut().take(count).zip(self.position..) {
                let shown = place.checked_sub(*at).and_then(|index| bytes.get(usize::try_from(index).ok()?));
                *byte = shown.copied().unwrap_or(*byte);
            }
        }
        self.position = self.position.saturating_add(count as u64);
        Ok(count)
    }
}

impl Seek for Clipped<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = self.inner.seek(to)?;
        Ok(self.position)
    }
}

impl MediaSource for Clipped<'_> {
    fn is_seekable(&self) -> bool {
        self.inner.is_seekable()
    }

    fn byte_len(&self) -> Option<u64> {
        self.inner.byte_len()
    }
}
