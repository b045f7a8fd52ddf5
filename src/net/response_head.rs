//! Rewrites the head of an HTTP/1 response so that awc reads it as the protocol defines it.
//!
//! awc 3.11 over actix-http 3.20 refuses heads that RFC 9112 allows a client to accept: two equal `Content-Length`
//! fields, folded lines, a transfer coding in addition to `chunked`. It treats a body that ends with its connection as
//! empty, and waits for a body after a 204 that states a length. The rewritten head states each of these in the only
//! form that awc reads correctly.

use std::io;

use httparse::{EMPTY_HEADER, Header, ParserConfig, Response, Status};

/// Most header fields that are parsed; awc accepts fewer.
const MAX_FIELDS: usize = 128;

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The body ends with the connection.
    Close,
    /// The body ends after this many more bytes.
    Length(u64),
    /// The body contains a mark of its end, or there is no body.
    SelfDelimited,
}

/// The error of a head that contradicts itself, or states a coding that was not requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadHead {
    /// Two lengths that differ.
    #[error("two lengths that differ")]
    Lengths,
    /// A length that is not a number.
    #[error("a length that is not a number")]
    Length,
    /// A transfer coding other than `chunked` and the ways of compression.
    #[error("a transfer coding that was not requested")]
    Coding,
}

impl From<BadHead> for io::Error {
    fn from(bad: BadHead) -> Self {
        Self::new(io::ErrorKind::InvalidData, bad)
    }
}

/// The error of a response that is longer than its `Content-Length`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more bytes than the Content-Length states")]
pub struct Surplus;

impl From<Surplus> for io::Error {
    fn from(surplus: Surplus) -> Self {
        Self::new(io::ErrorKind::InvalidData, surplus)
    }
}

/// Removes the heads of interim responses, which another response follows (RFC 9110, section 15.2). A switch of
/// protocols is not an interim response.
pub(super) fn skip_interim(head: &mut Vec<u8>) {
    let is_interim = |head: &[u8]| {
        let code = head.get(9..12).unwrap_or_default();
        let is_status = head.get(12).is_some_and(|next| matches!(next, b' ' | b'\r' | b'\n'));
        is_http(head) && is_status && code.first() == Some(&b'1') && code != b"101"
    };
    while is_interim(head)
        && let Some(end) = end_of_head(head)
    {
        head.drain(..end);
    }
}

/// Returns true if these bytes may be the beginning of a response's head. Other bytes are passed on, and awc refuses
/// them.
pub(super) fn is_http(head: &[u8]) -> bool {
    head.iter().zip(b"HTTP/").all(|(byte, letter)| byte == letter)
}

/// Returns the length of the head that begins with these bytes. A head ends with the first empty line. Lines may end
/// without a carriage return (RFC 9112, section 2.2).
pub(super) fn end_of_head(head: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'\n', head).find_map(|at| {
        let rest = head.get(at + 1..)?;
        let empty = if rest.starts_with(b"\r\n") { 2 } else { usize::from(rest.starts_with(b"\n")) };
        (empty > 0).then_some(at + 1 + empty)
    })
}

/// Rewrites a head, and keeps the bytes that arrived after it. Returns the rewritten bytes, and how the body ends. A
/// head that cannot be parsed stays unchanged, and awc refuses it.
///
/// # Errors
/// [`BadHead`], or [`Surplus`] if more of the body arrived with the head than the head states.
pub(super) fn rewritten(bytes: Vec<u8>) -> io::Result<(Vec<u8>, End)> {
    let mut fields = [EMPTY_HEADER; MAX_FIELDS];
    let mut response = Response::new(&mut fields);
    let mut parser = ParserConfig::default();
    parser.allow_spaces_after_header_name_in_responses(true);
    parser.allow_obsolete_multiline_headers_in_responses(true);
    let Ok(Status::Complete(head)) = parser.parse_response(&mut response, &bytes) else {
        return Ok((bytes, End::SelfDelimited));
    };
    let (Some(version), Some(code)) = (response.version, response.code) else {
        return Ok((bytes, End::SelfDelimited));
    };
    let body = bytes.get(head..).unwrap_or_default();
    let framing = Framing::of(code, version, response.headers)?;
    let end = match framing.end {
        End::Length(length) => length.checked_sub(body.len() as u64).map(End::Length).ok_or(Surplus)?,
        end => end,
    };
    let mut out = Vec::with_capacity(bytes.len() + 64);
    out.extend_from_slice(format!("HTTP/1.{} {code} \r\n", framing.minor_version).as_bytes());
    for field in response.headers.iter().filter(|field| !is_framing(field)) {
        push(&mut out, field.name, field.value);
    }
    for (name, value) in &framing.fields {
        push(&mut out, name, value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
    Ok((out, end))
}

/// Writes a field. A field that is folded over several lines becomes one line (RFC 9112, section 5.2).
fn push(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend(
        value.trim_ascii().iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }),
    );
    out.extend_from_slice(b"\r\n");
}

fn is_framing(field: &Header<'_>) -> bool {
    ["content-length", "transfer-encoding"].iter().any(|name| field.name.eq_ignore_ascii_case(name))
}

/// How a response is framed, and the fields that express that to awc.
struct Framing {
    end: End,
    /// The version under which awc reads the body correctly.
    minor_version: u8,
    fields: Vec<(&'static str, String)>,
}

impl Framing {
    /// Determines the framing as RFC 9112, section 6.3, defines it.
    fn of(code: u16, version: u8, fields: &[Header<'_>]) -> Result<Self, BadHead> {
        let close = || ("connection", "close".to_owned());
        let codings: Vec<String> = members(fields, "transfer-encoding")
            .map(|coding| coding.to_ascii_lowercase())
            .filter(|coding| coding != "identity")
            .collect();
        let is_bodiless = matches!(code, 100..=199 | 204 | 304);
        if is_bodiless {
            let fields = if version == 0 { vec![close()] } else { Vec::new() };
            return Ok(Self { end: End::SelfDelimited, minor_version: 1, fields });
        }
        if let Some((last, others)) = codings.split_last() {
            let is_chunked = last == "chunked";
            let compression = if is_chunked { others } else { codings.as_slice() };
            let mut fields = match compression {
                [] => Vec::new(),
                // The content of the chunks is compressed. For the caller this is the same as compressed content.
                [coding] => vec![("content-encoding", compression_named(coding)?.to_owned())],
                _ => return Err(BadHead::Coding),
            };
            if !is_chunked {
                return Ok(Self { end: End::Close, minor_version: 0, fields });
            }
            fields.push(("transfer-encoding", "chunked".to_owned()));
            // HTTP/1.0 does not define chunks, so the bytes after them are unreliable.
            if version == 0 {
                fields.push(close());
            }
            return Ok(Self { end: End::SelfDelimited, minor_version: 1, fields });
        }
        let mut lengths = members(fields, "content-length");
        let Some(length) = lengths.next() else {
            return Ok(Self { end: End::Close, minor_version: 0, fields: Vec::new() });
        };
        let parse = |length: &str| {
            let is_number = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| length.parse::<u64>().ok()).flatten().ok_or(BadHead::Length)
        };
        let length = parse(&length)?;
        for other in lengths {
            if parse(&other)? != length {
                return Err(BadHead::Lengths);
            }
        }
        let fields = vec![("content-length", length.to_string())];
        Ok(Self { end: End::Length(length), minor_version: version, fields })
    }
}

/// Returns the members of a field that is a list, from all lines with this name.
fn members<'a>(fields: &'a [Header<'_>], name: &'static str) -> impl Iterator<Item = String> + 'a {
    let named = fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
    named.flat_map(|field| {
        let members = field.value.split(|byte| *byte == b',');
        members.map(|member| String::from_utf8_lossy(member.trim_ascii()).into_owned())
    })
}

fn compression_named(coding: &str) -> Result<&'static str, BadHead> {
    match coding {
        "gzip" | "x-gzip" => Ok("gzip"),
        "deflate" => Ok("deflate"),
        "compress" | "x-compress" => Ok("compress"),
        _ => Err(BadHead::Coding),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interim_responses_are_skipped() {
        let finale = "HTTP/1.1 200 OK\r\n\r\ndata: x";
        for before in [
            "",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 100 Continue\n\n",
            "HTTP/1.1 102 P\r\nA: b\r\n\r\nHTTP/1.1 103 H\r\n\r\n",
        ] {
            let mut head = format!("{before}{finale}").into_bytes();
            skip_interim(&mut head);
            assert_eq!(head, finale.as_bytes(), "{before:?}");
        }
        for whole in [
            "HTTP/1.1 101 Switching\r\n\r\n",
            "HTTP/1.1 1000 X\r\n\r\n",
            "HTTP/1.1 100 Cont",
            "HTTP/1.1 1",
            "garbage",
        ] {
            let mut head = whole.as_bytes().to_vec();
            skip_interim(&mut head);
            assert_eq!(head, whole.as_bytes());
        }
    }

    /// Returns the bytes that awc gets for a head with these fields, and how the body ends, or the text of the error.
    fn read(start: &str, fields: &str, body: &str) -> Result<(String, End), String> {
        let bytes = format!("{start}\r\n{fields}\r\n{body}").into_bytes();
        let (bytes, end) = rewritten(bytes).map_err(|err| err.to_string())?;
        Ok((String::from_utf8(bytes).unwrap(), end))
    }

    #[test]
    fn the_head_shows_how_the_body_ends() {
        for (fields, body, expected) in [
            ("Content-Type: text/event-stream\r\n", "", Ok(End::Close)),
            ("Connection: close\r\n", "data: x", Ok(End::Close)),
            ("content-length: 3\r\n", "", Ok(End::Length(3))),
            ("Content-Length: 3 \r\n", "abc", Ok(End::Length(0))),
            ("Content-Length: 3\r\nA: b\r\ncontent-length: 03\r\n", "a", Ok(End::Length(2))),
            ("Content-Length: 3, 3\r\n", "a", Ok(End::Length(2))),
            ("Content-Length: 3\r\n", "abcd", Err("more bytes than the Content-Length states")),
            ("Content-Length: x\r\n", "", Err("a length that is not a number")),
            ("Content-Length: +3\r\n", "", Err("a length that is not a number")),
            ("Content-Length: \r\n", "", Err("a length that is not a number")),
            ("Content-Length: 3\r\ncontent-length: 4\r\n", "", Err("two lengths that differ")),
            ("Content-Length: 3, 4\r\n", "", Err("two lengths that differ")),
            ("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", "", Ok(End::SelfDelimited)),
            ("Transfer-Encoding: identity\r\nContent-Length: 3\r\n", "", Ok(End::Length(3))),
            ("Transfer-Encoding: gzip\r\n", "", Ok(End::Close)),
            ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", "", Ok(End::SelfDelimited)),
            ("Transfer-Encoding: secret, chunked\r\n", "", Err("a transfer coding that was not requested")),
            ("Transfer-Encoding: chunked, gzip\r\n", "", Err("a transfer coding that was not requested")),
        ] {
            let end = read("HTTP/1.1 200 OK", fields, body).map(|(_, end)| end);
            assert_eq!(end, expected.map_err(str::to_owned), "{fields:?}");
        }
        for whole in ["HTTP/1.1 200 OK\r\nContent-", "garbage\r\n\r\n", "HTTP/1.1 200 OK\r\n: x\r\n\r\n"] {
            let untouched = (whole.as_bytes().to_vec(), End::SelfDelimited);
            assert_eq!(rewritten(whole.into()).unwrap(), untouched, "{whole:?}");
        }
    }

    #[test]
    fn each_head_is_rewritten_to_the_form_that_awc_understands() {
        for (start, fields, expected) in [
            ("HTTP/1.1 200 OK", "A: b\r\n", "HTTP/1.0 200 \r\nA: b\r\n\r\n"),
            (
                "HTTP/1.1 200 OK",
                "A : b\r\n\tc\r\n d\r\nContent-Length: 3\r\nContent-Length: 3\r\n",
                "HTTP/1.1 200 \r\nA: b  \tc   d\r\ncontent-length: 3\r\n\r\n",
            ),
            (
                "HTTP/1.1 200",
                "Transfer-Encoding: gzip, chunked\r\n",
                "HTTP/1.1 200 \r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n",
            ),
            (
                "HTTP/1.0 200 OK",
                "Transfer-Encoding: chunked\r\n",
                "HTTP/1.1 200 \r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n",
            ),
            ("HTTP/1.1 204 No Content", "Content-Length: 3\r\n", "HTTP/1.1 204 \r\n\r\n"),
            ("HTTP/1.1 304 Not Modified", "Content-Length: 3\r\n", "HTTP/1.1 304 \r\n\r\n"),
            ("HTTP/1.0 200 OK", "Content-Length: 0\r\n", "HTTP/1.0 200 \r\ncontent-length: 0\r\n\r\n"),
        ] {
            assert_eq!(read(start, fields, "").unwrap().0, expected, "{start} {fields:?}");
        }
        let lf = b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc".to_vec();
        let (bytes, end) = rewritten(lf).unwrap();
        assert_eq!(
            (bytes.as_slice(), end),
            (b"HTTP/1.1 200 \r\ncontent-length: 3\r\n\r\nabc".as_slice(), End::Length(0))
        );
    }
}
