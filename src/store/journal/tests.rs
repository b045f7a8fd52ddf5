//! Tests that concern only journals in files: their damage, a full disk, and the files that a start removes.

use super::*;
use crate::store::health::Trouble;
use crate::task::{ChunkLog, Format, LogReader, TextKind};

fn chunks(from: usize, to: usize) -> Vec<Entry> {
    (from..to).map(|number| chunk(&format!("{number}\n"))).collect()
}

fn chunk(text: &str) -> Entry {
    Entry::Delta { kind: TextKind::Content, text: text.into() }
}

fn append(journal: &mut FileJournal, entries: &[Entry]) -> bool {
    matches!(journal.append(&mut entries.iter()), Appended::Now(true))
}

fn read(journals: &FileJournals, id: &TaskId) -> Vec<Entry> {
    let (entries, is_whole) = read_entries(&journals.content(id).unwrap());
    assert!(is_whole);
    entries
}

fn journals(data_dir: &Path, wanted: bool) -> FileJournals {
    let metrics = crate::metrics::Metrics::new(std::iter::empty()).unwrap().store;
    FileJournals::open(data_dir, true, metrics, Health::new(data_dir), |_| Ok(wanted)).unwrap()
}

#[test]
fn a_journal_on_a_full_disk_reports_trouble_at_once() {
    let data_dir = tempfile::tempdir().unwrap();
    let journals = journals(data_dir.path(), true);
    let id = TaskId::generate(1);
    std::os::unix::fs::symlink("/dev/full", journals.path(&id)).unwrap();
    assert!(!append(&mut journals.of(&id), &chunks(0, 1)));
    assert!(matches!(journals.health.trouble(), Some(Trouble::Full(_))));
}

#[test]
fn a_torn_chunk_is_not_read() {
    let data_dir = tempfile::tempdir().unwrap();
    let journals = journals(data_dir.path(), true);
    let id = TaskId::generate(1);
    append(&mut journals.of(&id), &chunks(0, 3));
    let file = OpenOptions::new().write(true).open(journals.path(&id)).unwrap();
    file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    assert_eq!(read_entries(&journals.content(&id).unwrap()), (chunks(0, 2), false));
}

#[test]
fn an_ended_stream_is_read_from_its_journal_as_it_was_published() {
    let data_dir = tempfile::tempdir().unwrap();
    let journals = journals(data_dir.path(), true);
    let id = TaskId::generate(1);
    let mut log = ChunkLog::new(Some(Format::Tasks));
    let large = chunk(&"x\ny".repeat(7_000));
    chunks(0, 40).into_iter().chain([large]).for_each(|entry| log.append(entry));
    let mut journal = journals.of(&id);
    assert!(matches!(journal.append(&mut log.unpublished()), Appended::Now(true)));
    log.append(Entry::Done);
    log.end();
    let all: Vec<_> = (0..42).map(|number| log.frames().piece(number..number + 1).unwrap()).collect();
    let mut stream = log.cold(Box::new(journal).into_kept()).unwrap();
    assert!(stream.drop_frames(), "the entries are in the journal");
    let ended = LogReader::from(stream.log().clone()).in_format(Format::Tasks);
    for range in [0..1, 0..42, 7..9, 39..41, 40..42, 41..42] {
        assert!(ended.piece(range.clone()).unwrap() == all[range].concat());
    }
    let part = |part| {
        let mut buffer = bytes::BytesMut::new();
        ended.write_part(40, part, &mut buffer).then_some(buffer)
    };
    assert!(part(5_000..15_000).unwrap() == all[40][5_000..15_000]);
    // Flips a bit of the large entry.
    let file = OpenOptions::new().write(true).open(journals.path(&id)).unwrap();
    file.write_all_at(b"z", file.metadata().unwrap().len() - 9_000).unwrap();
    assert_eq!(ended.piece(0..5).unwrap(), all[..5].concat());
    assert!(part(1_000..2_000).unwrap() == all[40][1_000..2_000]);
    assert!(!stream.log().is_lost());
    assert_eq!(ended.piece(40..42), None);
    assert!(stream.log().is_lost());
    assert_eq!(part(20_000..21_000), None);
}

#[test]
fn a_journal_takes_no_entries_after_a_gap() {
    let data_dir = tempfile::tempdir().unwrap();
    let journals = journals(data_dir.path(), true);
    let id = TaskId::generate(1);
    let mut journal = journals.of(&id);
    let there = data_dir.path().join("frames");
    let away = data_dir.path().join("away");
    std::fs::rename(&there, &away).unwrap();
    append(&mut journal, &chunks(0, 1));
    std::fs::rename(&away, &there).unwrap();
    append(&mut journal, &chunks(1, 2));
    assert!(read(&journals, &id).is_empty());
}

#[test]
fn a_start_removes_unwanted_journals() {
    let data_dir = tempfile::tempdir().unwrap();
    let id = TaskId::generate(1);
    append(&mut journals(data_dir.path(), true).of(&id), &chunks(0, 1));
    assert!(journals(data_dir.path(), true).has_begun(&id));
    assert!(!journals(data_dir.path(), false).has_begun(&id));
}
