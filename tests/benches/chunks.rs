//! The bytes of one event on the wire.

use crate::support::chunks::{frame, gemini, gemini_end};
use crate::support::kit::chunked::Chunked;
use crate::support::stamp::Stamp;

const STAMP: Stamp = Stamp { made: 123_456_789_012_345, index: 778 };

fn data(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let (mut body, mut data) = (Vec::new(), Vec::new());
    write(&mut body);
    Chunked::new().take(&body, |piece| data.extend_from_slice(piece)).unwrap();
    String::from_utf8(data).unwrap()
}

#[test]
fn a_frame_has_about_280_bytes() {
    let frame = data(|body| frame(STAMP, body));
    assert!((270..290).contains(&frame.len()), "{}", frame.len());
    assert_eq!(Stamp::find(frame.as_bytes()), Some(STAMP));
}

#[test]
fn gemini_sends_json_in_events() {
    for event in [data(|body| gemini(STAMP, body)), data(|body| gemini_end(779, body))] {
        let json = event.strip_prefix("data: ").and_then(|event| event.strip_suffix("\r\n\r\n")).unwrap();
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(value["usageMetadata"]["candidatesTokenCount"], 779);
    }
}
