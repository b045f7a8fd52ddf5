//! Pages of Ogg (RFC 3533): a file is a chain of links, each with streams of its own. Where a page begins a stream and
//! the one before did not, another link begins.

use std::io;
use std::time::Duration;

use super::scan::Scan;
use super::{Layout, Part, time};
use crate::audio::library::Source;

/// Length of a page's header without the sizes of its segments.
const HEADER: usize = 27;

/// As much is looked at of a page: its header, and the beginning of the packet that describes a stream.
const HEAD: usize = HEADER + 255 + 64;
/// Seconds that one page may hold; a first page that ends later belongs to a stream that was joined while it ran.
const LONGEST_PAGE: u64 = 60;

/// Finds the links.
pub(super) fn find<S: Source>(layout: &mut Layout, scan: &mut Scan<'_, S>) -> io::Result<()> {
    let end = scan.range.end;
    let mut at = scan.range.start;
    let mut last = at;
    let mut link = Link::begin(at);
    while at < end {
        let Some(page) = page(scan, at)? else {
            at = next_page(scan, at + 1)?;
            continue;
        };
        if page.is_first && link.has_content {
            if !layout.push(link.part(at)) {
                return Ok(());
            }
            link = Link::begin(at);
        }
        at = at.saturating_add(page.size);
        link.add(&page, at <= end);
        last = at.min(end);
    }
    layout.push(link.part(if scan.is_exhausted() { end } else { last }));
    Ok(())
}

/// A link of the chain.
struct Link {
    start: u64,
    has_content: bool,
    /// Whether its last page is cut off, or ends in the middle of a packet.
    is_cut: bool,
    sound: Option<Stream>,
    /// Samples at the ends of the first page and of the last one of its sound.
    first: Option<u64>,
    last: Option<u64>,
}

impl Link {
    fn begin(start: u64) -> Self {
        Self { start, has_content: false, is_cut: false, sound: None, first: None, last: None }
    }

    fn add(&mut self, page: &Page, is_whole: bool) {
        self.has_content |= !page.is_first;
        self.is_cut = page.goes_on || !is_whole;
        if page.is_first && self.sound.is_none() {
            self.sound = page.stream;
        }
        // No position: no packet ends on the page. Position 0: there are only headers.
        let is_of_sound = self.sound.is_some_and(|sound| sound.serial == page.serial);
        if is_of_sound && is_whole && !matches!(page.position, 0 | u64::MAX) {
            self.first.get_or_insert(page.position);
            self.last = Some(page.position);
        }
    }

    fn part(&self, end: u64) -> Part {
        // The library knows better where a stream was joined while it ran, but not what is left of one that is cut.
        let duration = if self.is_cut { self.duration() } else { None };
        Part { range: self.start..end, duration, is_cut: self.is_cut }
    }

    fn duration(&self) -> Option<Duration> {
        let Stream { rate, skipped, .. } = self.sound?;
        let (first, last) = (self.first?, self.last?);
        let start = if first > LONGEST_PAGE * u64::from(rate) { first } else { skipped };
        Some(time(last.saturating_sub(start), rate))
    }
}

/// A stream of sound, by its first packet.
#[derive(Debug, Clone, Copy)]
struct Stream {
    serial: [u8; 4],
    rate: u32,
    /// Samples to drop from the start.
    skipped: u64,
}

impl Stream {
    fn read(serial: [u8; 4], packet: &[u8]) -> Option<Self> {
        let number = |at: usize| packet.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        let (rate, skipped) = match packet {
            [1, b'v', b'o', b'r', b'b', b'i', b's', ..] => (number(12)?, 0),
            // Always in samples of 48 kHz.
            [b'O', b'p', b'u', b's', b'H', b'e', b'a', b'd', _, _, a, b, ..] => {
                (48_000, u64::from(u16::from_le_bytes([*a, *b])))
            }
            [b'S', b'p', b'e', b'e', b'x', b' ', b' ', b' ', ..] => (number(36)?, 0),
            [0x7f, b'F', b'L', b'A', b'C', ..] => {
                let rate = packet.get(27..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))?;
                (rate >> 12, 0)
            }
            _ => return None,
        };
        (rate > 0).then_some(Self { serial, rate, skipped })
    }
}

struct Page {
    size: u64,
    is_first: bool,
    goes_on: bool,
    serial: [u8; 4],
    /// Samples at its end.
    position: u64,
    /// The stream that it begins.
    stream: Option<Stream>,
}

/// Reads the header of the page at `at`, if there is one.
fn page<S: Source>(scan: &mut Scan<'_, S>, at: u64) -> io::Result<Option<Page>> {
    let head = scan.bytes(at, HEAD)?;
    let [b'O', b'g', b'g', b'S', 0, flags, rest @ ..] = head else { return Ok(None) };
    let Some((position, rest)) = rest.split_first_chunk::<8>() else { return Ok(None) };
    let (Some(serial), Some(count)) = (rest.first_chunk::<4>(), head.get(HEADER - 1)) else {
        return Ok(None);
    };
    let count = usize::from(*count);
    let segments = head.get(HEADER..).unwrap_or_default();
    let segments = segments.get(..count).unwrap_or(segments);
    let content: u64 = segments.iter().map(|size| u64::from(*size)).sum();
    let is_first = flags & 2 != 0;
    let packet = head.get(HEADER + count..).filter(|_| is_first);
    Ok(Some(Page {
        size: (HEADER + count) as u64 + content,
        is_first,
        goes_on: segments.last() == Some(&255),
        serial: *serial,
        position: u64::from_le_bytes(*position),
        stream: packet.and_then(|packet| Stream::read(*serial, packet)),
    }))
}

/// Returns where the next page begins from `at` on, or the end.
fn next_page<S: Source>(scan: &mut Scan<'_, S>, mut at: u64) -> io::Result<u64> {
    let end = scan.range.end;
    loop {
        let block = scan.block(at)?;
        if block.len() < 4 {
            return Ok(end);
        }
        if let Some(found) = memchr::memmem::find(block, b"OggS") {
            return Ok(at + found as u64);
        }
        at += block.len() as u64 - 3;
    }
}
