//! Converts response bodies in another charset to UTF-8. The declared charset is used for plain texts only.
//!
//! JSON and event streams are UTF-8, whatever servers declare (RFC 8259, section 8.1): many servers declare their
//! default charset. Only UTF-16 is believed there, because no server declares JSON in UTF-8 as UTF-16.

use awc::http::header::{self, HeaderMap};
use bytes::Bytes;
use encoding_rs::{Decoder, Encoding, UTF_8, UTF_16BE, UTF_16LE};
use futures_util::{StreamExt, stream};

use super::reading::ResponseBody;

/// Returns the body in UTF-8. Bytes that are not valid in its charset become U+FFFD.
#[must_use]
pub(super) fn in_utf8(headers: &HeaderMap, body: ResponseBody) -> ResponseBody {
    let Some(encoding) = declared(headers) else { return body };
    // A byte order mark overrides the declared charset.
    let decoder = Some(encoding.new_decoder());
    stream::unfold((body, decoder), |(mut body, decoder)| async move {
        let mut decoder = decoder?;
        Some(match body.next().await {
            Some(Ok(bytes)) => (Ok(decoded(&mut decoder, &bytes, false)), (body, Some(decoder))),
            Some(Err(err)) => (Err(err), (body, None)),
            None => (Ok(decoded(&mut decoder, &[], true)), (body, None)),
        })
    })
    .boxed_local()
}

/// Returns the declared charset if the body must be converted from it.
fn declared(headers: &HeaderMap) -> Option<&'static Encoding> {
    let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?.to_ascii_lowercase();
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let label = parts.find_map(|part| part.strip_prefix("charset="))?.trim_matches('"');
    let encoding = Encoding::for_label(label.as_bytes()).filter(|encoding| *encoding != UTF_8)?;
    let is_text = essence.starts_with("text/") && essence != "text/event-stream";
    (is_text || encoding == UTF_16LE || encoding == UTF_16BE).then_some(encoding)
}

fn decoded(decoder: &mut Decoder, bytes: &[u8], is_last: bool) -> Bytes {
    let mut text = String::with_capacity(decoder.max_utf8_buffer_length(bytes.len()).unwrap_or_default());
    let _ = decoder.decode_to_string(bytes, &mut text, is_last);
    text.into()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn read(content_type: &'static str, body: &[u8]) -> String {
        let value = header::HeaderValue::from_static(content_type);
        let headers: HeaderMap = [(header::CONTENT_TYPE, value)].into_iter().collect();
        let read = |piece: usize| {
            let pieces: Vec<_> = body.chunks(piece).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
            let pieces = in_utf8(&headers, stream::iter(pieces).boxed_local()).collect::<Vec<_>>();
            let pieces = pieces.now_or_never().unwrap().into_iter().map(Result::unwrap);
            String::from_utf8_lossy(&pieces.collect::<Vec<_>>().concat()).into_owned()
        };
        assert_eq!(read(1), read(body.len()), "{content_type}");
        read(1)
    }

    #[test]
    fn the_declared_charset_of_a_text_counts() {
        let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
        let big = [0xfe, 0xff].into_iter().chain("Gr\u{fc}\u{df}e".encode_utf16().flat_map(u16::to_be_bytes));
        for (content_type, body, expected) in [
            ("text/plain; charset=iso-8859-1", b"Gr\xfc\xdfe".to_vec(), "Gr\u{fc}\u{df}e"),
            ("text/plain;CHARSET=\"Windows-1252\"", b"\x80 5".to_vec(), "\u{20ac} 5"),
            ("text/plain; charset=utf-16", utf16("Gr\u{fc}\u{df}e \u{1f600}"), "Gr\u{fc}\u{df}e \u{1f600}"),
            ("text/plain; charset=utf-16", big.collect(), "Gr\u{fc}\u{df}e"),
            ("application/json; charset=utf-16", utf16("{\"text\":\"\u{fc}\"}"), "{\"text\":\"\u{fc}\"}"),
            ("text/plain; charset=shift_jis", b"\x82\xa0".to_vec(), "\u{3042}"),
        ] {
            assert_eq!(read(content_type, &body), expected, "{content_type}");
        }
    }

    #[test]
    fn json_and_event_streams_are_utf_8_whatever_is_declared() {
        let text = "\u{fc}";
        for content_type in [
            "application/json; charset=iso-8859-1",
            "text/event-stream; charset=iso-8859-1",
            "text/plain; charset=utf-8",
            "text/plain; charset=nonsense",
            "text/plain",
        ] {
            assert_eq!(read(content_type, text.as_bytes()), text, "{content_type}");
        }
    }
}
