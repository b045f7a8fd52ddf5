//! The strict reader of hearken's streams.

use crate::support::kit::stream::{Item, Stream};

const STREAM: &str = ": keep-alive\nretry: 2000\nevent: chunk\nid: 3\ndata: {\"a\":\"é\"}\n\n: keep-alive\n: keep-alive\n\
                      event: done\nid: 4\ndata: [DONE]\n\n";

/// Returns the items of a stream that comes in pieces: a comment as `None`, a frame as its id.
fn read(stream: &str, cut: usize) -> Result<Vec<Option<u64>>, String> {
    let (mut reader, mut items) = (Stream::default(), Vec::new());
    for piece in stream.as_bytes().chunks(cut) {
        reader.take(piece);
        while let Some(item) = reader.next()? {
            items.push(match item {
                Item::Comment => None,
                Item::Frame(frame) => Some(frame.id),
            });
        }
    }
    if reader.is_over() && reader.unread().is_empty() { Ok(items) } else { Err("ends too early".to_owned()) }
}

#[test]
fn the_items_are_the_same_wherever_the_stream_is_cut() {
    for cut in 1..=STREAM.len() {
        assert_eq!(read(STREAM, cut).unwrap(), [None, Some(3), None, None, Some(4)], "cut {cut}");
    }
}

#[test]
fn a_stream_must_begin_at_the_requested_frame() {
    for (first, fits) in [(3, true), (2, false), (4, false)] {
        let mut reader = Stream::from(first);
        reader.take(STREAM.replacen(": keep-alive\n", "", 1).as_bytes());
        assert_eq!(reader.next().is_ok(), fits, "{first}");
    }
}

#[test]
fn every_deviation_is_an_error() {
    for (right, wrong) in [
        (": keep-alive", ": keepalive"),
        (": keep-alive\nevent", ": keep-alive\n\nevent"),
        ("retry: 2000\n", ""),
        ("retry: 2000", "retry: 2001"),
        ("event: done", "retry: 2000\nevent: done"),
        ("event: chunk", "event: news"),
        ("event: chunk", "event:chunk"),
        ("event: done", ": words\nevent: done"),
        ("event: done\nid: 4", "id: 4\nevent: done"),
        ("id: 4", "id: 5"),
        ("id: 4", "id: 04"),
        ("id: 3\n", ""),
        ("data: {", "data: \ndata: {"),
        ("data: {", ": keep-alive\ndata: {"),
        ("[DONE]\n\n", "[DONE]\n\n\n"),
        ("[DONE]\n\n", "[DONE]\n\n: keep-alive\n"),
        ("[DONE]\n\n", "[DONE]\n"),
        ("[DONE]\n\n", "[DONE]\r\n\r\n"),
    ] {
        let stream = STREAM.replacen(right, wrong, 1);
        assert_ne!(stream, STREAM);
        for cut in [1, 7, stream.len()] {
            assert!(read(&stream, cut).is_err(), "{right:?} as {wrong:?}, cut {cut}");
        }
    }
}
