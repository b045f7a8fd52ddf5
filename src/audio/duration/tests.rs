//! Tests of the durations of real files, and of damaged files: a wrong duration is limited, and damage costs little
//! time.

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use proptest::prelude::*;

use super::super::bytes::tests::both;
use super::super::library::made_header::tests::wave::{chunk, riff};
use super::super::recognise::recognise;
use super::*;

/// A file, its container and how long it lasts, if it states that.
const FILES: [(&str, Container, Option<f64>); 17] = [
    ("speech.wav", Container::Wav, Some(2.179)),
    ("speech-rf64.wav", Container::Wav, Some(0.7)),
    ("speech-chunks.wav", Container::Wav, Some(0.7)),
    ("speech.aiff", Container::Aiff, Some(2.179)),
    ("speech.aifc", Container::Aiff, Some(0.5)),
    ("speech-sowt.aifc", Container::Aiff, Some(0.7)),
    ("speech.flac", Container::Flac, Some(2.179)),
    ("speech.oga", Container::Ogg, Some(0.7)),
    ("speech.ogg", Container::Ogg, Some(2.179)),
    ("speech.opus", Container::Ogg, Some(2.179)),
    ("speech.mp3", Container::Mp3, Some(2.179)),
    ("speech-picture.mp3", Container::Mp3, Some(0.7)),
    ("speech-bare.mp3", Container::Mp3, Some(0.86)),
    ("speech.aac", Container::Aac, Some(2.179)),
    ("speech.m4a", Container::M4a, Some(2.179)),
    ("speech-moov-last.m4a", Container::M4a, Some(2.179)),
    ("speech-video.mp4", Container::M4a, Some(0.8)),
];

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/fixtures/audio/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn seconds(bytes: &[u8], container: Container) -> Option<f64> {
    stated_duration(&mut Cursor::new(bytes), container).map(|length| length.as_secs_f64())
}

/// Returns true if both are unknown, or within a tenth of each other.
fn agree(said: Option<f64>, truth: Option<f64>) -> bool {
    match (said, truth) {
        (Some(said), Some(truth)) => (said - truth).abs() <= truth / 10.0,
        (said, truth) => said == truth,
    }
}

#[test]
fn the_duration_of_every_fixture_is_found() {
    for (name, container, truth) in FILES {
        let said = seconds(&fixture(name), container);
        assert!(agree(said, truth), "{name}: {said:?}");
    }
}

#[test]
fn tags_in_front_do_not_hide_the_duration() {
    let tag = [b"ID3\x04\0\0\0\0\x01\0", &[0; 128][..]].concat();
    for (name, container, truth) in FILES {
        // The index of MPEG-4 counts from the start of the file, so programs put no tags there.
        if container != Container::M4a {
            let said = seconds(&[tag.clone(), fixture(name)].concat(), container);
            assert!(agree(said, truth), "{name}: {said:?}");
        }
    }
}

#[test]
fn frames_of_one_size_give_the_duration_without_a_tag() {
    let mut frame = vec![0xff, 0xfb, 0x90, 0x00];
    frame.resize(417, 0);
    let said = seconds(&frame.repeat(1000), Container::Mp3);
    assert!(agree(said, Some(1000.0 * 1152.0 / 44_100.0)), "{said:?}");
}

#[test]
fn a_recording_with_an_unwritten_header_lasts_as_long_as_its_samples() {
    let format = [1, 0, 2, 0, 0x44, 0xac, 0, 0, 0x10, 0xb1, 2, 0, 4, 0, 16, 0];
    for (riff_size, data_size) in [(36_u32, 0_u32), (0, 0), (u32::MAX, u32::MAX)] {
        let mut file = [b"RIFF", &riff_size.to_le_bytes()[..], b"WAVE", &chunk(b"fmt ", &format)].concat();
        file.extend([b"data", &data_size.to_le_bytes()[..]].concat());
        file.resize(file.len() + 30 * 4 * 44_100, 1);
        assert_eq!(seconds(&file, Container::Wav), Some(30.0), "{riff_size} and {data_size}");
    }
}

#[test]
fn an_impossibly_long_duration_is_not_believed() {
    let mut slow = fixture("speech.m4a");
    // Without a description of the codec, which would give the correct time.
    let description = slow.windows(4).position(|four| four == b"esds").unwrap();
    slow[description] = b'x';
    // The table of how long each sample lasts.
    let table = slow.windows(4).position(|four| four == b"stts").unwrap();
    slow[table + 16..table + 20].fill(0xff);
    assert_eq!(seconds(&slow, Container::M4a), None);
}

#[test]
fn content_without_sound_has_no_duration() {
    for container in Container::all() {
        for bytes in [&b""[..], b"R", b"no audio at all, only words", &[0; 4096], &[0xff; 4096]] {
            assert_eq!(seconds(bytes, *container), None, "{container}");
        }
    }
}

#[test]
fn a_header_that_makes_the_library_panic_gives_no_duration() {
    // Found by fuzzing: 0xfc00 channels of 0x1f40 samples overflow. The overflow panics where overflows are checked, as
    // in tests.
    let format = b"\x01\0\0\xfc\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0";
    let file = riff(&[chunk(b"fmt ", format), chunk(b"data", &[0; 64])].concat());
    assert_eq!(seconds(&file, Container::Wav), None);
}

#[test]
fn the_duration_leaves_the_source_at_its_start() {
    let mut source = Cursor::new(fixture("speech.m4a"));
    source.set_position(99);
    assert!(stated_duration(&mut source, Container::M4a).is_some());
    assert_eq!(source.position(), 0);
}

/// The most bytes that one question may read, and some hundred bytes for the signature and the tags.
const MOST_READ: usize = (2 << 20) + 1000;

/// Counts the bytes that are read.
struct Counted {
    inner: Cursor<Vec<u8>>,
    read: usize,
}

impl Read for Counted {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buf)?;
        self.read += count;
        Ok(count)
    }
}

impl Seek for Counted {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

#[test]
fn the_search_for_frames_reads_no_byte_of_a_large_file_twice() {
    let mut frame = vec![0xff, 0xfb, 0x90, 0x00];
    frame.resize(417, 0);
    let large =
        |name: &str, filling: &[u8]| [fixture(name), filling.repeat((8 << 20) / filling.len())].concat();
    let wav = riff(&[chunk(b"JUNK", &vec![7; 8 << 20]), fixture("speech.wav")[12..].to_vec()].concat());
    let data = [&[0x00, 0x80, 0, 8][..], b"mdat", &vec![7; 8 << 20][..]].concat();
    let moved = [&fixture("speech-video.mp4")[..32], &data, &fixture("speech-video.mp4")[32..]].concat();
    for (name, bytes, container, most) in [
        ("mp3", frame.repeat(20_000), Container::Mp3, 8 << 20),
        ("wav", wav, Container::Wav, 100_000),
        ("aac", fixture("speech.aac").repeat(800), Container::Aac, 9 << 20),
        ("flac", large("speech.flac", b"\0"), Container::Flac, 11 << 20),
        ("m4a", moved, Container::M4a, 200_000),
        ("ogg", large("speech.opus", b"\0"), Container::Ogg, 11 << 20),
        // No frames follow the tag, so the library searches until it is stopped.
        ("nothing", [&b"ID3\x04\0\0\0\0\0\0"[..], &vec![0; 8 << 20]].concat(), Container::Mp3, 11 << 20),
    ] {
        let mut source = Counted { inner: Cursor::new(bytes), read: 0 };
        let known = recognise(&mut source).unwrap();
        assert_eq!(known.is_ok(), name != "nothing", "{name}");
        let length = stated_duration(&mut source, container);
        assert_eq!(length.is_some(), name != "nothing", "{name}");
        // Some hundred bytes for the signature and the tags.
        assert!(source.read <= most + 1000, "{name}: {} bytes", source.read);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_damaged_file_has_one_duration_in_memory_and_on_a_disk(
        file in 0..FILES.len(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..20),
        keep in any::<proptest::sample::Index>(),
    ) {
        let (name, container, _) = FILES[file];
        let mut bytes = fixture(name);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(keep.index(bytes.len()));
        let [mut held, mut stored] = both(bytes).map(|audio| audio.reader());
        let known = recognise(&mut held).unwrap();
        prop_assert_eq!(recognise(&mut stored).unwrap(), known, "{}", name);
        prop_assert_eq!(stated_duration(&mut stored, container), stated_duration(&mut held, container), "{}", name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn damaged_files_cause_no_panic_and_no_endless_read(
        file in 0..FILES.len(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..30),
        insert in (any::<proptest::sample::Index>(), proptest::collection::vec(any::<u8>(), 0..20)),
        keep in any::<proptest::sample::Index>(),
        whole in any::<bool>(),
        other in 0_usize..7,
    ) {
        let (name, container, _) = FILES[file];
        let mut bytes = fixture(name);
        for (at, value) in changes {
            // Most damage that matters is at the start.
            let range = if whole { bytes.len() } else { 300 };
            bytes[at.index(range)] = value;
        }
        let at = insert.0.index(bytes.len());
        bytes.splice(at..at, insert.1);
        if whole {
            bytes.truncate(keep.index(bytes.len()));
        }
        let mut source = Counted { inner: Cursor::new(bytes), read: 0 };
        let _ = recognise(&mut source).unwrap();
        for container in [container, Container::all()[other]] {
            let length = stated_duration(&mut source, container);
            prop_assert!(length.is_none_or(|length| length <= LONGEST));
        }
        prop_assert!(source.read <= 3 * MOST_READ, "{name}: {} bytes", source.read);
    }

    #[test]
    fn bytes_after_a_signature_cause_no_panic_and_no_endless_read(
        signature in proptest::sample::select(vec![
            &b"RIFF\xff\xff\xff\xffWAVE"[..], b"RF64\xff\xff\xff\xffWAVEds64", b"FORM\0\0\xff\xffAIFC",
            b"OggS\0\x02", b"fLaC\0\0\0\x22", b"\0\0\0\x14ftypM4A \0\0\0\0isom", b"ID3\x04\0\0\0\0\0\0", b"\xff\xfb\x90",
            b"\xff\xf1\x50", b"",
        ]),
        bytes in proptest::collection::vec(any::<u8>(), 0..6000),
    ) {
        let mut source = Counted { inner: Cursor::new([signature, &bytes].concat()), read: 0 };
        let known = recognise(&mut source).unwrap();
        for container in known.into_iter().chain(Container::all().iter().copied()) {
            stated_duration(&mut source, container);
        }
        prop_assert!(source.read <= 9 * MOST_READ, "{} bytes", source.read);
    }
}
