//! Shows an Ogg file as a stream of pages that the library accepts. The library refuses a page whose checksum is wrong
//! or whose end is missing, with all its packets, and the whole file if that page is among the first.

use std::io::{self, Read, Seek, SeekFrom};

use symphonia::core::io::MediaSource;

use crate::audio::format::ogg::{self, FoundPage, MOST_NEEDED, PageHeader, PageState};

/// The number of bytes that are read at a time.
const BLOCK: usize = 64 << 10;
/// The most streams that are followed.
const STREAMS: usize = 16;
/// An empty tags packet of Opus. The library accepts no packet of sound before it has read tags.
const NO_TAGS: &[u8; 16] = b"OpusTags\0\0\0\0\0\0\0\0";

/// An Ogg file as it is shown.
pub(super) struct OggPages<'s> {
    inner: Box<dyn MediaSource + 's>,
    /// The bytes that were read, and up to where they were used.
    block: Vec<u8>,
    taken: usize,
    /// The page that is being shown, and up to where it was shown.
    page: Vec<u8>,
    shown: usize,
    streams: Vec<FollowedStream>,
}

/// The facts about a stream that are needed to correct its next page.
struct FollowedStream {
    serial: [u8; 4],
    /// The number of the next page.
    next: u32,
    /// Whether the last packet continues on the next page.
    goes_on: bool,
    tags: Tags,
}

/// How far the tags of a stream were shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tags {
    Wanted,
    Begun,
    /// The tags were shown, or the library needs none.
    Shown,
}

impl<'s> OggPages<'s> {
    /// Shows the file that `inner` holds.
    pub(super) fn new(mut inner: Box<dyn MediaSource + 's>) -> io::Result<Self> {
        inner.seek(SeekFrom::Start(0))?;
        Ok(Self { inner, block: Vec::new(), taken: 0, page: Vec::new(), shown: 0, streams: Vec::new() })
    }

    /// Finds the next page; returns `false` at the end.
    fn advance(&mut self) -> io::Result<bool> {
        self.fill()?;
        let bytes = self.block.get(self.taken..).unwrap_or_default();
        if bytes.is_empty() {
            return Ok(false);
        }
        let length = match FoundPage::at_start(bytes) {
            Ok(found) => {
                let length = found.length;
                self.page = follow(&mut self.streams, found, bytes.get(..length).unwrap_or(bytes));
                self.shown = 0;
                length
            }
            Err(length) => length,
        };
        self.taken += length.max(1);
        Ok(true)
    }

    /// Reads as many bytes as are needed to judge a page, fewer only at the end.
    fn fill(&mut self) -> io::Result<()> {
        while self.block.len().saturating_sub(self.taken) < MOST_NEEDED {
            self.block.drain(..self.taken.min(self.block.len()));
            self.taken = 0;
            if self.inner.by_ref().take(BLOCK as u64).read_to_end(&mut self.block)? == 0 {
                break;
            }
        }
        Ok(())
    }
}

/// Returns the bytes to show for the page that `bytes` holds.
fn follow(streams: &mut Vec<FollowedStream>, mut found: FoundPage, bytes: &[u8]) -> Vec<u8> {
    let PageHeader { serial, begins, number, goes_on, .. } = found.page;
    if begins && streams.len() < STREAMS {
        let is_opus = found.packets(bytes).next().is_some_and(|packet| packet.starts_with(b"OpusHead"));
        let tags = if is_opus { Tags::Wanted } else { Tags::Shown };
        streams.push(FollowedStream { serial, next: number.wrapping_add(1), goes_on, tags });
        return found.rewritten(bytes);
    }
    let Some(stream) = streams.iter_mut().find(|stream| stream.serial == serial) else {
        return found.rewritten(bytes);
    };
    let follows = number == stream.next;
    // If a page is damaged, the page before it shows whether a packet continues.
    if found.state == PageState::Damaged && follows {
        found.page.continues = stream.goes_on;
    }
    stream.next = number.wrapping_add(1);
    stream.goes_on = goes_on;
    // Damaged tags are left out: the library does not continue behind tags that it cannot read.
    let is_intact = found.state == PageState::Whole;
    let is_first = found.packets(bytes).next().is_some_and(|packet| packet.starts_with(b"OpusTags"));
    let is_more = stream.tags == Tags::Begun && found.page.continues && follows;
    match stream.tags {
        Tags::Wanted | Tags::Begun if is_intact && (is_first || is_more) => {
            stream.tags = if found.packets > 0 { Tags::Shown } else { Tags::Begun };
        }
        Tags::Wanted | Tags::Begun if found.page.end_of_sound().is_some() => {
            stream.tags = Tags::Shown;
            let mut page = ogg::page(serial, number.wrapping_sub(1), NO_TAGS);
            page.extend(found.rewritten(bytes));
            return page;
        }
        // The rest of damaged tags.
        Tags::Wanted | Tags::Begun => {
            stream.tags = Tags::Wanted;
            return Vec::new();
        }
        Tags::Shown => {}
    }
    found.rewritten(bytes)
}

impl Read for OggPages<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.shown == self.page.len() {
            if !self.advance()? {
                return Ok(0);
            }
        }
        let count = self.page.get(self.shown..).unwrap_or_default().read(buf)?;
        self.shown += count;
        Ok(count)
    }
}

impl Seek for OggPages<'_> {
    fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl MediaSource for OggPages<'_> {
    fn is_seekable(&self) -> bool {
        false
    }

    fn byte_len(&self) -> Option<u64> {
        None
    }
}
