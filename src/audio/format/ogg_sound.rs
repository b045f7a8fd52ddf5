//! Reads the first packet of a stream in Ogg, which describes the stream, and counts the samples of a packet. Ogg
//! carries sound, pictures and other content; only streams of sound are known here.

use super::flac::FrameHeader;

/// A stream of sound, described by its first packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sound {
    /// The number of header packets at the start.
    pub(crate) headers: u64,
    /// The samples that the position counts but that are not played.
    pub(crate) skipped: u64,
    /// The number of position units in a second, if that is known.
    pub(crate) rate: Option<u32>,
    codec: Codec,
}

/// The most samples of one packet: a header is untrusted.
const MOST_SAMPLES: u64 = 1 << 16;

/// How the samples of a packet are counted.
#[derive(Debug, Clone, Copy)]
enum Codec {
    /// Half the length of a short and of a long block: blocks overlap.
    Vorbis {
        short: u64,
        long: u64,
    },
    Opus,
    Flac,
    /// The number of samples, the same in all packets.
    Speex {
        samples: u64,
    },
    Other,
}

impl Sound {
    /// The number of bytes of the first packet that describe a stream.
    pub(crate) const PACKET: usize = 72;
    /// The length of the shortest first packet that describes a stream.
    pub(crate) const SHORTEST_PACKET: usize = 8;

    /// Reads the first packet of a stream; returns `None` if it is not a stream of sound.
    pub(crate) fn read(packet: &[u8]) -> Option<Self> {
        let four = |at: usize| packet.get(at..)?.first_chunk::<4>().copied();
        let number = |at: usize| four(at).map(u32::from_le_bytes);
        let (headers, skipped, rate, codec) = match packet {
            [0x01, b'v', b'o', b'r', b'b', b'i', b's', ..] => {
                let half = |code: u8| 1 << code.saturating_sub(1);
                let sizes = packet.get(28).copied().unwrap_or(0);
                let codec = Codec::Vorbis { short: half(sizes & 15), long: half(sizes >> 4) };
                (3, 0, number(12), codec)
            }
            // The position of Opus always counts samples of 48 kHz.
            [b'O', b'p', b'u', b's', b'H', b'e', b'a', b'd', rest @ ..] => {
                let skipped = rest
                    .get(2..)
                    .and_then(<[u8]>::first_chunk)
                    .map_or(0, |skipped| u16::from_le_bytes(*skipped));
                (2, u64::from(skipped), Some(48_000), Codec::Opus)
            }
            // The number of header packets that follow, if it is known: in big-endian order.
            [0x7f, b'F', b'L', b'A', b'C', _, _, high, low, ..] => {
                let rate = four(27).map(|rate| u32::from_be_bytes(rate) >> 12);
                (1 + u64::from(u16::from_be_bytes([*high, *low])).max(1), 0, rate, Codec::Flac)
            }
            [b'f', b'L', b'a', b'C', ..] => (2, 0, None, Codec::Flac),
            [b'S', b'p', b'e', b'e', b'x', b' ', b' ', b' ', ..] => {
                let (frame, frames) = (number(56).unwrap_or(0), number(64).unwrap_or(0));
                let samples = (u64::from(frame) * u64::from(frames)).min(MOST_SAMPLES);
                let headers = 2 + u64::from(number(68).unwrap_or(0)).min(1024);
                (headers, 0, number(36), Codec::Speex { samples })
            }
            [b'C', b'E', b'L', b'T', b' ', ..] | [b'P', b'C', b'M', b' ', b' ', ..] => {
                (2, 0, None, Codec::Other)
            }
            _ => return None,
        };
        Some(Self { headers, skipped, rate: rate.filter(|rate| *rate > 0), codec })
    }

    /// Returns how many samples a packet of sound has, for Vorbis approximately; 0 for a header.
    pub(crate) fn samples(&self, packet: &[u8]) -> u64 {
        match (self.codec, packet) {
            (Codec::Vorbis { short, long }, [kind, ..]) if kind & 1 == 0 => {
                // The next bit selects the mode. All known encoders have two modes, and the second is that of long
                // blocks.
                if kind & 2 == 0 { short } else { long }
            }
            (Codec::Opus, packet) if !packet.starts_with(b"OpusTags") => opus(packet),
            (Codec::Flac, packet) => FrameHeader::read(packet).map_or(0, |header| header.block),
            (Codec::Speex { samples }, _) => samples,
            _ => 0,
        }
    }
}

/// Returns how many samples of 48 kHz a packet of Opus has (RFC 6716, section 3.1).
fn opus(packet: &[u8]) -> u64 {
    let [kind, rest @ ..] = packet else { return 0 };
    let frame = match kind >> 3 {
        mode @ 0..12 => [480, 960, 1920, 2880].get(usize::from(mode & 3)).copied().unwrap_or(0),
        mode @ 12..16 => 480 << (mode & 1),
        mode => 120 << (mode & 3),
    };
    let frames = match kind & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => rest.first().map_or(0, |count| u64::from(count & 0x3f)),
    };
    // No packet lasts longer than 120 ms.
    (frame * frames).min(5760)
}
