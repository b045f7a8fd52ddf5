//! Where the links of an Ogg file lie: a file is a chain of them, each with streams of its own. Where a page begins a
//! stream and the one before did not, another link begins.

use std::io;
use std::time::Duration;

use super::beginning::{self, Beginning, Within};
use super::scan::Scan;
use super::{Layout, Part, time};
use crate::audio::container::Container;
use crate::audio::format::ogg::{LONGEST_HEADER, Page, Sound};
use crate::audio::reading::Source;

/// As much is looked at of a page: its header, and the beginning of the packet that describes a stream.
const HEAD: usize = LONGEST_HEADER + 64;
/// Seconds that one page may hold; a first page that ends later belongs to a stream that was joined while it ran.
const LONGEST_PAGE: u64 = 60;

/// Finds the links from `start` on, and the file of another kind that follows.
pub(super) fn find<S: Source>(
    layout: &mut Layout,
    scan: &mut Scan<'_, S>,
    start: u64,
) -> io::Result<Option<Beginning>> {
    let end = scan.range.end;
    let mut at = start;
    let mut last = at;
    let mut link = Link::begin(at);
    while at < end {
        let head = scan.bytes(at, HEAD)?;
        let Some(page) = Page::read(head) else {
            match beginning::next(scan, at, Within::Ogg)? {
                Some(next) if next.container == Container::Ogg => at = next.at.max(at + 1),
                Some(next) => {
                    layout.push(link.part(last));
                    return Ok(Some(next));
                }
                None => break,
            }
            continue;
        };
        let packet = head.get(page.header..).filter(|_| page.begins);
        let stream = packet.and_then(|packet| Stream::read(page.serial, packet));
        if page.begins && link.has_content {
            if !layout.push(link.part(last)) {
                return Ok(None);
            }
            link = Link::begin(at);
        }
        at = at.saturating_add(page.header as u64).saturating_add(page.payload);
        link.add(&page, stream, at <= end);
        last = at.min(end);
    }
    layout.push(link.part(if scan.is_exhausted() { end } else { last }));
    Ok(None)
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

    /// Adds a page, and the stream that it begins if that is one of sound.
    fn add(&mut self, page: &Page, stream: Option<Stream>, is_whole: bool) {
        self.has_content |= !page.begins;
        self.is_cut = page.goes_on || !is_whole;
        self.sound = self.sound.or(stream);
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
        Part { container: Container::Ogg, range: self.start..end, duration, is_cut: self.is_cut }
    }

    fn duration(&self) -> Option<Duration> {
        let Stream { rate, skipped, .. } = self.sound?;
        let (first, last) = (self.first?, self.last?);
        let start = if first > LONGEST_PAGE * u64::from(rate) { first } else { skipped };
        Some(time(last.saturating_sub(start), rate))
    }
}

/// A stream whose samples are counted.
#[derive(Debug, Clone, Copy)]
struct Stream {
    serial: [u8; 4],
    rate: u32,
    /// Samples to drop from the start.
    skipped: u64,
}

impl Stream {
    /// Reads the first packet of a stream; `None` if it is not known to be of sound, or not at which rate.
    fn read(serial: [u8; 4], packet: &[u8]) -> Option<Self> {
        let Sound { rate, skipped, .. } = Sound::read(packet)?;
        Some(Self { serial, rate: rate?, skipped })
    }
}
