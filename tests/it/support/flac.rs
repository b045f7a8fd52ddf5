//! Generates FLAC (RFC 9639): constant frames, each of which is more than a second of sound in a few bytes.

/// Samples of a frame: the maximum.
pub(crate) const FRAME: u16 = 65_535;
/// Sampling rate.
pub(crate) const RATE: u32 = 44_100;

/// Returns a file with this many frames, whose header states this many samples (0: unknown).
pub(crate) fn bomb(frames: u32, stated: u64) -> Vec<u8> {
    let mut out = b"fLaC\x80\0\0\x22".to_vec();
    out.extend(FRAME.to_be_bytes());
    out.extend(FRAME.to_be_bytes());
    out.extend([0; 6]);
    // Rate, one channel, 16 bits a sample, number of samples.
    out.extend((u64::from(RATE) << 44 | 15 << 36 | stated).to_be_bytes());
    out.extend([0; 16]);
    for number in 0..frames {
        out.extend(frame(number));
    }
    out
}

/// Returns a frame in which every sample is the same.
fn frame(number: u32) -> Vec<u8> {
    let mut out = vec![0xff, 0xf8, 0x70, 0x08];
    out.extend(utf8(number));
    out.extend((FRAME - 1).to_be_bytes());
    out.push(out.iter().fold(0, |sum, byte| {
        (0..8).fold(sum ^ byte, |sum: u8, _| if sum >> 7 == 1 { (sum << 1) ^ 7 } else { sum << 1 })
    }));
    out.extend([0, 0x10, 0]);
    let sum = out.iter().fold(0_u16, |sum, byte| {
        let shift = |sum: u16| if sum >> 15 == 1 { (sum << 1) ^ 0x8005 } else { sum << 1 };
        (0..8).fold(sum ^ (u16::from(*byte) << 8), |sum, _| shift(sum))
    });
    out.extend(sum.to_be_bytes());
    out
}

/// Encodes the number as UTF-8 encodes code points.
fn utf8(number: u32) -> Vec<u8> {
    if number < 0x80 {
        return vec![number as u8];
    }
    let more =
        [0x800_u32, 0x1_0000, 0x20_0000, 0x400_0000].iter().position(|end| number < *end).unwrap_or(4) + 1;
    let lead = !(0xff_u32 >> (more + 1)) & 0xff;
    let mut out = vec![(lead | number >> (6 * more)) as u8];
    out.extend((0..more).rev().map(|rest| 0x80 | ((number >> (6 * rest)) & 0x3f) as u8));
    out
}
