//! Tests of which content is recognised as audio and, more important, which is not.

use std::io::Cursor;

use proptest::prelude::*;

use super::*;

fn result_of(bytes: &[u8]) -> Result<Container, NoAudio> {
    recognise(&mut Cursor::new(bytes)).unwrap()
}

fn found(bytes: &[u8]) -> Option<Container> {
    result_of(bytes).ok()
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
    // One sample, in the first byte of the file.
    let sizes = mp4_box(b"stsz", &[&[0; 8][..], &[0, 0, 0, 1]].concat());
    let places = mp4_box(b"stco", &[&[0; 4][..], &[0, 0, 0, 1], &[0; 4]].concat());
    let table = mp4_box(b"minf", &mp4_box(b"stbl", &[sizes, places].concat()));
    let media = mp4_box(b"mdia", &[mp4_box(b"mdhd", &[0; 24]), mp4_box(b"hdlr", &content), table].concat());
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

/// Returns the checksum of an Ogg page whose own field is zero (RFC 3533, section 6).
fn ogg_sum(page: &[u8]) -> u32 {
    page.iter().fold(0, |sum, byte| {
        (0..8).fold(sum ^ (u32::from(*byte) << 24), |sum, _| {
            if sum >> 31 == 1 { (sum << 1) ^ 0x04c1_1db7 } else { sum << 1 }
        })
    })
}

/// Returns one frame of MPEG-1 layer III, 128 kbit/s at 44.1 kHz: 417 bytes.
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
fn the_names_of_containers_follow_the_media_types() {
    for container in Container::all() {
        assert_eq!(container.mime(), format!("audio/{}", container.name()));
    }
}

#[test]
fn a_long_recording_whose_header_states_no_length_has_sound() {
    let speech = fixture("speech.wav");
    let samples = vec![3; 6 << 20];
    for (whole, stated) in [(36, 0_u32), (6 << 20, 0), (u32::MAX, u32::MAX), (0x7fff_ffff, 0x7fff_f000)] {
        let head = [&speech[..4], &whole.to_le_bytes(), &speech[8..40], &stated.to_le_bytes()].concat();
        assert_eq!(result_of(&[head, samples.clone()].concat()), Ok(Container::Wav), "{whole} {stated}");
    }
}

#[test]
fn a_header_without_sound_is_soundless() {
    let soundless = |bytes: &[u8], container: Container| {
        let shown = &bytes[..bytes.len().min(16)];
        assert_eq!(
            result_of(bytes),
            Err(NoAudio::Soundless(container)),
            "{shown:02x?}, {} bytes",
            bytes.len()
        );
    };
    soundless(&fixture("speech.wav")[..44], Container::Wav);
    // Half a sample of 16 bits.
    soundless(&fixture("speech.wav")[..45], Container::Wav);
    soundless(b"RF64\xff\xff\xff\xffWAVEds64", Container::Wav);
    soundless(b"BW64\xff\xff\xff\xffWAVE", Container::Wav);
    soundless(b"RIFF\x10\0\0\0WAVELIST\x04\0\0\0junk", Container::Wav);
    soundless(b"FORM\0\0\0\x04AIFC", Container::Aiff);
    soundless(b"FORM\0\0\0\x14AIFFSSND\0\0\0\x08\0\0\0\0\0\0\0\0", Container::Aiff);
    soundless(b"FORM\0\0\0\x20AIFFSSND\0\0\0\x08\0\0\0\0\0\0\0\0NAME\0\0\0\x04name", Container::Aiff);
    soundless(b"fLaC and then junk", Container::Flac);
    soundless(b"fLaC\x80\0\0\x22----------------------------------", Container::Flac);
    soundless(b"OggS", Container::Ogg);
    soundless(b"OggS, then junk that is no page at all", Container::Ogg);
    soundless(&ftyp(), Container::M4a);
    soundless(b"\0\0\0\x20ftypM4A ", Container::M4a);
    soundless(&[ftyp(), mp4_box(b"mdat", &[7; 500])].concat(), Container::M4a);
    soundless(&id3(0), Container::Mp3);
    soundless(&id3(200)[..50], Container::Mp3);
    soundless(b"ID3\x04\0\0\x7f\x7f\x7f\x7f", Container::Mp3);
    soundless(&id3(0).repeat(40), Container::Mp3);
    soundless(&mp3_frame()[..40], Container::Mp3);
    soundless(&fixture("speech.aac")[..20], Container::Aac);
    let mut index = mp3_frame();
    index[36..40].copy_from_slice(b"Info");
    soundless(&index, Container::Mp3);
    // With a checksum, in mono and by each encoder.
    for (mode, at, mark) in [(0, 38, b"Xing"), (0xc0, 23, b"Info"), (0xc0, 38, b"VBRI"), (0, 36, b"VBRI")] {
        let mut index = mp3_frame();
        index[1] = 0xfa;
        index[3] = mode;
        index[at..at + 4].copy_from_slice(mark);
        soundless(&index, Container::Mp3);
        soundless(&[id3(20), index.clone(), [&b"TAG"[..], &[0; 125]].concat()].concat(), Container::Mp3);
        assert_eq!(result_of(&[index, mp3_frame()].concat()), Ok(Container::Mp3));
    }
    assert_eq!(result_of(b""), Err(NoAudio::Empty));
}

#[test]
fn a_file_has_sound_from_its_first_sample_frame_or_packet_on() {
    for (name, container) in [
        ("speech.wav", Container::Wav),
        ("speech-rf64.wav", Container::Wav),
        ("speech-chunks.wav", Container::Wav),
        ("speech.mp3", Container::Mp3),
        ("speech-bare.mp3", Container::Mp3),
        ("speech-picture.mp3", Container::Mp3),
        ("speech.aiff", Container::Aiff),
        ("speech-sowt.aifc", Container::Aiff),
        ("speech.aac", Container::Aac),
        ("speech.ogg", Container::Ogg),
        ("speech.opus", Container::Ogg),
        ("speech.oga", Container::Ogg),
        ("speech.flac", Container::Flac),
    ] {
        let file = fixture(name);
        // Finds the shortest beginning with sound by bisection.
        let (mut without, mut with) = (0, file.len());
        while with - without > 1 {
            let middle = without.midpoint(with);
            if found(&file[..middle]).is_some() { with = middle } else { without = middle }
        }
        assert!(with > 40 && with <= file.len(), "{name}: {with} bytes");
        for keep in (64..with).step_by(97) {
            assert_eq!(result_of(&file[..keep]), Err(NoAudio::Soundless(container)), "{name}: {keep} bytes");
        }
        for keep in (with..file.len()).step_by(997) {
            assert_eq!(result_of(&file[..keep]), Ok(container), "{name}: {keep} bytes");
        }
    }
}

#[test]
fn compressed_sound_that_is_all_zeros_is_not_sound() {
    for name in ["speech.m4a", "speech-moov-last.m4a", "speech-fragments.m4a", "speech-video.mp4"] {
        let mut bytes = fixture(name);
        let places: Vec<_> = memchr::memmem::find_iter(&bytes, b"mdat").collect();
        for place in &places {
            let size = u32::from_be_bytes(bytes[place - 4..*place].try_into().unwrap()) as usize;
            bytes[place + 4..place - 4 + size].fill(0);
        }
        assert_eq!(result_of(&bytes), Err(NoAudio::Soundless(Container::M4a)), "{name}");
        let size = u32::from_be_bytes(bytes[places[0] - 4..places[0]].try_into().unwrap()) as usize;
        bytes[places[0] - 5 + size] = 1;
        assert_eq!(result_of(&bytes), Ok(Container::M4a), "{name}");
    }
}

#[test]
fn a_fragmented_movie_has_sound_from_its_first_fragment_on() {
    let movie = mp4_box(b"moov", &track(b"soun")).split_off(0);
    // The tables of a fragmented movie are empty.
    let at = movie.windows(4).position(|four| four == b"stsz").unwrap();
    let mut movie = [ftyp(), movie].concat();
    movie[ftyp().len() + at + 15] = 0;
    assert_eq!(result_of(&movie), Err(NoAudio::Soundless(Container::M4a)));
    let header = mp4_box(b"tfhd", &[0; 8]);
    let run = |samples: u8| mp4_box(b"trun", &[0, 0, 0, 0, 0, 0, 0, samples]);
    let fragment = |samples| mp4_box(b"moof", &mp4_box(b"traf", &[header.clone(), run(samples)].concat()));
    let data = mp4_box(b"mdat", &[7; 20]);
    assert_eq!(result_of(&[movie.clone(), fragment(3), data.clone()].concat()), Ok(Container::M4a));
    for without in [vec![movie.clone(), fragment(3)], vec![movie.clone(), fragment(0), data.clone()]] {
        assert_eq!(result_of(&without.concat()), Err(NoAudio::Soundless(Container::M4a)));
    }
    assert_eq!(result_of(&[ftyp(), fragment(3), data].concat()), Err(NoAudio::Soundless(Container::M4a)));
}

#[test]
fn a_movie_may_begin_with_other_boxes() {
    let movie = mp4_box(b"moov", &track(b"soun"));
    for kind in [b"wide", b"free", b"skip", b"mdat", b"pnot"] {
        for content in [0, 700] {
            let first = mp4_box(kind, &vec![0; content]);
            assert_eq!(result_of(&[first.clone(), movie.clone()].concat()), Ok(Container::M4a));
            assert_eq!(result_of(&[first, ftyp(), movie.clone()].concat()), Ok(Container::M4a));
        }
    }
    assert_eq!(result_of(&movie), Ok(Container::M4a));
    assert_eq!(found(&mp4_box(b"free", &[0; 700])), None);
}

#[test]
fn frames_are_found_behind_other_bytes() {
    let noise: Vec<u8> =
        (0_u32..).map(|at| (at.wrapping_mul(2_654_435_761) >> 23) as u8).take(3000).collect();
    let bare = fixture("speech-bare.mp3");
    for (what, before) in [
        ("zeros", vec![0; 3000]),
        ("many zeros", vec![0; 60_000]),
        ("ones", vec![0xff; 3000]),
        ("noise", noise),
        ("the end of a frame", bare[77..500].to_vec()),
    ] {
        assert_eq!(result_of(&[&before[..], &bare[..]].concat()), Ok(Container::Mp3), "{what}");
        assert_eq!(result_of(&[before, fixture("speech.aac")].concat()), Ok(Container::Aac), "{what}");
    }
    assert_eq!(result_of(&[id3(300), vec![0; 500], bare.clone()].concat()), Ok(Container::Mp3));
    assert_eq!(result_of(&fixture("speech.aac")[100..]), Ok(Container::Aac));
    assert_eq!(result_of(&[vec![0; 70_000], bare].concat()), Err(NoAudio::Unknown), "too far behind");
}

#[test]
fn other_known_formats_are_not_searched_for_frames() {
    let sound = fixture("speech-bare.mp3");
    for head in
        [&b"PK\x03\x04"[..], b"\xff\xd8\xff\xe0", b"RIFF\0\0\0\0AVI LIST", b"%PDF-1.7\n", b"\x1a\x45\xdf\xa3"]
    {
        let file = [head, &[0; 300], &sound[..]].concat();
        assert!(matches!(result_of(&file), Err(NoAudio::Foreign(_))), "{head:02x?}");
    }
}

#[test]
fn the_failure_names_content_that_is_not_audio() {
    let loas = [&[0x56, 0xe0, 0x03, 1, 2, 3][..]].concat().repeat(5);
    let mut stream = vec![0; 188 * 4];
    for packet in stream.chunks_mut(188) {
        packet[0] = 0x47;
    }
    let mut tar = vec![b'x'; 600];
    tar[257..262].copy_from_slice(b"ustar");
    let page = b"\xef\xbb\xbf\r\n <!DOCTYPE html>\n<html><body>Anmelden \xe4</body></html>";
    let cases: &[(&[u8], &str)] = &[
        (b"\x1a\x45\xdf\xa3\x9fB\x86\x81\x01", "WebM"),
        (b"#!AMR\n\x3c", "AMR"),
        (b"#!AMR-WB\n\x3c", "AMR"),
        (b"caff\0\x01\0\0desc", "CAF"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9", "WMA"),
        (&loas, "LATM"),
        (&stream, "transport stream"),
        (b"\x02#!SILK_V3", "SILK"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF\0", "JPEG"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "PNG"),
        (b"GIF89a\x01\0\x01\0", "GIF"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "WebP"),
        (&mp4_box(b"ftyp", b"heic\0\0\0\0mif1"), "HEIC"),
        (&mp4_box(b"ftyp", b"avif\0\0\0\0mif1"), "AVIF"),
        (b"%PDF-1.7\n", "PDF"),
        (b"PK\x03\x04\x14\0\0\0\x08\0", "ZIP"),
        (b"\x1f\x8b\x08\0\0\0\0\0", "gzip"),
        (&tar, "tar"),
        (b"MThd\0\0\0\x06", "MIDI"),
        (b"\x7fELF\x02\x01\x01\0", "program"),
        (page, "web page"),
        (b"<html>", "web page"),
        (b"{\"error\":\"no such file\"}", "JSON"),
        (b"[1, 2]", "JSON"),
        (b"#EXTM3U\n#EXT-X-VERSION:3\n", "M3U"),
        (b"[playlist]\nFile1=http://h/a.mp3\n", "PLS"),
        (b"https://h.example/a.mp3\n", "addresses"),
        (b"<?xml version=\"1.0\"?>\n<rss version=\"2.0\">", "feed"),
        (b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "XML"),
        (b"UklGRiwAAABXQVZF", "base64"),
        (b"data:audio/wav;base64,UklG", "data URI"),
        (b"The quick brown fox jumps over the lazy dog.", "plain text"),
        ("Der schnelle Fuchs \u{e4}\u{4e2d}".as_bytes(), "plain text"),
        (b"\xfe\xff\0h\0e\0a\0r", "plain text"),
    ];
    for (content, words) in cases {
        let Err(NoAudio::Foreign(foreign)) = result_of(content) else {
            panic!("{words}: {:?}", result_of(content));
        };
        assert!(foreign.name.contains(words), "{words}: {foreign:?}");
    }
}

#[test]
fn a_tag_is_skipped_and_the_next_bytes_decide() {
    assert_eq!(found(&[id3(300), fixture("speech.flac")].concat()), Some(Container::Flac));
    assert_eq!(found(&[id3(300), fixture("speech.aac")].concat()), Some(Container::Aac));
    assert_eq!(found(&[id3(300), mp3_frame(), mp3_frame()].concat()), Some(Container::Mp3));
    assert_eq!(found(&[id3(5), id3(300), fixture("speech.aac")].concat()), Some(Container::Aac));
}

#[test]
fn text_about_tags_is_not_a_tag() {
    assert_eq!(found(b"ID3 is a format of tags."), None);
}

#[test]
fn one_frame_is_enough_if_the_data_ends_behind_it() {
    assert_eq!(found(&mp3_frame()), Some(Container::Mp3));
    let tag = [b"TAG".to_vec(), vec![0; 125]].concat();
    assert_eq!(found(&[mp3_frame(), tag].concat()), Some(Container::Mp3));
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
    assert_eq!(result_of(&[ftyp(), movie].concat()), Err(NoAudio::SilentVideo));
}

#[test]
fn a_movie_cut_off_before_its_samples_has_no_sound() {
    let movie = mp4_box(b"moov", &[track(b"vide"), track(b"soun")].concat());
    let mut movie = [ftyp(), movie].concat();
    for keep in ftyp().len()..movie.len() - 4 {
        assert!(found(&movie[..keep]).is_none(), "{keep} bytes");
    }
    // The first sample would lie behind the end.
    let end = movie.len() as u32;
    let last = movie.len() - 4;
    movie[last..].copy_from_slice(&end.to_be_bytes());
    assert_eq!(result_of(&movie), Err(NoAudio::Soundless(Container::M4a)));
    assert_eq!(result_of(&[movie, vec![7]].concat()), Ok(Container::M4a));
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
        assert_eq!(found(&[ftyp(), odd].concat()), None);
    }
    assert_eq!(found(&[ftyp(), mp4_box(b"free", &[]).repeat(100_000)].concat()), None);
}

#[test]
fn a_movie_is_audio_if_it_has_sound_whatever_its_codecs_are() {
    for others in [[b"vide", b"tmcd"], [b"meta", b"hint"]] {
        let others = others.map(track).concat();
        assert_eq!(found(&[ftyp(), mp4_box(b"moov", &others)].concat()), None);
        let movie = mp4_box(b"moov", &[others, track(b"soun")].concat());
        assert_eq!(found(&[ftyp(), movie].concat()), Some(Container::M4a));
    }
}

#[test]
fn an_ogg_without_sound_differs_from_one_without_a_sound_stream() {
    for head in [&b"\x01vorbis-------"[..], b"OpusHead\x01\x01", b"\x7fFLAC\x01\0\0\0", b"Speex   1.2"] {
        assert_eq!(result_of(&ogg_page(head)), Err(NoAudio::Soundless(Container::Ogg)));
    }
    assert_eq!(result_of(&ogg_page(b"\x80theora\x03\x02\x01")), Err(NoAudio::SilentVideo));
    assert_eq!(result_of(&ogg_page(b"BBCD\0\0\0\0\0")), Err(NoAudio::SilentVideo));
    assert_eq!(result_of(&ogg_page(b"fishead\0\x03\0\0\0")), Err(NoAudio::SilentVideo));
}

#[test]
fn an_ogg_with_damage_before_its_sound_is_audio() {
    for name in ["speech.ogg", "speech.opus", "speech.oga"] {
        let mut file = fixture(name);
        let second = 4 + file[4..].windows(4).position(|four| four == b"OggS").unwrap();
        file.splice(second..second, *b"rubbish OggS, more of it");
        assert_eq!(result_of(&file), Ok(Container::Ogg), "{name}");
    }
}

#[test]
fn an_ogg_is_audio_whichever_of_its_streams_has_sound() {
    let opus = fixture("speech.opus");
    let mut skeleton = ogg_page(b"fishead\0\x03\0\0\0\0\0\0\0");
    // A separate stream, and the checksum that makes the page whole.
    skeleton[14] = 9;
    let sum = ogg_sum(&skeleton);
    skeleton[22..26].copy_from_slice(&sum.to_le_bytes());
    assert_eq!(found(&[skeleton, opus].concat()), Some(Container::Ogg));
}

#[test]
fn content_that_is_not_audio_is_refused() {
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
    recognise(&mut reader).unwrap().unwrap();
    assert_eq!(reader.position(), 0);
}

/// Returns true if the bytes begin as any of the containers does: a second, looser implementation.
fn plausible(bytes: &[u8]) -> bool {
    let at = |offset: usize, magic: &[u8]| bytes.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    (at(8, b"WAVE") || at(8, b"AIF") || at(0, b"OggS") || at(0, b"fLaC") || at(4, b"ftyp") || at(0, b"ID3"))
        || matches!(bytes, [0xff, second, ..] if *second >= 0xe0)
}

/// Returns random bytes.
fn noise(seed: u64) -> impl Iterator<Item = u8> {
    let mut noise = seed | 1;
    std::iter::repeat_with(move || {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        noise as u8
    })
}

proptest! {
    #[test]
    fn random_bytes_are_accepted_only_with_a_genuine_signature(
        bytes in proptest::collection::vec(any::<u8>(), 0..3000),
    ) {
        prop_assert!(found(&bytes).is_none() || plausible(&bytes));
    }

    #[test]
    fn no_frames_are_found_in_other_bytes(
        seed in any::<u64>(),
        period in prop_oneof![Just(1_usize), Just(2), Just(3), Just(4), Just(6), Just(8), 1_usize..5000],
        loud in any::<u8>(),
        masks in proptest::collection::vec(any::<(u8, u8)>(), 8),
    ) {
        // Random bytes, as many as are searched. Some of their bits repeat at intervals, as in samples and tables.
        let bytes: Vec<u8> = noise(seed)
            .take(100_000)
            .enumerate()
            .map(|(at, noise)| {
                let (mask, value) = masks[at % period % masks.len()];
                (noise & loud & mask) | (value & !mask)
            })
            .collect();
        prop_assert!(found(&bytes).is_none() || plausible(&bytes));
    }

    #[test]
    fn random_bytes_after_a_frame_sync_are_not_audio(
        second in 0xe0_u8..,
        seed in any::<u64>(),
    ) {
        // Longer than any two frames, so that the second frame has to be there.
        let bytes = [0xff, second].into_iter().chain(noise(seed)).take(17_400).collect::<Vec<u8>>();
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
