//! Pages of Ogg (RFC 3533), and what the first packet of a stream says of it. Ogg carries sound, pictures and anything
//! else; only streams of sound are known here.

/// How a page begins.
pub(crate) const MARK: &[u8] = b"OggS";
/// Length of a page's header without the lengths of its segments.
const FIXED: usize = 27;
/// Length of the longest header.
pub(crate) const LONGEST_HEADER: usize = FIXED + 255;

/// A page, by its header.
pub(crate) struct Page {
    /// True for the first page of a stream.
    pub(crate) begins: bool,
    pub(crate) serial: [u8; 4],
    /// Where the last packet that ends on it ends, in units of the stream; the highest number if none does.
    pub(crate) position: u64,
    /// Packets that end on it.
    pub(crate) packets: u64,
    /// True if its last packet goes on behind it.
    pub(crate) goes_on: bool,
    /// Length of its header.
    pub(crate) header: usize,
    /// Length of what follows, as far as the lengths of its segments are there.
    pub(crate) payload: u64,
    /// False if the lengths of some segments are missing.
    pub(crate) has_whole_header: bool,
}

impl Page {
    /// Reads the header of the page that these bytes begin. The lengths of its segments may be cut off.
    pub(crate) fn read(head: &[u8]) -> Option<Self> {
        let (fixed, lengths) = head.split_first_chunk::<FIXED>()?;
        let [b'O', b'g', b'g', b'S', 0, flags, rest @ .., segments] = fixed else { return None };
        let segments = usize::from(*segments);
        let lengths = lengths.get(..segments).unwrap_or(lengths);
        Some(Self {
            begins: flags & 2 != 0,
            serial: *rest.get(8..)?.first_chunk()?,
            position: u64::from_le_bytes(*rest.first_chunk()?),
            packets: lengths.iter().filter(|length| **length < 255).count() as u64,
            goes_on: lengths.last() == Some(&255),
            header: FIXED + segments,
            payload: lengths.iter().map(|length| u64::from(*length)).sum(),
            has_whole_header: lengths.len() == segments,
        })
    }
}

/// A stream of sound, by its first packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sound {
    /// Packets of headers in front.
    pub(crate) headers: u64,
    /// What the position counts and is not played.
    pub(crate) skipped: u64,
    /// Units of the position in a second, where that is known.
    pub(crate) rate: Option<u32>,
}

impl Sound {
    /// As much of the first packet says what a stream is.
    pub(crate) const PACKET: usize = 72;
    /// Length of the shortest first packet that says what a stream is.
    pub(crate) const SHORTEST_PACKET: usize = 8;

    /// Reads the first packet of a stream; `None` if it is no stream of sound.
    pub(crate) fn read(packet: &[u8]) -> Option<Self> {
        let four = |at: usize| packet.get(at..)?.first_chunk::<4>().copied();
        let number = |at: usize| four(at).map(u32::from_le_bytes);
        let (headers, skipped, rate) = match packet {
            [0x01, b'v', b'o', b'r', b'b', b'i', b's', ..] => (3, 0, number(12)),
            // Its position always counts samples of 48 kHz.
            [b'O', b'p', b'u', b's', b'H', b'e', b'a', b'd', rest @ ..] => {
                let skipped = rest
                    .get(2..)
                    .and_then(<[u8]>::first_chunk)
                    .map_or(0, |skipped| u16::from_le_bytes(*skipped));
                (2, u64::from(skipped), Some(48_000))
            }
            // How many packets of headers follow, where it is known: in the other order of bytes.
            [0x7f, b'F', b'L', b'A', b'C', _, _, high, low, ..] => {
                let rate = four(27).map(|rate| u32::from_be_bytes(rate) >> 12);
                (1 + u64::from(u16::from_be_bytes([*high, *low])).max(1), 0, rate)
            }
            [b'f', b'L', b'a', b'C', ..] => (2, 0, None),
            [b'S', b'p', b'e', b'e', b'x', b' ', b' ', b' ', ..] => {
                (2 + u64::from(number(68).unwrap_or(0)).min(1024), 0, number(36))
            }
            [b'C', b'E', b'L', b'T', b' ', ..] | [b'P', b'C', b'M', b' ', b' ', ..] => (2, 0, None),
            _ => return None,
        };
        Some(Self { headers, skipped, rate: rate.filter(|rate| *rate > 0) })
    }
}
