//! Tests of where the sound lies in real, joined and generated files.

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use proptest::prelude::*;

use super::*;
use crate::audio::format::ogg::sign;

#[path = "../../../tests/it/support/flac.rs"]
pub(crate) mod made_flac;

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/fixtures/audio/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn found(bytes: &[u8], container: Container) -> Layout {
    Layout::find(&mut Cursor::new(bytes), container, u64::MAX).unwrap()
}

/// Fixtures, each with its container and how long it lasts.
const FILES: [(&str, Container, f64); 12] = [
    ("speech.wav", Container::Wav, 2.179),
    ("speech-rf64.wav", Container::Wav, 0.7),
    ("speech.aiff", Container::Aiff, 2.179),
    ("speech-sowt.aifc", Container::Aiff, 0.7),
    ("speech.flac", Container::Flac, 2.179),
    ("speech.ogg", Container::Ogg, 2.179),
    ("speech.opus", Container::Ogg, 2.179),
    ("speech.mp3", Container::Mp3, 2.179),
    ("speech-picture.mp3", Container::Mp3, 0.7),
    ("speech.m4a", Container::M4a, 2.243),
    ("speech-moov-last.m4a", Container::M4a, 2.243),
    ("speech-fragments.m4a", Container::M4a, 2.307),
];

#[test]
fn a_single_file_has_one_part_and_is_whole() {
    for (name, container, seconds) in FILES {
        let layout = found(&fixture(name), container);
        let [part] = &layout.parts[..] else { panic!("{name}: {layout:?}") };
        assert!(!part.is_cut && part.damages == 0 && !part.has_loose_end, "{name}: {layout:?}");
        let said = layout.duration().unwrap().as_secs_f64();
        assert!((said - seconds).abs() < 0.002, "{name}: {said}");
    }
}

#[test]
fn joined_files_are_separate_parts_and_count_together() {
    for (name, container, seconds) in FILES {
        let layout = found(&fixture(name).repeat(3), container);
        assert_eq!(layout.parts.len(), 3, "{name}: {layout:?}");
        assert!(layout.parts.iter().all(|part| !part.is_cut), "{name}: {layout:?}");
        let said = layout.duration().unwrap().as_secs_f64();
        assert!((said - 3.0 * seconds).abs() < 0.006, "{name}: {said}");
    }
}

/// A fixture of each kind, with its container.
const KINDS: [(&str, Container); 10] = [
    ("speech.wav", Container::Wav),
    ("speech-rf64.wav", Container::Wav),
    ("speech-sowt.aifc", Container::Aiff),
    ("speech.flac", Container::Flac),
    ("speech.ogg", Container::Ogg),
    ("speech.opus", Container::Ogg),
    ("speech-picture.mp3", Container::Mp3),
    ("speech-24k.aac", Container::Aac),
    ("speech-moov-last.m4a", Container::M4a),
    ("speech-fragments.m4a", Container::M4a),
];

#[test]
fn joined_files_of_any_two_kinds_are_parts_and_count_together() {
    let tag = [&b"TAG"[..], &[b' '; 125]].concat();
    let prose = b"no sound but words, again and again. ".repeat(60);
    for (first, first_container) in KINDS {
        let one = found(&fixture(first), first_container);
        for (second, second_container) in KINDS {
            let two = found(&fixture(second), second_container);
            for between in [&b""[..], &tag, &prose] {
                // If other bytes follow its boxes, a file in fragments may have lost some.
                let is_open = first == "speech-fragments.m4a" && between == prose;
                let bytes = [&fixture(first)[..], between, &fixture(second)].concat();
                let layout = found(&bytes, first_container);
                let containers: Vec<_> = layout.parts.iter().map(|part| part.container).collect();
                let whole = layout.parts.iter().all(|part| !part.is_cut);
                assert!(is_open || whole, "{first} {second}: {layout:?}");
                match &containers[..] {
                    // One row of frames of one format is one part.
                    [Container::Aac] => assert_eq!(first, second),
                    _ => assert_eq!(containers, [first_container, second_container]),
                }
                let both = one.duration().unwrap() + two.duration().unwrap();
                assert_eq!(layout.duration().unwrap(), both, "{first} {second}: {layout:?}");
            }
        }
    }
}

/// Counts the bytes that are read.
struct Counting<'b> {
    inner: Cursor<&'b [u8]>,
    read: u64,
}

impl Read for Counting<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buf)?;
        self.read += count as u64;
        Ok(count)
    }
}

impl Seek for Counting<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

#[test]
fn a_search_through_other_bytes_reads_a_small_multiple_of_them() {
    // Several of the blocks that are read at a time.
    const SIZE: usize = 256 << 10;
    let mp3 = fixture("speech-bare.mp3");
    // Frames of ADTS of 8190 bytes that begin every 15 bytes, and differ in bits that a frame may choose freely.
    let nested: Vec<u8> = (0..17_000_u32)
        .flat_map(|number| {
            [&[0xff, 0xf1, 0x50, 0xbb | (number as u8 & 1) << 6, 0xff, 0xdf, 0xfc][..], &[7; 8]].concat()
        })
        .collect();
    let pairs = [&mp3[..20], &[7; 500], &b"\xff\xfb\x90\0\xff\xf1\x50\x80\0\x3f\xfc"[..]].concat();
    let tags = [&b"ID3\x04\0\0\0\0\x20\0"[..], &b"\xff\xf1\x50\x80\0\xff\xfc"[..]].concat();
    let moofs = b"\0\0\0\x0cmoof\0\0\0\0junkjunk".to_vec();
    // Beginnings of fragments, with junk in them: behind the end of each, the next one is searched.
    let broken = b"\0\0\0\x1cmoof\0\0\0\x10mfhd\0\0\0\0\0\0\0\0junkjunkjunk".to_vec();
    let (waves, pages) = (b"RIFF\0\0\0\0WAVE".to_vec(), b"OggS\0".to_vec());
    for pattern in [vec![0xff; 64], nested, pairs, tags, moofs, broken, waves, pages] {
        let foreign = pattern.repeat(SIZE / pattern.len());
        assert!(foreign.len() > SIZE / 2);
        for (name, container) in KINDS {
            let bytes = [&fixture(name)[..], b"end", &foreign].concat();
            let mut source = Counting { inner: Cursor::new(&bytes), read: 0 };
            let layout = Layout::find(&mut source, container, u64::MAX).unwrap();
            let times = source.read / bytes.len() as u64;
            let shown = &pattern[..pattern.len().min(12)];
            assert!(times < 16, "{name}, {shown:02x?}: {times} times, {} parts", layout.parts.len());
        }
    }
}

#[test]
fn a_cut_file_reports_the_sound_that_is_left() {
    for (name, container, seconds) in FILES {
        let mut bytes = fixture(name);
        // The index of this one is at its end: without it, nothing can be found.
        if name == "speech-moov-last.m4a" {
            continue;
        }
        bytes.truncate(bytes.len() * 3 / 4 + 1);
        let layout = found(&bytes, container);
        let [part] = &layout.parts[..] else { panic!("{name}: {layout:?}") };
        assert!(part.is_cut, "{name}: {layout:?}");
        let said = layout.duration().map_or(0.0, |said| said.as_secs_f64());
        assert!((0.4 * seconds..0.95 * seconds).contains(&said), "{name}: {said}");
    }
}

#[test]
fn frames_of_two_rates_are_parts_that_count_by_their_own_rate() {
    let (slow, fast) = (fixture("speech.aac"), fixture("speech-24k.aac"));
    let length = |bytes: &[u8]| found(bytes, Container::Aac).duration().unwrap();
    let both = found(&[slow.clone(), fast.clone(), slow.clone()].concat(), Container::Aac);
    assert_eq!(both.parts.len(), 3);
    assert_eq!(both.duration().unwrap(), length(&slow) * 2 + length(&fast));
}

#[test]
fn frames_of_many_sizes_are_counted_without_a_tag() {
    // Bit rates from 32 to 320 kbit/s in turn, the first ones low: the first frames do not predict the rest.
    let sizes: [usize; 14] = [104, 130, 156, 182, 208, 261, 313, 365, 417, 522, 626, 731, 835, 1044];
    let mut bytes = Vec::new();
    for number in 0..4000_usize {
        let index = if number < 300 { 0 } else { number % 14 };
        let mut frame = vec![0xff, 0xfb, (index as u8 + 1) << 4, 0];
        frame.resize(sizes[index], 0);
        bytes.extend(frame);
    }
    let said = found(&bytes, Container::Mp3).duration().unwrap().as_secs_f64();
    assert!((said - 4000.0 * 1152.0 / 44_100.0).abs() < 1e-6, "{said}");
}

#[test]
fn junk_before_and_between_frames_is_skipped() {
    let (mp3, aac) = (fixture("speech-bare.mp3"), fixture("speech-24k.aac"));
    for (bytes, container) in [(mp3, Container::Mp3), (aac, Container::Aac)] {
        let bare = found(&bytes, container).duration().unwrap();
        for junk in [vec![0; 3000], vec![0xff; 3000], b"\xff\xfb\x90\0\xff\xf1\x50\x80 no frames".repeat(20)]
        {
            let layout = found(&[&junk[..], &bytes].concat(), container);
            assert_eq!(layout.duration(), Some(bare));
            let layout = found(&[&bytes[..], &junk, &bytes].concat(), container);
            assert_eq!(layout.duration(), Some(2 * bare));
        }
    }
}

#[test]
fn a_flac_lasts_as_long_as_its_last_frame_shows() {
    for (frames, stated) in [(200_u32, 0_u64), (200, 1), (200, (1 << 36) - 1)] {
        let said = found(&made_flac::bomb(frames, stated), Container::Flac).duration().unwrap();
        let truth = f64::from(frames) * f64::from(made_flac::FRAME) / f64::from(made_flac::RATE);
        assert!((said.as_secs_f64() - truth).abs() < 1e-6, "{said:?}");
    }
}

#[test]
fn a_wrong_bit_in_an_ogg_is_noticed_and_costs_at_most_a_page() {
    for (name, seconds) in [("speech.opus", 2.179), ("speech.ogg", 2.179), ("speech.oga", 0.7)] {
        let whole = fixture(name);
        let second_page = whole.windows(4).skip(1).position(|four| four == b"OggS").unwrap() + 1;
        for at in (second_page..whole.len()).step_by(13) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            let layout = found(&bytes, Container::Ogg);
            let [part] = &layout.parts[..] else { panic!("{name}, {at}: {layout:?}") };
            let said = part.duration.map_or(0.0, |said| said.as_secs_f64());
            assert!((seconds - 1.1..seconds + 0.1).contains(&said), "{name}, {at}: {layout:?}");
            // The only page of sound in one of the files is its last page.
            assert!(part.damages > 0 || part.is_cut, "{name}, {at}: {layout:?}");
        }
    }
}

#[test]
fn a_large_ogg_lasts_as_long_as_its_last_page_shows() {
    // The first page of sound, repeated: 50 packets, one second.
    let whole = fixture("speech.opus");
    let (head, page) = (&whole[..121], &whole[121..2460]);
    let mut bytes = head.to_vec();
    for number in 0..600_u64 {
        let mut page = page.to_vec();
        page[6..14].copy_from_slice(&(48_000 * (number + 1)).to_le_bytes());
        page[18..22].copy_from_slice(&(number as u32 + 2).to_le_bytes());
        bytes.extend(sign(page));
    }
    for most in [u64::MAX, 300_000] {
        let layout = Layout::find(&mut Cursor::new(&bytes), Container::Ogg, most).unwrap();
        let said = layout.duration().unwrap().as_secs_f64();
        // Less the samples that an encoder adds in front.
        assert!((said - 600.0).abs() < 0.01, "{most}: {said}");
        assert_eq!(layout.parts[0].range, 0..bytes.len() as u64);
    }
}

#[test]
fn sound_behind_the_bytes_that_may_be_read_is_estimated() {
    let mut frame = vec![0xff, 0xfb, 0x90, 0x00];
    frame.resize(417, 0);
    let bytes = frame.repeat(4000);
    let layout = Layout::find(&mut Cursor::new(&bytes), Container::Mp3, 400_000).unwrap();
    let [part] = &layout.parts[..] else { panic!("{layout:?}") };
    assert_eq!(part.range, 0..bytes.len() as u64);
    let said = part.duration.unwrap().as_secs_f64();
    assert!((said - 4000.0 * 1152.0 / 44_100.0).abs() < 1.0, "{said}");
}

#[test]
fn too_many_joined_files_are_reported() {
    let empty = [
        &b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0"[..],
        b"\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data\0\0\0\0",
    ];
    let layout = found(&empty.concat().repeat(MOST_PARTS + 10), Container::Wav);
    assert!(layout.has_more && layout.parts.len() == MOST_PARTS);
}

proptest! {
    #[test]
    fn any_damage_leaves_parts_in_order_and_within_the_file(
        file in 0..FILES.len(),
        copies in 1_usize..3,
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..30),
        keep in any::<proptest::sample::Index>(),
    ) {
        let (name, container, _) = FILES[file];
        let mut bytes = fixture(name).repeat(copies);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(keep.index(bytes.len() + 1));
        let layout = found(&bytes, container);
        let mut at = 0;
        for part in &layout.parts {
            prop_assert!(part.range.start >= at && part.range.start <= part.range.end, "{layout:?}");
            at = part.range.end;
        }
        prop_assert!(at <= bytes.len() as u64 || layout.parts.len() == 1, "{layout:?}");
    }
}
