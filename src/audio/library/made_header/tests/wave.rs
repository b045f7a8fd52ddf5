//! Headers of WAVE as programs write them, and how they are shown.

use std::io::{Cursor, Read as _, Seek as _, SeekFrom};

use proptest::prelude::*;
use symphonia::core::io::MediaSource as _;

use super::super::MadeHeader;
use crate::audio::format::wave::shape;

/// Returns a chunk, with its pad byte.
pub(crate) fn chunk(id: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut out = id.to_vec();
    out.extend((content.len() as u32).to_le_bytes());
    out.extend(content);
    out.resize(out.len().next_multiple_of(2), 0);
    out
}

/// Returns a RIFF file around these chunks.
pub(crate) fn riff(chunks: &[u8]) -> Vec<u8> {
    let size = (chunks.len() as u32 + 4).to_le_bytes();
    [b"RIFF", &size[..], b"WAVE", chunks].concat()
}

const FORMAT: [u8; 16] = [1, 0, 1, 0, 0x40, 0x1f, 0, 0, 0x80, 0x3e, 0, 0, 2, 0, 16, 0];
const SAMPLES: [u8; 6] = [1, 2, 3, 4, 5, 6];

fn shown(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    made(bytes).read_to_end(&mut out).unwrap();
    out
}

fn made(bytes: &[u8]) -> MadeHeader<'_> {
    let shape = shape(&mut Cursor::new(bytes)).unwrap();
    MadeHeader::new(Box::new(Cursor::new(bytes)), shape)
}

/// Returns the plainest form of the file that the tests write.
fn plain() -> Vec<u8> {
    let mut out = riff(&[chunk(b"fmt ", &FORMAT), chunk(b"data", &SAMPLES)].concat());
    out[4..8].fill(0xff);
    out
}

#[test]
fn chunks_around_the_samples_are_left_out() {
    let (format, data) = (chunk(b"fmt ", &FORMAT), chunk(b"data", &SAMPLES));
    for odd in [
        chunk(b"JUNK", &[7; 27]),
        chunk(b"LIST", b"adtlabc"),
        chunk(b"LIST", b"INFOISFT\x05\0\0\0abcd\0"),
        chunk(b"bext", &[0; 603]),
        [chunk(b"id3 ", &[9; 11]), chunk(b"fact", &[3, 0, 0, 0])].concat(),
    ] {
        assert_eq!(shown(&riff(&[&odd[..], &format, &data].concat())), plain());
        assert_eq!(shown(&riff(&[&format[..], &odd, &data].concat())), plain());
        assert_eq!(shown(&riff(&[&format[..], &data, &odd].concat())), plain());
    }
}

#[test]
fn a_64_bit_file_ends_at_its_stated_size() {
    let mut sizes = [0; 28];
    sizes[8] = SAMPLES.len() as u8;
    let mut data = chunk(b"data", &SAMPLES);
    data[4..8].fill(0xff);
    let chunks = [chunk(b"ds64", &sizes), chunk(b"fmt ", &FORMAT), data, chunk(b"LIST", b"INFO")].concat();
    for id in [b"RF64", b"BW64"] {
        let mut file = riff(&chunks);
        file[..8].copy_from_slice(&[&id[..], &[0xff; 4]].concat());
        assert_eq!(shown(&file), plain());
    }
}

#[test]
fn an_unknown_number_of_samples_goes_on_to_the_end() {
    for unknown in [[0; 4], [0xff; 4], [0x00, 0xf0, 0xff, 0x7f]] {
        let mut file = riff(&[chunk(b"fmt ", &FORMAT), chunk(b"data", &SAMPLES)].concat());
        file[4..8].copy_from_slice(&unknown);
        file[40..44].copy_from_slice(&unknown);
        assert_eq!(shown(&file), plain());
    }
}

#[test]
fn a_file_without_samples_has_none() {
    let silent = riff(&[chunk(b"fmt ", &FORMAT), chunk(b"data", &[]), chunk(b"LIST", b"INFO")].concat());
    assert_eq!(shown(&silent).len(), 44);
    assert_eq!(
        shown(&silent[..30]),
        [&b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0"[..], &FORMAT[..10]].concat()
    );
    assert_eq!(shown(b"RIFF"), b"RIFF\xff\xff\xff\xffWAVE");
}

proptest! {
    #[test]
    fn seeks_agree_with_the_bytes_read_from_the_start(
        steps in proptest::collection::vec((0_u64..80, 0_usize..20), 1..20),
        keep in 0_usize..90,
        garbage in proptest::collection::vec((12_usize..80, any::<u8>()), 0..4),
    ) {
        let mut file = riff(&[chunk(b"JUNK", &[7; 9]), chunk(b"fmt ", &FORMAT), chunk(b"data", &SAMPLES)].concat());
        for (at, value) in garbage {
            let at = at.min(file.len() - 1);
            file[at] = value;
        }
        file.truncate(keep);
        let whole = shown(&file);
        let mut source = made(&file);
        prop_assert_eq!(source.byte_len(), Some(whole.len() as u64));
        prop_assert_eq!(source.seek(SeekFrom::End(0)).unwrap(), whole.len() as u64);
        for (position, count) in steps {
            source.seek(SeekFrom::Start(position)).unwrap();
            let mut piece = Vec::new();
            (&mut source).take(count as u64).read_to_end(&mut piece).unwrap();
            let from = (position as usize).min(whole.len());
            prop_assert_eq!(&piece[..], &whole[from..(from + count).min(whole.len())]);
        }
    }
}
