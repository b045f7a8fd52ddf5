//! The outer boxes of an MPEG-4 file (ISO/IEC 14496-12), and a view of the file in which none of them says that it
//! goes on behind the end: the library passes over such a box, and finds no sample in a file whose last bytes are
//! missing.

use std::io::{self, Read, Seek, SeekFrom};

use symphonia::core::io::MediaSource;

use super::container::read_at;
use super::patched::Patched;

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

/// How a file begins that says its type, for those that do not.
const TYPE: &[u8] = b"\0\0\0\x10ftypM4A \0\0\0\0";

/// Shows a file whose last box ends where the file ends, and that says its type: QuickTime wrote none, and the library
/// reads nothing without it. It may stand behind everything else, so that no other box moves.
pub(super) fn put_in_order<'s>(mut inner: Box<dyn MediaSource + 's>) -> io::Result<Patched<'s>> {
    let end = inner.seek(SeekFrom::End(0))?;
    let (mut patch, mut has_type) = (None, false);
    each(&mut inner, 0, end, |found| {
        has_type |= &found.kind == b"ftyp";
        let there = end.saturating_sub(found.start);
        // A size of 0 stands for the end, which is to be further away.
        if found.end >= end && &found.kind == b"mdat" {
            patch = match (found.is_long, u32::try_from(there)) {
                (true, _) => Some((found.start + 8, there.to_be_bytes().to_vec())),
                (false, Ok(there)) => Some((found.start, there.to_be_bytes().to_vec())),
                (false, Err(_)) => None,
            };
        }
    })?;
    Patched::new(inner, patch, if has_type { &[] } else { TYPE })
}
