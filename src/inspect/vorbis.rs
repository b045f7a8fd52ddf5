//! Computes how much memory the codebooks of a Vorbis stream need, before the library unpacks them. The library would
//! create all tables that a header describes, each with a few bytes: 256 tables of 16 MB from a header of 6 kB. It
//! cannot be stopped while it does this.

/// The most numbers in all codebooks of a stream: 4 MB. Encoders need a tenth of that.
const MOST_NUMBERS: u64 = 1 << 20;
/// Length of the first header, which precedes the header with the codebooks.
const IDENTIFICATION: usize = 30;
/// Start of the header with the codebooks.
const SETUP: &[u8] = b"\x05vorbis";
/// Start of a codebook.
const CODEBOOK: u64 = 0x56_4342;

/// Returns true if these headers contain complete codebooks that unpack to an acceptable size.
pub(super) fn is_acceptable(headers: &[u8]) -> bool {
    let setup = headers.get(IDENTIFICATION..).and_then(|rest| rest.strip_prefix(SETUP));
    setup.and_then(numbers).is_some()
}

/// Returns the number of numbers in the codebooks; `None` if there are too many, or the bytes are not codebooks.
fn numbers(setup: &[u8]) -> Option<u64> {
    let mut bits = Bits { bytes: setup, at: 0 };
    let mut all = 0;
    for _ in 0..=bits.take(8)? {
        if bits.take(24)? != CODEBOOK {
            return None;
        }
        let (dimensions, entries) = (bits.take(16)?, bits.take(24)?);
        all += entries * dimensions.max(1);
        if all > MOST_NUMBERS {
            return None;
        }
        skip_lengths(&mut bits, entries)?;
        skip_values(&mut bits, dimensions, entries)?;
    }
    Some(all)
}

/// Skips the lengths of a codebook's words ([Vorbis I](https://xiph.org/vorbis/doc/Vorbis_I_spec.html), section 3.2.1).
fn skip_lengths(bits: &mut Bits<'_>, entries: u64) -> Option<()> {
    let is_ordered = bits.take(1)? == 1;
    if is_ordered {
        bits.skip(5);
        let mut left = entries;
        while left > 0 {
            left = left.checked_sub(bits.take(u64::BITS - left.leading_zeros())?)?;
        }
    } else if bits.take(1)? == 1 {
        for _ in 0..entries {
            if bits.take(1)? == 1 {
                bits.skip(5);
            }
        }
    } else {
        bits.skip(entries * 5);
    }
    Some(())
}

/// Skips the values of a codebook's vectors, if it has any.
fn skip_values(bits: &mut Bits<'_>, dimensions: u64, entries: u64) -> Option<()> {
    let count = match bits.take(4)? {
        0 => return Some(()),
        // The library computes this in the same way, so that both continue at the same bit.
        1 => (entries as f32).powf(1.0 / dimensions as f32).floor() as u64,
        2 => entries * dimensions,
        _ => return None,
    };
    bits.skip(64);
    let width = bits.take(4)? + 1;
    bits.skip(1 + count * width);
    Some(())
}

/// A reader of bits, which begins with the least significant bit of each byte.
struct Bits<'b> {
    bytes: &'b [u8],
    /// The position of the next bit.
    at: u64,
}

impl Bits<'_> {
    /// Reads the next bits, at most 32, as a number; returns `None` if there are too few.
    fn take(&mut self, count: u32) -> Option<u64> {
        let mut number = 0;
        for place in 0..count {
            let byte = *self.bytes.get(usize::try_from(self.at / 8).ok()?)?;
            number |= u64::from(byte >> (self.at % 8) & 1) << place;
            self.at += 1;
        }
        Some(number)
    }

    fn skip(&mut self, count: u64) {
        self.at = self.at.saturating_add(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns headers with this many codebooks of these entries and dimensions, each of some bytes.
    fn headers(books: u64, entries: u64, dimensions: u64) -> Vec<u8> {
        let mut bits = Vec::new();
        let mut put = |number: u64, count: u32| bits.extend((0..count).map(|place| number >> place & 1 == 1));
        put(books - 1, 8);
        for _ in 0..books {
            let length = u64::from(entries.ilog2());
            put(CODEBOOK, 24);
            put(dimensions, 16);
            put(entries, 24);
            // All words have the same length, and all vectors have one value of one bit.
            put(1, 1);
            put(length - 1, 5);
            put(entries, entries.ilog2() + 1);
            put(1, 4);
            put(0, 64);
            put(0, 4);
            put(0, 1);
            put(0, 1);
        }
        let bytes =
            bits.chunks(8).map(|byte| byte.iter().rev().fold(0, |all, bit| all << 1 | u8::from(*bit)));
        [&[0; IDENTIFICATION], SETUP].concat().into_iter().chain(bytes).collect()
    }

    #[test]
    fn codebooks_are_accepted_up_to_their_unpacked_size() {
        for (books, entries, dimensions, expected) in
            [(1, 2, 31, true), (256, 128, 31, true), (256, 1 << 17, 31, false), (1, 1 << 23, 1, false)]
        {
            let headers = headers(books, entries, dimensions);
            assert!(headers.len() < 10_000);
            assert_eq!(is_acceptable(&headers), expected, "{books} of {entries} with {dimensions}");
            assert!(!is_acceptable(&headers[..headers.len() - 10]), "cut short");
        }
        assert!(!is_acceptable(b"no headers"));
    }
}
