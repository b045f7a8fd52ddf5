//! Opus packets to samples: reads the identification header that the container keeps (RFC 7845, section
//! 5.1) and runs one decoder over the streams of each packet. It knows nothing of pages, trims nothing and
//! applies only the gain that the header asks for.

use opus_decoder::OpusMultistreamDecoder;

/// Opus always decodes to this rate here, whatever was recorded.
pub(super) const RATE: u32 = 48_000;
/// The longest packet is 120 ms (RFC 6716, section 3.2.5).
const LONGEST_FRAMES: usize = 5760;
/// From the order of channels of Vorbis, which Opus shares, to that of WAVE: for each channel of the output
/// the place of its source, by number of channels from one.
const WAVE_ORDER: [&[usize]; 8] = [
    &[0],
    &[0, 1],
    &[0, 2, 1],
    &[0, 1, 2, 3],
    &[0, 2, 1, 3, 4],
    &[0, 2, 1, 5, 3, 4],
    &[0, 2, 1, 6, 5, 3, 4],
    &[0, 2, 1, 7, 5, 6, 3, 4],
];

/// A decoder for one Opus stream of up to eight channels.
pub(super) struct Opus {
    decoder: OpusMultistreamDecoder,
    channels: usize,
    gain: f32,
}

impl Opus {
    /// Builds the decoder that the header describes. MPEG-4 files keep the same header with the bytes of
    /// its numbers in the other order, hence `big_endian`.
    pub(super) fn new(header: &[u8], big_endian: bool) -> Option<Self> {
        let [_, _, _, _, _, _, _, _, _, channels, _, _, _, _, _, _, gain_a, gain_b, family, rest @ ..] =
            header
        else {
            return None;
        };
        let channels = usize::from(*channels);
        let (streams, coupled, mapping) = match (*family, rest) {
            (0, _) => (1, channels.checked_sub(1)?, vec![0, 1]),
            (1, [streams, coupled, mapping @ ..]) => {
                (usize::from(*streams), usize::from(*coupled), mapping.to_vec())
            }
            _ => return None,
        };
        let order = *WAVE_ORDER.get(channels.checked_sub(1)?)?;
        let mapping: Option<Vec<u8>> = order.iter().map(|from| mapping.get(*from).copied()).collect();
        let decoder = OpusMultistreamDecoder::new(RATE, channels, streams, coupled, &mapping?).ok()?;
        let gain = [*gain_a, *gain_b];
        let gain = if big_endian { i16::from_be_bytes(gain) } else { i16::from_le_bytes(gain) };
        // Decibels with eight bits behind the point.
        Some(Self { decoder, channels, gain: 10_f32.powf(f32::from(gain) / (20.0 * 256.0)) })
    }

    /// How many channels the packets decode to.
    pub(super) fn channels(&self) -> usize {
        self.channels
    }

    /// Decodes one packet into `samples`, interleaved; `false` if the packet is damaged.
    pub(super) fn decode(&mut self, packet: &[u8], samples: &mut Vec<f32>) -> bool {
        samples.clear();
        samples.resize(LONGEST_FRAMES * self.channels, 0.0);
        // An empty packet would be concealed, as on a telephone; in a file it is damage.
        let frames = match self.decoder.decode_float(packet, samples, false) {
            Ok(frames) if !packet.is_empty() => frames,
            _ => 0,
        };
        samples.truncate(frames * self.channels);
        for sample in samples.iter_mut() {
            *sample *= self.gain;
        }
        frames > 0
    }
}

/// How many samples at 48 kHz the header asks to drop from the start, where the container does not say.
pub(super) fn pre_skip_of_mp4(header: &[u8]) -> u32 {
    match header {
        [_, _, _, _, _, _, _, _, _, _, a, b, ..] => u32::from(u16::from_be_bytes([*a, *b])),
        _ => 0,
    }
}
