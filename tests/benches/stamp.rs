//! Stamps in texts.

use crate::support::stamp::{Stamp, TEXT_BYTES};

#[test]
fn a_stamp_is_found_in_the_text_that_it_was_written_into() {
    for stamp in [Stamp { made: 0, index: 0 }, Stamp { made: 123_456_789_012_345, index: 1_999 }] {
        let mut text = b"data: {\"content\":\"".to_vec();
        let before = text.len();
        stamp.write_text(&mut text);
        assert_eq!(text.len() - before, TEXT_BYTES);
        text.extend_from_slice(b"\"}\n\n");
        assert_eq!(Stamp::find(&text), Some(stamp));
    }
}

#[test]
fn a_frame_without_a_stamp_has_none() {
    for frame in ["data: [DONE]\n\n", "data: a@b\n\n", "data: @5\n\n", "data: @5/@\n\n", "@/5@", "@5/6"] {
        assert_eq!(Stamp::find(frame.as_bytes()), None, "{frame:?}");
    }
}
