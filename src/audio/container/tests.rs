//! What is recognised and, more important, what is not.

use std::io::Cursor;

use proptest::prelude::*;

use super::*;

fn found(bytes: &[u8]) -> Option<Container> {
    recognise(&mut Cursor::new(bytes)).unwrap()
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/fixtures/audio/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn mp4_box(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut out = (content.len() as u32 + 8).to_be_bytes().to_vec();
    out.extend_from_slice(kind);
    out.extend_from_slice(content);
    out
}

fn track(handler: &[u8; 4]) -> Vec<u8> {
    let content = [&[0; 8], &handler[..], &[0; 13]].concat();
    let header = mp4_box(b"tkhd", &[0; 84]);
    let media = mp4_box(b"mdia", &[mp4_box(b"mdhd", &[0; 24]), mp4_box(b"hdlr", &content)].concat());
    mp4_box(b"trak", &[header, media].concat())
}

fn ftyp() -> Vec<u8> {
    mp4_box(b"ftyp", b"M4A \0\0\0\0isom")
}

fn ogg_page(packet: &[u8]) -> Vec<u8> {
    let mut page = b"OggS\0\x02".to_vec();
    page.extend_from_slice(&[0; 20]);
    page.push(1);
    page.push(packet.len() as u8);
    page.extend_from_slice(packet);
    page
}

/// The checksum of an Ogg page whose own field is zero (RFC 3533, section 6).
fn ogg_sum(page: &[u8]) -> u32 {
    page.iter().fold(0, |sum, byte| {
        (0..8).fold(sum ^ (u32::from(*byte) << 24), |sum, _| {
            if sum >> 31 == 1 { (sum << 1) ^ 0x04c1_1db7 } else { sum << 1 }
        })
    })
}

/// One frame of MPEG-1 layer III, 128 kbit/s at 44.1 kHz: 417 bytes.
fn mp3_frame() -> Vec<u8> {
    let mut frame = vec![0xff, 0xfb, 0x90, 0x00];
    frame.resize(417, 0);
    frame
}

fn id3(body: usize) -> Vec<u8> {
    let mut tag = b"ID3\x04\0\0".to_vec();
    tag.extend([21, 14, 7, 0].map(|shift| (body >> shift) as u8 & 0x7f));
    tag.resize(10 + body, 0);
    tag
}

#[test]
fn every_fixture_is_recognised_by_its_bytes() {
    for (name, container) in [
        ("speech.wav", Container::Wav),
        ("speech.mp3", Container::Mp3),
        ("speech.aiff", Container::Aiff),
        ("speech.aac", Container::Aac),
        ("speech.ogg", Container::Ogg),
        ("speech.opus", Container::Ogg),
        ("speech.flac", Container::Flac),
        ("speech.m4a", Container::M4a),
        ("speech-moov-last.m4a", Container::M4a),
        ("speech-rf64.wav", Container::Wav),
        ("speech-chunks.wav", Container::Wav),
        ("speech.aifc", Container::Aiff),
        ("speech-sowt.aifc", Container::Aiff),
        ("speech-bare.mp3", Container::Mp3),
        ("speech-picture.mp3", Container::Mp3),
        ("speech.oga", Container::Ogg),
        ("speech-video.mp4", Container::M4a),
    ] {
        assert_eq!(found(&fixture(name)), Some(container), "{name}");
    }
}

#[test]
fn a_film_without_sound_is_not_audio() {
    for name in ["video-only.mp4", "video-only.ogv"] {
        assert_eq!(found(&fixture(name)), None, "{name}");
    }
}

#[test]
fn the_names_follow_the_media_types() {
    for container in Container::all() {
        assert_eq!(container.mime(), format!("audio/{}", container.name()));
    }
}

#[test]
fn a_strong_signature_decides_by_itself() {
    let mut wav = fixture("speech.wav");
    wav.truncate(44);
    assert_eq!(found(&wav), Some(Container::Wav));
    assert_eq!(found(b"RF64\xff\xff\xff\xffWAVEds64"), Some(Container::Wav));
    assert_eq!(found(b"BW64\xff\xff\xff\xffWAVE"), Some(Container::Wav));
    assert_eq!(found(b"FORM\0\0\0\x04AIFC"), Some(Container::Aiff));
    assert_eq!(found(b"fLaC and then junk"), Some(Container::Flac));
    assert_eq!(found(b"OggS"), Some(Container::Ogg));
    assert_eq!(found(b"OggS, then junk that is no page at all"), Some(Container::Ogg));
    assert_eq!(found(&ftyp()), Some(Container::M4a));
    assert_eq!(found(b"\0\0\0\x20ftypM4A "), Some(Container::M4a));
}

#[test]
fn a_wav_with_odd_chunks_first_is_recognised() {
    assert_eq!(found(b"RIFF\x10\0\0\0WAVELIST\x04\0\0\0junk"), Some(Container::Wav));
}

#[test]
fn a_tag_is_skipped_and_what_follows_decides() {
    assert_eq!(found(&[id3(300), fixture("speech.flac")].concat()), Some(Container::Flac));
    assert_eq!(found(&[id3(300), fixture("speech.aac")].concat()), Some(Container::Aac));
    assert_eq!(found(&[id3(300), mp3_frame(), mp3_frame()].concat()), Some(Container::Mp3));
    assert_eq!(found(&[id3(5), id3(300), fixture("speech.aac")].concat()), Some(Container::Aac));
}

#[test]
fn a_tag_alone_or_cut_off_is_an_mp3() {
    assert_eq!(found(&id3(0)), Some(Container::Mp3));
    assert_eq!(found(&id3(200)[..50]), Some(Container::Mp3));
    assert_eq!(found(&[id3(20), b"nothing known".to_vec()].concat()), Some(Container::Mp3));
    assert_eq!(found(b"ID3\x04\0\0\x7f\x7f\x7f\x7f"), Some(Container::Mp3));
    assert_eq!(found(&id3(0).repeat(40)), Some(Container::Mp3));
}

#[test]
fn text_about_tags_is_not_a_tag() {
    assert_eq!(found(b"ID3 is a format of tags."), None);
}

#[test]
fn one_frame_is_enough_where_the_data_ends() {
    assert_eq!(found(&mp3_frame()), Some(Container::Mp3));
    assert_eq!(found(&mp3_frame()[..40]), Some(Container::Mp3));
    assert_eq!(found(&fixture("speech.aac")[..20]), Some(Container::Aac));
}

#[test]
fn a_sync_without_a_second_frame_is_not_audio() {
    let mut bytes = mp3_frame();
    bytes.resize(2000, 0x55);
    assert_eq!(found(&bytes), None);
}

#[test]
fn a_movie_without_sound_is_not_audio() {
    let movie = mp4_box(b"moov", &[mp4_box(b"mvhd", &[0; 100]), track(b"vide")].concat());
    assert_eq!(found(&[ftyp(), movie].concat()), None);
}

#[test]
fn a_movie_cut_off_among_its_tracks_may_have_sound() {
    let movie = mp4_box(b"moov", &[track(b"vide"), track(b"soun")].concat());
    let movie = [ftyp(), movie].concat();
    for keep in ftyp().len()..movie.len() {
        assert_eq!(found(&movie[..keep]), Some(Container::M4a), "{keep} bytes");
    }
}

#[test]
fn a_movie_with_sound_is_audio_wherever_its_index_is() {
    let movie = mp4_box(b"moov", &[track(b"vide"), track(b"soun")].concat());
    let data = mp4_box(b"mdat", &[7; 500]);
    assert_eq!(found(&[ftyp(), movie.clone(), data.clone()].concat()), Some(Container::M4a));
    assert_eq!(found(&[ftyp(), data, movie].concat()), Some(Container::M4a));
}

#[test]
fn odd_box_sizes_neither_loop_nor_overflow() {
    for size in [[0; 4], [0, 0, 0, 1], [0, 0, 0, 2], [0, 0, 0, 7], [0xff; 4]] {
        let odd = [&size[..], b"free", &[0xff; 64]].concat();
        assert_eq!(found(&[ftyp(), odd].concat()), Some(Container::M4a));
    }
    assert_eq!(found(&[ftyp(), mp4_box(b"free", &[]).repeat(100_000)].concat()), Some(Container::M4a));
}

#[test]
fn a_picture_in_the_same_boxes_is_not_audio() {
    assert_eq!(found(&mp4_box(b"ftyp", b"heic\0\0\0\0mif1")), None);
    assert_eq!(found(&mp4_box(b"ftyp", b"avif\0\0\0\0mif1")), None);
}

#[test]
fn a_movie_with_sound_and_more_is_audio_and_one_without_is_not_whatever_its_codecs_are() {
    for others in [[b"vide", b"tmcd"], [b"meta", b"hint"]] {
        let others = others.map(track).concat();
        assert_eq!(found(&[ftyp(), mp4_box(b"moov", &others)].concat()), None);
        let movie = mp4_box(b"moov", &[others, track(b"soun")].concat());
        assert_eq!(found(&[ftyp(), movie].concat()), Some(Container::M4a));
    }
}

#[test]
fn an_ogg_cut_off_or_damaged_is_judged_by_its_first_packet() {
    for head in [&b"\x01vorbis-------"[..], b"OpusHead\x01\x01", b"\x7fFLAC\x01\0\0\0", b"Speex   1.2"] {
        assert_eq!(found(&ogg_page(head)), Some(Container::Ogg));
    }
    assert_eq!(found(&ogg_page(b"\x80theora\x03\x02\x01")), None);
    assert_eq!(found(&ogg_page(b"BBCD\0\0\0\0\0")), None);
    assert_eq!(found(&ogg_page(b"fishead\0\x03\0\0\0")), None);
    for name in ["speech.ogg", "speech.opus", "speech.oga"] {
        let whole = fixture(name);
        for keep in [4, 27, 30, 40, 60, 200, 4000] {
            assert_eq!(found(&whole[..keep.min(whole.len())]), Some(Container::Ogg), "{name} {keep}");
        }
    }
}

#[test]
fn an_ogg_is_audio_wherever_its_sound_is_among_its_streams() {
    let opus = fixture("speech.opus");
    let mut skeleton = ogg_page(b"fishead\0\x03\0\0\0\0\0\0\0");
    // A stream of its own, and the sum that makes the page whole.
    skeleton[14] = 9;
    let sum = ogg_sum(&skeleton);
    skeleton[22..26].copy_from_slice(&sum.to_le_bytes());
    assert_eq!(found(&[skeleton, opus].concat()), Some(Container::Ogg));
}

#[test]
fn what_is_not_audio_is_refused() {
    let utf16: Vec<u8> = "\u{feff}hearken, a text".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let long_utf16: Vec<u8> = std::iter::once(0xfeff_u16)
        .chain("hearken ".repeat(400).encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    let cases: [&[u8]; 20] = [
        b"",
        b"R",
        b"RIFF",
        b"RIFF\0\0\0\0AVI LIST",
        b"RIFF\0\0\0\0WEBPVP8 ",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        b"\xff\xd8\xff\xe0\0\x10JFIF\0",
        b"%PDF-1.7\n",
        b"PK\x03\x04\x14\0\0\0\x08\0",
        b"\x7fELF\x02\x01\x01\0",
        b"<!doctype html><html></html>",
        b"{\"audio\":\"fLaC\"}",
        b"The quick brown fox jumps over the lazy dog.",
        b"\x1a\x45\xdf\xa3\x9fB\x86\x81\x01",
        b"GIF89a\x01\0\x01\0",
        b"\x1f\x8b\x08\0\0\0\0\0",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xfe\xff\0h\0e\0a\0r",
        &utf16,
        &long_utf16,
    ];
    for case in cases {
        assert_eq!(found(case), None, "{:02x?}", &case[..case.len().min(16)]);
    }
}

#[test]
fn the_reader_is_left_at_its_start() {
    let mut reader = Cursor::new(fixture("speech.m4a"));
    reader.set_position(99);
    recognise(&mut reader).unwrap();
    assert_eq!(reader.position(), 0);
}

/// Whether the bytes begin as any of the containers does, written down a second time and more loosely.
fn plausible(bytes: &[u8]) -> bool {
    let at = |offset: usize, magic: &[u8]| bytes.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    (at(8, b"WAVE") || at(8, b"AIF") || at(0, b"OggS") || at(0, b"fLaC") || at(4, b"ftyp") || at(0, b"ID3"))
        || matches!(bytes, [0xff, second, ..] if *second >= 0xe0)
}

proptest! {
    #[test]
    fn random_bytes_are_accepted_only_with_a_genuine_signature(
        bytes in proptest::collection::vec(any::<u8>(), 0..3000),
    ) {
        prop_assert!(found(&bytes).is_none() || plausible(&bytes));
    }

    #[test]
    fn random_bytes_after_a_frame_sync_are_not_audio(
        second in 0xe0_u8..,
        bytes in proptest::collection::vec(any::<u8>(), 17_000..17_400),
    ) {
        // Longer than any two frames, so that the second frame has to be there.
        let bytes = [&[0xff, second], &bytes[..]].concat();
        prop_assert_eq!(found(&bytes), None);
    }

    #[test]
    fn damaged_boxes_and_pages_never_panic(
        name in prop_oneof![Just("speech.m4a"), Just("speech.ogg"), Just("speech.mp3"), Just("speech.aac")],
        changes in proptest::collection::vec((0_usize..1200, any::<u8>()), 1..30),
        keep in 0_usize..12_000,
    ) {
        let mut bytes = fixture(name);
        for (at, value) in changes {
            bytes[at] = value;
        }
        bytes.truncate(keep);
        found(&bytes);
    }
}
