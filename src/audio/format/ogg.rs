//! Pages of Ogg (RFC 3533): their headers, their checksums, and where one ends and the next begins, even if bytes are
//! damaged or missing. [`ogg_sound`](super::ogg_sound) knows the content of streams.

use std::ops::Range;

use super::ogg_sound::Sound;

/// The first bytes of a page.
pub(crate) const MARK: &[u8] = b"OggS";
/// Length of a page's header without the lengths of its segments.
const FIXED: usize = 27;
/// Length of the longest header.
pub(crate) const LONGEST_HEADER: usize = FIXED + 255;
/// The number of bytes that are needed to judge a page: the longest page, and the mark of the next.
pub(crate) const MOST_NEEDED: usize = LONGEST_HEADER + 255 * 255 + MARK.len();
/// The place of the checksum in a header.
const SUM: Range<usize> = 22..26;
/// Flags: the first packet began on an earlier page; the page is the first of its stream; the page is the last of its
/// stream.
const CONTINUES: u8 = 1;
const BEGINS: u8 = 2;
const ENDS: u8 = 4;

/// A page, described by its header.
pub(crate) struct PageHeader {
    /// True for the first page of a stream.
    pub(crate) begins: bool,
    /// True for the last page of a stream.
    pub(crate) ends: bool,
    /// True if its first packet began on an earlier page.
    pub(crate) continues: bool,
    pub(crate) serial: [u8; 4],
    /// The number of the page within its stream.
    pub(crate) number: u32,
    /// The end of the last packet that ends on the page, in units of the stream. A negative number is no position: -1
    /// means that no packet ends on the page.
    pub(crate) position: Option<u64>,
    /// The number of packets that end on the page.
    packets: u64,
    /// True if its last packet continues on the next page.
    pub(crate) goes_on: bool,
    /// Length of its header.
    pub(crate) header: usize,
    /// Length of the payload, as far as the lengths of its segments are present.
    payload: u64,
    /// False if the lengths of some segments are missing.
    has_whole_header: bool,
}

impl PageHeader {
    /// Reads the header of the page that these bytes begin. The lengths of its segments may be cut off.
    pub(crate) fn read(head: &[u8]) -> Option<Self> {
        let (fixed, lengths) = head.split_first_chunk::<FIXED>()?;
        let [b'O', b'g', b'g', b'S', 0, flags @ 0..8, rest @ .., segments] = fixed else { return None };
        let segments = usize::from(*segments);
        let lengths = lengths.get(..segments).unwrap_or(lengths);
        Some(Self {
            begins: flags & BEGINS != 0,
            ends: flags & ENDS != 0,
            continues: flags & CONTINUES != 0,
            serial: *rest.get(8..)?.first_chunk()?,
            number: u32::from_le_bytes(*rest.get(12..)?.first_chunk()?),
            position: u64::try_from(i64::from_le_bytes(*rest.first_chunk()?)).ok(),
            packets: ended(lengths),
            goes_on: lengths.last() == Some(&255),
            header: FIXED + segments,
            payload: lengths.iter().map(|length| u64::from(*length)).sum(),
            has_whole_header: lengths.len() == segments,
        })
    }

    /// Returns the length of the page.
    fn length(&self) -> usize {
        usize::try_from(self.payload).unwrap_or(usize::MAX).saturating_add(self.header)
    }

    /// Returns the lengths of the segments, and the part of their content that is present.
    fn parts<'b>(&self, bytes: &'b [u8]) -> (&'b [u8], &'b [u8]) {
        let lengths = bytes.get(FIXED..self.header).unwrap_or_default();
        (lengths, bytes.get(self.header..).unwrap_or_default())
    }

    /// Returns where the sound on the page ends, if a packet of sound ends on it: headers have position 0.
    pub(crate) fn end_of_sound(&self) -> Option<u64> {
        self.position.filter(|position| *position > 0)
    }
}

/// The condition of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PageState {
    /// The checksum is right.
    Whole,
    /// The checksum is wrong, but the page ends where the next one begins.
    Damaged,
    /// The end is missing: the file ends before it, or another file begins.
    Cut,
}

/// A page that was found.
pub(crate) struct FoundPage {
    pub(crate) page: PageHeader,
    pub(crate) state: PageState,
    /// The number of bytes of the page that are present.
    pub(crate) length: usize,
    /// The number of packets that end on the page and are present.
    pub(crate) packets: u64,
}

impl FoundPage {
    /// Returns how many bytes [`Self::whole`] needs, judged by the first bytes of a page: up to [`LONGEST_HEADER`].
    pub(crate) fn needed(head: &[u8]) -> usize {
        PageHeader::read(head).map_or(MOST_NEEDED, |page| page.length())
    }

    /// Reads the page that these bytes begin, if the whole page is present and its checksum is right.
    pub(crate) fn whole(bytes: &[u8]) -> Option<Self> {
        let page = PageHeader::read(bytes)?;
        let length = page.length();
        let is_intact = page.has_whole_header && bytes.get(..length).is_some_and(is_intact);
        is_intact.then_some(Self { packets: page.packets, page, state: PageState::Whole, length })
    }

    /// Judges the bytes from a place on: [`MOST_NEEDED`] bytes, fewer only at the end of the file. If no page begins at this
    /// place, returns how many bytes further the next one may begin.
    pub(crate) fn at_start(bytes: &[u8]) -> Result<Self, usize> {
        if let Some(found) = Self::whole(bytes) {
            return Ok(found);
        }
        let Some(page) = PageHeader::read(bytes) else { return Err(next_mark(bytes)) };
        let length = page.length();
        let is_there = page.has_whole_header && length <= bytes.len();
        let behind = bytes.get(length..).unwrap_or_default();
        if is_there && (behind.is_empty() || behind.starts_with(MARK)) {
            return Ok(Self::with_flaw(page, PageState::Damaged, bytes.get(..length).unwrap_or(bytes)));
        }
        let next = next_mark(bytes);
        // If another file was joined to a cut page, the packets before the join are good. If bytes are missing within a
        // page, nothing shows which of its packets are good.
        match PageHeader::read(bytes.get(next..).unwrap_or_default()) {
            None if !is_there => Ok(Self::with_flaw(page, PageState::Cut, bytes)),
            Some(other) if other.begins && other.position == Some(0) => {
                Ok(Self::with_flaw(page, PageState::Cut, bytes.get(..next).unwrap_or(bytes)))
            }
            _ => Err(next),
        }
    }

    /// Makes a page that is not whole. Its flag for the first page of a stream may itself be damaged.
    fn with_flaw(page: PageHeader, state: PageState, bytes: &[u8]) -> Self {
        let is_first = page.position == Some(0) && page.packets == 1 && !page.goes_on;
        let is_known = bytes.get(page.header..).is_some_and(|packet| Sound::read(packet).is_some());
        let page = PageHeader { begins: is_first && (page.begins || is_known), ..page };
        let (lengths, payload) = page.parts(bytes);
        let packets = match state {
            PageState::Cut => ended(whole_packets(lengths, payload.len())),
            PageState::Whole | PageState::Damaged => page.packets,
        };
        Self { page, state, length: bytes.len(), packets }
    }

    /// Returns the packets that begin on the page, as far as they are on it; `bytes` are those of the page.
    pub(crate) fn packets<'b>(&self, bytes: &'b [u8]) -> impl Iterator<Item = &'b [u8]> {
        let (lengths, payload) = self.page.parts(bytes);
        let (mut start, mut end) = (0, 0);
        let last = lengths.len().saturating_sub(1);
        let is_cut = self.state == PageState::Cut;
        let packets = lengths.iter().enumerate().filter_map(move |(number, length)| {
            end += usize::from(*length);
            let is_end = *length < 255 || number == last && !is_cut;
            is_end.then(|| std::mem::replace(&mut start, end)..end).and_then(|range| payload.get(range))
        });
        packets.skip(usize::from(self.page.continues))
    }

    /// Rewrites the page from the part that is present: without packets whose end is missing, and with a right
    /// checksum. Returns nothing if no packet is left. `bytes` are those of the page.
    pub(crate) fn rewritten(&self, bytes: &[u8]) -> Vec<u8> {
        let (lengths, payload) = self.page.parts(bytes);
        let lengths = match self.state {
            PageState::Whole => return bytes.to_vec(),
            PageState::Damaged => lengths,
            PageState::Cut => whole_packets(lengths, payload.len()),
        };
        let size = lengths.iter().map(|length| usize::from(*length)).sum();
        let (Some(fixed), Some(payload), false) =
            (bytes.first_chunk::<FIXED>(), payload.get(..size), lengths.is_empty())
        else {
            return Vec::new();
        };
        let mut head = *fixed;
        let [_, _, _, _, _, flags, .., segments] = &mut head;
        let PageHeader { begins, continues, .. } = self.page;
        *flags &= !(BEGINS | CONTINUES);
        *flags |= if begins { BEGINS } else { 0 } | if continues { CONTINUES } else { 0 };
        *segments = lengths.len() as u8;
        sign([&head[..], lengths, payload].concat())
    }
}

/// Returns the lengths of the segments up to the end of the last packet that ends within `available` bytes.
fn whole_packets(lengths: &[u8], available: usize) -> &[u8] {
    let (mut sum, mut whole) = (0, 0);
    for (length, count) in lengths.iter().zip(1..) {
        sum += usize::from(*length);
        if sum > available {
            break;
        }
        if *length < 255 {
            whole = count;
        }
    }
    lengths.get(..whole).unwrap_or_default()
}

/// Returns how many packets end in segments of these lengths.
fn ended(lengths: &[u8]) -> u64 {
    lengths.iter().filter(|length| **length < 255).count() as u64
}

/// Returns a page of headers that holds one short packet.
pub(crate) fn page(serial: [u8; 4], number: u32, packet: &[u8; 16]) -> Vec<u8> {
    let head = [&b"OggS\0\0\0\0\0\0\0\0\0\0"[..], &serial, &number.to_le_bytes(), &[0; 4], &[1, 16]];
    sign([&head.concat()[..], packet].concat())
}

/// Writes the checksum into a page.
pub(crate) fn sign(mut page: Vec<u8>) -> Vec<u8> {
    let sum = checksum(&page);
    if let Some(place) = page.get_mut(SUM) {
        place.copy_from_slice(&sum.to_le_bytes());
    }
    page
}

fn is_intact(page: &[u8]) -> bool {
    page.get(SUM).is_some_and(|sum| sum == checksum(page).to_le_bytes())
}

/// Returns the checksum of a page; the checksum field itself counts as zero. The library's checksum reads the bits of
/// each byte in the other order, and starts from another value.
fn checksum(page: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new_with_initial(u32::MAX);
    let mut turned = [0; 512];
    for (number, piece) in page.chunks(turned.len()).enumerate() {
        for (to, from) in turned.iter_mut().zip(piece) {
            *to = from.reverse_bits();
        }
        if let (0, Some(place)) = (number, turned.get_mut(SUM)) {
            place.fill(0);
        }
        sum.update(turned.get(..piece.len()).unwrap_or_default());
    }
    (!sum.finalize()).reverse_bits()
}

/// Returns where the next page may begin behind the first byte, at the latest at the end of the bytes.
fn next_mark(bytes: &[u8]) -> usize {
    let behind = bytes.get(1..).unwrap_or_default();
    let Some(found) = memchr::memmem::find(behind, MARK) else {
        // A mark may begin in the last bytes if the file goes on behind them.
        let kept = if bytes.len() < MOST_NEEDED { 0 } else { MARK.len() - 1 };
        return bytes.len() - kept;
    };
    1 + found
}
