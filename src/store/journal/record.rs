//! How chunks stand in a journal: the frame of each, and after it a line with the frame's CRC-32.
//!
//! The line is a comment of an event stream, so a journal is an event stream, too. All lines are equally long: where a
//! frame stands follows from the frames before it.

use bytes::Bytes;

use crate::wire::event_stream::leading_chunk_frame;

/// Bytes of the line after a frame: a colon, eight hexadecimal digits, a line feed.
pub(super) const SUM_LINE: usize = 10;

/// What a journal holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Records {
    /// The frames up to the first that is not as it was written.
    pub(super) frames: Vec<Bytes>,
    /// True if nothing follows them.
    pub(super) is_all: bool,
}

/// Encodes frames as records.
pub(super) fn encode<'a>(frames: impl Iterator<Item = &'a Bytes>) -> Vec<u8> {
    let mut records = Vec::new();
    for frame in frames {
        records.reserve(frame.len() + SUM_LINE);
        records.extend_from_slice(frame);
        records.extend_from_slice(&sum_line(frame));
    }
    records
}

/// Decodes the records that a journal begins with.
pub(super) fn decode(content: &Bytes) -> Records {
    let (mut rest, mut frames) = (content.clone(), Vec::new());
    while let Some(bytes) = leading_record(&rest, frames.len()) {
        frames.push(rest.split_to(bytes));
        let _line = rest.split_to(SUM_LINE);
    }
    Records { frames, is_all: rest.is_empty() }
}

/// The length of the frame in the record that `bytes` begins with, if it is as it was written.
fn leading_record(bytes: &[u8], id: usize) -> Option<usize> {
    let end = leading_chunk_frame(bytes, id)?;
    let (frame, rest) = bytes.split_at_checked(end)?;
    rest.starts_with(&sum_line(frame)).then_some(end)
}

fn sum_line(frame: &[u8]) -> [u8; SUM_LINE] {
    let sum = crc32fast::hash(frame);
    let mut line = *b":00000000\n";
    for (at, place) in line.iter_mut().skip(1).take(8).enumerate() {
        let digit = (sum >> (28 - 4 * at)) as u8 & 15;
        *place = if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
    }
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::event_stream::{FrameKind, encode_frame};

    fn chunk_frames(texts: &[String]) -> Vec<Bytes> {
        let frame = |(id, text)| {
            let data = serde_json::json!({ "text": text }).to_string();
            encode_frame(FrameKind::Chunk, id, data.as_bytes())
        };
        texts.iter().enumerate().map(frame).collect()
    }

    #[test]
    fn a_journal_is_an_event_stream_with_sums_as_comments() {
        let frames = chunk_frames(&["a".into()]);
        let journal = String::from_utf8(encode(frames.iter())).unwrap();
        let sum = crc32fast::hash(&frames[0]);
        assert_eq!(journal, format!("event: chunk\nid: 0\ndata: {{\"text\":\"a\"}}\n\n:{sum:08x}\n"));
    }

    #[test]
    fn a_frame_out_of_its_turn_ends_what_is_whole() {
        let frames = chunk_frames(&["a".into(), "b".into(), "c".into()]);
        let skipped = encode([&frames[0], &frames[2]].into_iter());
        let found = decode(&skipped.into());
        assert_eq!(found, Records { frames: frames[..1].to_vec(), is_all: false });
    }

    proptest! {
        #[test]
        fn of_torn_records_the_whole_ones_are_found(
            texts in prop::collection::vec(any::<String>(), 0..8), cut: prop::sample::Index,
        ) {
            let frames = chunk_frames(&texts);
            let journal = encode(frames.iter());
            let cut = cut.index(journal.len() + 1);
            let ends = frames.iter().scan(0, |end, frame| { *end += frame.len() + SUM_LINE; Some(*end) });
            let ends: Vec<usize> = ends.take_while(|end| *end <= cut).collect();
            let is_all = cut == ends.last().copied().unwrap_or(0);
            let found = decode(&Bytes::copy_from_slice(&journal[..cut]));
            prop_assert_eq!(found, Records { frames: frames[..ends.len()].to_vec(), is_all });
        }

        #[test]
        fn a_flipped_bit_ends_what_is_whole(
            texts in prop::collection::vec(any::<String>(), 1..8), byte: prop::sample::Index, bit in 0_u8..8,
        ) {
            let frames = chunk_frames(&texts);
            let mut journal = encode(frames.iter());
            let byte = byte.index(journal.len());
            journal[byte] ^= 1 << bit;
            let Records { frames: found, is_all } = decode(&journal.into());
            prop_assert!(!is_all && frames.starts_with(&found) && found.len() < frames.len());
        }
    }
}
