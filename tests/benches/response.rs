//! Responses with bodies of every framing.

use crate::support::Outcome;
use crate::support::kit::response::Response;

/// Returns the body of a response that comes in pieces and then the end of the connection.
fn read(response: &str, cut: usize, is_bodiless: bool) -> Outcome<String> {
    let (mut reader, mut body) = (Response::new(), Vec::new());
    reader.begin(is_bodiless);
    for piece in response.as_bytes().chunks(cut) {
        reader.take(piece, |data| body.extend_from_slice(data))?;
    }
    reader.close()?;
    reader.must_be_ok()?;
    Ok(String::from_utf8(body)?)
}

#[test]
fn the_body_is_the_same_however_it_is_framed_and_cut() {
    for (headers, body) in [
        ("Content-Length: 5\r\n", "hello"),
        ("transfer-encoding: Chunked\r\n", "4\r\nhell\r\n1\r\no\r\n0\r\n\r\n"),
        ("a: b\r\n", "hello"),
    ] {
        let response = format!("HTTP/1.1 200 OK\r\n{headers}\r\n{body}");
        for cut in 1..=response.len() {
            assert_eq!(read(&response, cut, false).unwrap(), "hello", "{headers:?}, cut {cut}");
        }
    }
}

#[test]
fn a_head_alone_is_complete_if_no_body_may_follow() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
    assert_eq!(read(head, 1, true).unwrap(), "");
    assert!(read(head, 1, false).is_err());
}

#[test]
fn a_body_that_is_too_short_or_too_long_is_an_error() {
    for (headers, body) in [
        ("content-length: 5\r\n", "hell"),
        ("content-length: 5\r\n", "hello!"),
        ("content-length: five\r\n", "hello"),
        ("transfer-encoding: chunked\r\n", "5\r\nhello\r\n"),
        ("transfer-encoding: chunked\r\n", "0\r\n\r\n!"),
    ] {
        for cut in [1, 99] {
            assert!(
                read(&format!("HTTP/1.1 200 OK\r\n{headers}\r\n{body}"), cut, false).is_err(),
                "{body:?}"
            );
        }
    }
    assert!(read("HTTP/1.1 404 Nothing\r\ncontent-length: 0\r\n\r\n", 1, false).is_err());
}
