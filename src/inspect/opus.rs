//! Decodes Opus packets to samples. It reads the identification header in the container (RFC 7845, section 5.1), and
//! decodes the streams of each packet with one decoder. It applies the gain in the header, and trims nothing.

use opus_pure::OpusMSDecoder;

/// The decoder's output rate, whatever rate was recorded.
pub(super) const RATE: u32 = 48_000;
/// The longest packet is 120 ms (RFC 6716, section 3.2.5).
const LONGEST_FRAMES: usize = 5760;
/// The conversion from the channel order of Vorbis and Opus to that of WAVE: one list for each number of channels, from
/// one on, with the index of the source for each output channel.
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
    decoder: OpusMSDecoder,
    order: &'static [usize],
    gain: f32,
    /// One packet in Opus' channel order.
    decoded: Vec<f32>,
}

impl Opus {
    /// Builds the decoder that the header describes, if its channel layout is one of those in the standard. MPEG-4
    /// files have the same header with its numbers in big-endian order.
    pub(super) fn new(header: &[u8], big_endian: bool) -> Option<Self> {
        let [_, _, _, _, _, _, _, _, _, channels, _, _, _, _, _, _, gain_a, gain_b, family, layout @ ..] =
            header
        else {
            return None;
        };
        let channels = usize::from(*channels);
        let order = *WAVE_ORDER.get(channels.checked_sub(1)?)?;
        let decoder = OpusMSDecoder::new(RATE as i32, channels, *family).ok()?;
        let standard = decoder.layout();
        let same = match layout {
            _ if *family == 0 => true,
            [streams, coupled, mapping @ ..] => {
                usize::from(*streams) == standard.nb_streams
                    && usize::from(*coupled) == standard.nb_coupled_streams
                    && mapping.starts_with(&standard.mapping)
            }
            _ => false,
        };
        let gain = [*gain_a, *gain_b];
        let gain = if big_endian { i16::from_be_bytes(gain) } else { i16::from_le_bytes(gain) };
        same.then(|| Self {
            decoder,
            order,
            // Decibels with eight fractional bits.
            gain: 10_f32.powf(f32::from(gain) / (20.0 * 256.0)),
            decoded: vec![0.0; LONGEST_FRAMES * channels],
        })
    }

    /// Returns the number of channels that the packets decode to.
    pub(super) fn channels(&self) -> usize {
        self.order.len()
    }

    /// Decodes one packet into `samples`, interleaved. Returns false if the packet is damaged.
    pub(super) fn decode(&mut self, packet: &[u8], samples: &mut Vec<f32>) -> bool {
        samples.clear();
        // An empty packet is damage in a file. The decoder would treat it as a lost packet of a call, and invent sound.
        let frames = match self.decoder.decode(packet, LONGEST_FRAMES, &mut self.decoded) {
            Ok(frames) if !packet.is_empty() => frames,
            _ => return false,
        };
        for frame in self.decoded.chunks_exact(self.order.len()).take(frames) {
            let ordered = self.order.iter().filter_map(|from| frame.get(*from));
            samples.extend(ordered.map(|sample| sample * self.gain));
        }
        frames > 0
    }
}

/// Returns the number of samples at 48 kHz to drop from the start, as the header states it, for containers that do not
/// state it.
pub(super) fn pre_skip_of_mp4(header: &[u8]) -> u32 {
    match header {
        [_, _, _, _, _, _, _, _, _, _, a, b, ..] => u32::from(u16::from_be_bytes([*a, *b])),
        _ => 0,
    }
}
