//! Segments on a real disk: what is kept apart, bounded, given back, and found again at a start.

use super::*;
use crate::store::spool::AtRest;
use crate::task::id::TaskId;

const MOST: u64 = 100_000;

fn spool(data_dir: &Path) -> Spool {
    Spool::open(data_dir, MOST, true, |_| Ok(false)).unwrap()
}

fn segments(spool: &Spool, wanted: &[Range]) -> Segments {
    Segments::open(spool.clone(), wanted).unwrap()
}

/// Reads a range, which must hold this text if it can be read.
fn read(spool: &Spool, range: Range, expected: &[u8]) -> Result<(), StoreError> {
    let at_rest = AtRest { range: Some(range), sum: Some(crc32fast::hash(expected)) };
    let audio = spool.read(&TaskId::generate(1), range.bytes, at_rest)?;
    assert_eq!(audio.piece(0, range.bytes as usize).unwrap(), expected);
    Ok(())
}

fn files(spool: &Spool) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(&spool.0.directory).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// What is left of all audio, whoever it belongs to.
fn left(spool: &Spool) -> Vec<u8> {
    let all = files(spool).into_iter().flat_map(|path| std::fs::read(path).unwrap());
    all.filter(|byte| *byte != 0).collect()
}

fn blocks(spool: &Spool) -> u64 {
    use std::os::unix::fs::MetadataExt;
    files(spool).iter().map(|path| path.metadata().unwrap().blocks() * 512 / BLOCK_BYTES).sum()
}

#[test]
fn what_shares_a_segment_is_read_apart_and_goes_apart() {
    let data_dir = tempfile::tempdir().unwrap();
    let spool = spool(data_dir.path());
    let mut segments = segments(&spool, &[]);
    let texts = [vec![b'A'; 60], vec![b'B'; BLOCK_BYTES as usize], vec![b'C'; 5000]];
    let ranges = texts.clone().map(|text| segments.append(&text).unwrap());
    segments.sync().unwrap();
    assert_eq!((files(&spool).len(), blocks(&spool)), (1, 4));
    for (range, text) in ranges.iter().zip(&texts) {
        read(&spool, *range, text).unwrap();
    }
    segments.give_back(ranges[1]);
    assert_eq!((blocks(&spool), left(&spool).contains(&b'B')), (3, false), "nothing of it is left");
    assert!(matches!(read(&spool, ranges[1], &texts[1]), Err(StoreError::Damaged(_))));
    read(&spool, ranges[2], &texts[2]).unwrap();
    segments.give_back(ranges[2]);
    let next = segments.append(b"D").unwrap();
    segments.sync().unwrap();
    read(&spool, next, b"D").unwrap();
    assert_eq!(files(&spool).len(), 1);
    segments.give_back(next);
    segments.give_back(ranges[0]);
    assert!(files(&spool).is_empty(), "a segment that nobody needs is deleted");
    let again = segments.append(b"E").unwrap();
    segments.sync().unwrap();
    read(&spool, again, b"E").unwrap();
}

#[test]
fn beyond_the_bound_nothing_is_appended_and_what_goes_makes_room() {
    let data_dir = tempfile::tempdir().unwrap();
    let spool = spool(data_dir.path());
    let mut segments = segments(&spool, &[]);
    let first = segments.append(&vec![b'A'; MOST as usize - 10]).unwrap();
    let second = segments.append(b"BBBB").unwrap();
    assert!(matches!(segments.append(b"1234567"), Err(StoreError::Full(_))));
    segments.sync().unwrap();
    segments.give_back(first);
    let third = segments.append(&vec![b'C'; MOST as usize - 4]).unwrap();
    assert!(segments.append(b"1").is_err());
    segments.sync().unwrap();
    read(&spool, third, &vec![b'C'; MOST as usize - 4]).unwrap();
    read(&spool, second, b"BBBB").unwrap();
}

#[test]
fn a_segment_that_is_long_enough_takes_no_more() {
    let data_dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(data_dir.path(), u64::MAX, false, |_| Ok(false)).unwrap();
    let mut segments = segments(&spool, &[]);
    let text = vec![b'A'; SMALL_BYTES as usize];
    let ranges: Vec<_> = (0..SEGMENT_BYTES / SMALL_BYTES).map(|_| segments.append(&text).unwrap()).collect();
    segments.sync().unwrap();
    let next = segments.append(b"B").unwrap();
    segments.sync().unwrap();
    assert_ne!(next.segment, ranges[0].segment);
    read(&spool, ranges[255], &text).unwrap();
    read(&spool, next, b"B").unwrap();
    ranges.into_iter().for_each(|range| segments.give_back(range));
    assert_eq!(files(&spool), [next.path(&spool.0.directory)]);
}

#[test]
fn a_start_keeps_what_is_wanted_and_nothing_else() {
    let data_dir = tempfile::tempdir().unwrap();
    let texts = [b'A', b'B', b'C', b'D'].map(|byte| vec![byte; 5000]);
    let ranges = {
        let mut segments = segments(&spool(data_dir.path()), &[]);
        let ranges = texts.clone().map(|text| segments.append(&text).unwrap());
        segments.sync().unwrap();
        ranges
    };
    let spool = spool(data_dir.path());
    let mut segments = segments(&spool, &[ranges[2], ranges[0]]);
    let mut kept = left(&spool);
    kept.dedup();
    assert_eq!((kept, blocks(&spool)), (b"AC".to_vec(), 4));
    assert!(segments.append(&vec![b'E'; MOST as usize - 9_999]).is_err(), "it takes its room");
    let next = segments.append(b"E").unwrap();
    segments.sync().unwrap();
    read(&spool, ranges[0], &texts[0]).unwrap();
    read(&spool, next, b"E").unwrap();
    for range in [ranges[0], ranges[2], next] {
        segments.give_back(range);
    }
    assert!(files(&spool).is_empty());
    segments.append(&vec![b'F'; MOST as usize]).unwrap();
}

#[test]
fn audio_that_was_lost_is_never_taken_for_another() {
    let data_dir = tempfile::tempdir().unwrap();
    let spool = spool(data_dir.path());
    let lost = Range { segment: 0, offset: 0, bytes: 4 };
    let mut segments = segments(&spool, &[lost]);
    let next = segments.append(b"BBBB").unwrap();
    segments.sync().unwrap();
    assert!(matches!(read(&spool, lost, b"AAAA"), Err(StoreError::Damaged(_))));
    segments.give_back(lost);
    read(&spool, next, b"BBBB").unwrap();
}

#[test]
fn zeros_take_the_place_of_audio_where_no_hole_can_be_made() {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&[b'A'; 10_000], 0).unwrap();
    let segment = Segment { file, live: 1, kept: 0 };
    segment.zero(4096, 8192).unwrap();
    let mut content = vec![1; 10_000];
    segment.file.read_exact_at(&mut content, 0).unwrap();
    assert!(content[4096..8192].iter().all(|byte| *byte == 0));
    assert!(content[..4096].iter().chain(&content[8192..]).all(|byte| *byte == b'A'));
}
