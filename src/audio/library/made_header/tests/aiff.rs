//! Headers of AIFF as programs write them to pipes, and how they are shown.

use std::io::{Cursor, Read as _};

use super::super::MadeHeader;
use crate::audio::format::aiff::shape;

/// Returns a chunk, with its pad byte.
fn chunk(id: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut out = id.to_vec();
    out.extend((content.len() as u32).to_be_bytes());
    out.extend(content);
    out.resize(out.len().next_multiple_of(2), 0);
    out
}

fn form(chunks: &[u8]) -> Vec<u8> {
    let size = (chunks.len() as u32 + 4).to_be_bytes();
    [b"FORM", &size[..], b"AIFF", chunks].concat()
}

const COMMON: [u8; 18] = [0, 1, 0, 0, 0, 3, 0, 16, 0x40, 0x0b, 0xfa, 0, 0, 0, 0, 0, 0, 0];
const SOUND: [u8; 14] = [0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6];

fn shown(bytes: &[u8]) -> (Vec<u8>, bool) {
    let shape = shape(&mut Cursor::new(bytes)).unwrap();
    let is_cut = shape.is_cut;
    let mut out = Vec::new();
    MadeHeader::new(Box::new(Cursor::new(bytes)), shape).read_to_end(&mut out).unwrap();
    (out, is_cut)
}

#[test]
fn the_plainest_form_is_shown_as_it_is() {
    let plain = form(&[chunk(b"COMM", &COMMON), chunk(b"SSND", &SOUND)].concat());
    assert_eq!(shown(&plain), (plain.clone(), false));
    let more = form(&[chunk(b"NAME", b"abc"), chunk(b"COMM", &COMMON), chunk(b"SSND", &SOUND)].concat());
    assert_eq!(shown(&more), (plain.clone(), false));
    let behind = form(&[chunk(b"SSND", &SOUND), chunk(b"ANNO", b"x"), chunk(b"COMM", &COMMON)].concat());
    assert_eq!(shown(&behind), (plain, false));
}

#[test]
fn wrong_sizes_do_not_hide_the_samples() {
    let plain = form(&[chunk(b"COMM", &COMMON), chunk(b"SSND", &SOUND)].concat());
    for (size, sound) in [(0, 0), (0, 14), (7, 14), (u32::MAX, u32::MAX), (0x7f00_002e, 0x7f00_0008)] {
        let mut file = plain.clone();
        file[4..8].copy_from_slice(&u32::to_be_bytes(size));
        file[42..46].copy_from_slice(&u32::to_be_bytes(sound));
        assert_eq!(shown(&file), (plain.clone(), false), "{size} {sound}");
    }
    let mut file = plain.clone();
    file[42..46].copy_from_slice(&100_u32.to_be_bytes());
    assert_eq!(shown(&file), (plain, true));
}

#[test]
fn a_file_without_samples_has_none() {
    let silent = form(&[chunk(b"COMM", &COMMON), chunk(b"SSND", &SOUND[..8]), chunk(b"ANNO", b"x")].concat());
    assert_eq!(shape(&mut Cursor::new(&silent)).unwrap().length, 0);
    let (bytes, is_cut) = shown(b"FORM\0\0\0\x04AIFF");
    assert_eq!((&bytes[8..], is_cut), (&b"AIFF"[..], true));
}
