//! What goes over the wire for one event: the upstream's words, and those of the servers that hearken is measured
//! beside.

use std::io::Write as _;

use super::kit::chunked::{LAST, chunk};
use super::request::MODEL;
use super::stamp::Stamp;

/// The head of an answer in events.
pub(crate) const EVENTS_HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// One event of Gemini's stream with a text, as a chunk of the body.
pub(crate) fn gemini(stamp: Stamp, to: &mut Vec<u8>) {
    let mut event = br#"data: {"candidates":[{"content":{"parts":[{"text":""#.to_vec();
    stamp.write_text(&mut event);
    event.extend_from_slice(br#""}],"role":"model"},"index":0}],"#);
    usage(stamp.index + 1, &mut event);
    chunk(&event, to);
}

/// The last event of Gemini's stream and the end of the body.
pub(crate) fn gemini_end(texts: u64, to: &mut Vec<u8>) {
    let mut event = br#"data: {"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"#.to_vec();
    event.extend_from_slice(br#""finishReason":"STOP","index":0}],"#);
    usage(texts, &mut event);
    chunk(&event, to);
    to.extend_from_slice(LAST);
}

fn usage(texts: u64, to: &mut Vec<u8>) {
    // A Vec takes whatever is written.
    let _ = write!(
        to,
        "\"usageMetadata\":{{\"promptTokenCount\":11,\"candidatesTokenCount\":{texts},\"totalTokenCount\":{}}},\
         \"modelVersion\":\"{MODEL}\"}}\r\n\r\n",
        texts + 11
    );
}

/// The chunk that hearken makes of an event; other servers are given it as it is.
pub(crate) fn completion_chunk(stamp: Stamp, to: &mut Vec<u8>) {
    to.extend_from_slice(br#"{"id":"chatcmpl-1776874565yq3szvcu","object":"chat.completion.chunk","#);
    to.extend_from_slice(br#""created":1776874565,"model":""#);
    to.extend_from_slice(MODEL.as_bytes());
    to.extend_from_slice(br#"","choices":[{"index":0,"delta":{"content":""#);
    stamp.write_text(to);
    to.extend_from_slice(br#""},"finish_reason":null}]}"#);
}

/// The same as a frame of its own, as a chunk of the body.
pub(crate) fn frame(stamp: Stamp, to: &mut Vec<u8>) {
    let mut frame = b"event: chunk\nid: ".to_vec();
    // A Vec takes whatever is written.
    let _ = write!(frame, "{}\ndata: ", stamp.index);
    completion_chunk(stamp, &mut frame);
    frame.extend_from_slice(b"\n\n");
    chunk(&frame, to);
}
