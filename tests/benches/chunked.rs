//! The removal of the chunked framing.

use crate::support::Outcome;
use crate::support::kit::chunked::Chunked;

fn read(body: &[u8], cut: usize) -> Outcome<(Vec<u8>, bool)> {
    let (mut chunked, mut data) = (Chunked::new(), Vec::new());
    for piece in body.chunks(cut) {
        chunked.take(piece, |part| data.extend_from_slice(part))?;
    }
    Ok((data, chunked.is_over()))
}

#[test]
fn the_data_is_the_same_wherever_it_is_cut() {
    let body = b"5\r\nhello\r\nB;name=value\r\n, everybody\r\n0\r\n\r\n";
    for cut in 1..=body.len() {
        assert_eq!(read(body, cut).unwrap(), (b"hello, everybody".to_vec(), true), "cut {cut}");
    }
}

#[test]
fn a_body_without_its_last_chunk_is_not_over() {
    assert_eq!(read(b"5\r\nhello\r\n", 3).unwrap(), (b"hello".to_vec(), false));
    assert_eq!(read(b"0\r\n", 3).unwrap(), (Vec::new(), false));
}

#[test]
fn invalid_framing_is_an_error() {
    for body in ["hello", "\r\n", "5\nhello", "5\r\nhello!", "0\r\n\r\n5", "100000000\r\n", ";a\r\n"] {
        assert!(read(body.as_bytes(), 99).is_err(), "{body:?}");
    }
}
