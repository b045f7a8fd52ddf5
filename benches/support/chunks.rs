//! The bytes of one event on the wire, as the upstream, hearken and the compared servers send it.

use std::io::Write as _;

use super::kit::chunked::{LAST, chunk};
use super::request::MODEL;
use super::stamp::Stamp;

/// The head of an event stream response.
pub(crate) const EVENTS_HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// Writes one event of Gemini's stream with a text, as a chunk of the body.
pub(crate) fn gemini(stamp: Stamp, to: &mut Vec<u8>) {
    let mut event = br#"data: {"candidates":[{"content":{"parts":[{"text":""#.to_vec();
    stamp.write_text(&mut event);
    event.extend_from_slice(br#""}],"role":"model"},"index":0}],"#);
    usage(stamp.index + 1, &mut event);
    chunk(&event, to);
}

/// Writes the last event of Gemini's stream and the end of the body.
pub(crate) fn gemini_end(texts: u64, to: &mut Vec<u8>) {
    let mut event = br#"data: {"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"#.to_vec();
    event.extend_from_slice(br#""finishReason":"STOP","index":0}],"#);
    usage(texts, &mut event);
    chunk(&event, to);
    to.extend_from_slice(LAST);
}

fn usage(texts: u64, to: &mut Vec<u8>) {
    // Writing to a Vec cannot fail.
    let _ = write!(
        to,
        "\"usageMetadata\":{{\"promptTokenCount\":11,\"candidatesTokenCount\":{texts},\"totalTokenCount\":{}}},\
         \"modelVersion\":\"{MODEL}\"}}\r\n\r\n",
        texts + 11
    );
}

/// Writes the chunk that hearken makes of an event; other servers receive it in this form.
pub(crate) fn completion_chunk(stamp: Stamp, to: &mut Vec<u8>) {
    to.extend_from_slice(br#"{"id":"chatcmpl-1776874565yq3szvcu","object":"chat.completion.chunk","#);
    to.extend_from_slice(br#""created":1776874565,"model":""#);
    to.extend_from_slice(MODEL.as_bytes());
    to.extend_from_slice(br#"","choices":[{"index":0,"delta":{"content":""#);
    stamp.write_text(to);
    to.extend_from_slice(br#""},"finish_reason":null}]}"#);
}

/// Writes the same as a separate frame, as a chunk of the body.
pub(crate) fn frame(stamp: Stamp, to: &mut Vec<u8>) {
    let mut frame = b"event: chunk\nid: ".to_vec();
    // Writing to a Vec cannot fail.
    let _ = write!(frame, "{}\ndata: ", stamp.index);
    completion_chunk(stamp, &mut frame);
    frame.extend_from_slice(b"\n\n");
    chunk(&frame, to);
}
