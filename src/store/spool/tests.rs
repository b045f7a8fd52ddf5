//! Tests of the spool on a real disk: its bound, its permits, and the removal of audio that was not kept.

use bytes::Bytes;
use futures_util::FutureExt;

use super::file::SYNC_BYTES;
use super::*;
use crate::store::promises::Receive;

fn spool(data_dir: &Path, most: u64) -> Spool {
    Spool::open(data_dir, most, true, &Recorded::default(), |_| Ok(false)).unwrap()
}

fn blob(spool: &Spool, bytes: &[u8]) -> Result<NewBlob, StoreError> {
    NewBlob::new(spool, spool.blob_id(), Bytes::copy_from_slice(bytes))
}

/// Makes the row of a blob.
fn stored(blob: &NewBlob) -> StoredBlob {
    StoredBlob { bytes: blob.bytes, sum: blob.sum, data: blob.data.as_ref().map(|data| data.to_vec()) }
}

fn files(data_dir: &Path) -> usize {
    data_dir.join("spool").read_dir().unwrap().count()
}

#[test]
fn large_audio_is_in_a_file_and_is_read_as_it_was_written() {
    let data_dir = tempfile::tempdir().unwrap();
    for sync in [true, false] {
        let spool = Spool::open(data_dir.path(), 1 << 30, sync, &Recorded::default(), |_| Ok(false)).unwrap();
        for (bytes, count) in [(1, 0), (65_536, 0), (65_537, 1), (2 * SYNC_BYTES + 1, 1)] {
            let audio: Vec<u8> = (0..bytes).map(|n| (n % 251) as u8).collect();
            let blob = blob(&spool, &audio).unwrap();
            assert_eq!(files(data_dir.path()), count);
            let read = spool.read(blob.id, stored(&blob)).unwrap();
            assert!(read.piece(0, bytes).unwrap() == audio);
        }
    }
}

#[test]
fn a_blob_that_is_not_kept_leaves_nothing() {
    let data_dir = tempfile::tempdir().unwrap();
    let spool = spool(data_dir.path(), 1 << 20);
    for size in [10, 100_000] {
        let mut dropped = blob(&spool, &vec![b'A'; size]).unwrap();
        dropped.take_room().unwrap();
        assert_eq!(spool.used().0, size as u64);
        drop(dropped);
        assert_eq!((spool.used().0, files(data_dir.path())), (0, 0));
    }
    let kept = blob(&spool, &[b'A'; 100_000]).unwrap();
    let recorded = kept.recorded();
    assert_eq!((spool.used().0, files(data_dir.path())), (100_000, 1));
    spool.free(&recorded);
    assert_eq!((spool.used().0, files(data_dir.path())), (0, 0));
}

#[test]
fn a_blob_never_touches_the_file_of_another() {
    let data_dir = tempfile::tempdir().unwrap();
    let spool = spool(data_dir.path(), 1 << 20);
    let first = blob(&spool, &[b'A'; 100_000]).unwrap();
    let again = NewBlob::new(&spool, first.id, vec![b'B'; 100_000].into());
    assert!(matches!(again, Err(StoreError::Directory { .. })));
    assert_eq!(spool.used().0, 100_000);
    assert_eq!(spool.read(first.id, stored(&first)).unwrap().piece(0, 1).unwrap(), "A");
}

#[test]
fn a_blob_beyond_a_bound_is_refused() {
    let data_dir = tempfile::tempdir().unwrap();
    let spool = spool(data_dir.path(), 150_000);
    let large = blob(&spool, &[b'A'; 100_000]).unwrap();
    assert!(matches!(blob(&spool, &[b'A'; 100_000]), Err(StoreError::Full(_))));
    let mut small = blob(&spool, &[b'A'; 60_000]).unwrap();
    assert!(matches!(small.take_room(), Err(StoreError::Full(_))));
    assert_eq!((files(data_dir.path()), spool.used().0), (1, 100_000), "a refused blob takes no room");
    drop(large);
    spool.0.unwritten.fetch_add(1 << 60, Ordering::Relaxed);
    assert!(matches!(small.take_room(), Err(StoreError::Full(_))), "others fill the disk soon");
    spool.0.unwritten.fetch_sub(1 << 60, Ordering::Relaxed);
    small.take_room().unwrap();
    assert_eq!(spool.used().0, 60_000);
}

#[test]
fn audio_that_is_being_written_counts_before_the_disk_shows_it() {
    let data_dir = tempfile::tempdir().unwrap();
    let spool = spool(data_dir.path(), u64::MAX);
    let most = spool.disk_left().unwrap() / 4 * 3;
    let (mut first, mut second) = (spool.room(), spool.room());
    let meanwhile = || {
        let refused = second.fill(most, || unreachable!("there is room for only one of them"));
        assert!(matches!(refused, Err(StoreError::Full(_))), "{refused:?}");
        blob(&spool, &[b'A'; 100]).unwrap().take_room()
    };
    first.fill(most, meanwhile).unwrap();
    assert_eq!(spool.used().0, most);
    second.fill(most, || Ok(())).unwrap();
    drop((first, second));
    assert_eq!((spool.used().0, spool.0.unwritten.load(Ordering::Relaxed)), (0, 0));
}

#[tokio::test]
async fn only_large_audio_waits_for_a_permit() {
    let data_dir = tempfile::tempdir().unwrap();
    let spool = spool(data_dir.path(), 100);
    let all = spool.0.permits.available_permits();
    let mut taken = Vec::new();
    for _ in 0..all {
        taken.push(spool.permit(LARGE_BYTES + 1).await);
    }
    assert!(spool.permit(LARGE_BYTES).now_or_never().is_some());
    assert!(spool.permit(LARGE_BYTES + 1).now_or_never().is_none());
    taken.pop();
    assert!(spool.permit(LARGE_BYTES + 1).now_or_never().is_some());
}

#[test]
fn a_start_counts_recorded_audio_and_removes_other_files() {
    let data_dir = tempfile::tempdir().unwrap();
    let first = spool(data_dir.path(), 1 << 20);
    let kept = blob(&first, &[b'A'; 100_000]).unwrap();
    let (id, row) = (kept.id, stored(&kept));
    let _ = kept.recorded();
    let _ = blob(&first, &[b'B'; 100_000]).unwrap().recorded();
    std::fs::write(data_dir.path().join("spool/readme"), "not ours").unwrap();
    let recorded = Recorded { bytes: 100_000, last: u64::MAX >> 2 };
    let again = Spool::open(data_dir.path(), 1 << 20, true, &recorded, |name| Ok(*name == id)).unwrap();
    assert_eq!((files(data_dir.path()), again.used().0), (2, 100_000));
    again.read(id, row).unwrap();
    assert!(again.blob_id().0 > recorded.last, "no id is used twice");
}

#[test]
fn a_download_counts_until_its_last_reader_and_leaves_no_file() {
    let data_dir = tempfile::tempdir().unwrap();
    let spool = spool(data_dir.path(), 100);
    let mut download = spool.download().unwrap();
    download.append(b"first, ").unwrap();
    download.append(b"then").unwrap();
    let audio = Box::new(download).finish();
    assert_eq!(audio.piece(0, 11).unwrap(), "first, then");
    assert_eq!(files(data_dir.path()), 0);
    let mut another = spool.download().unwrap();
    assert!(matches!(another.append(&[0; 90]), Err(StoreError::Full(_))));
    drop((audio, another));
    spool.download().unwrap().append(&[0; 100]).unwrap();
}
