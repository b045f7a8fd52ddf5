//! Promises about audio.

use super::TestBackend;
use super::kit::{DAY, LARGE, failed, owner, record, task};
use crate::audio::{AudioFacts, Container, KeptAudio, Sound};
use crate::store::{Acceptance, NewRecord, StoreError};

pub(super) async fn audio_is_kept_until_its_task_ends<G: TestBackend>() {
    let ground = G::new();
    let task = task();
    let all: [&[u8]; 2] = [b"RIFFdata", LARGE];
    let accepted = ground.open(DAY).accept_with(record(&task), &all).await;
    assert_eq!(accepted.unwrap(), Acceptance::Durable);
    let store = ground.open(DAY);
    assert_eq!(store.levels().spool.0, 100_008);
    let audio = store.unfinished(None).await.unwrap().remove(0).audio;
    assert_eq!(audio.len(), 2);
    let mut ids = Vec::new();
    for (audio, expected) in audio.into_iter().zip(all) {
        let KeptAudio::Blob { id, bytes, .. } = audio else { panic!("{audio:?}") };
        let audio = store.audio(id).await.unwrap();
        assert_eq!((audio.len(), audio.piece(0, expected.len()).unwrap()), (bytes, expected.into()));
        ids.push(id);
    }
    store.end(task.id.clone(), failed(&task)).await.unwrap();
    assert_eq!(store.levels().spool.0, 0);
    for id in ids {
        assert!(matches!(store.audio(id).await, Err(StoreError::Damaged(_))));
    }
}

pub(super) async fn audio_of_a_refused_task_is_not_kept<G: TestBackend>() {
    let ground = G::new();
    let store = ground.open(DAY);
    let task = task();
    store.accept_with(record(&task), &[]).await.unwrap();
    let taken = store.accept_with(record(&task), &[b"RIFFdata", LARGE]).await;
    assert!(taken.is_err() && store.levels().spool.0 == 0, "its id exists already");
    let many = [&LARGE[..65_536]; 17];
    for too_much in [&[LARGE; 11][..], &many] {
        let refused = store.accept_with(record(&self::task()), too_much).await;
        assert!(matches!(refused, Err(StoreError::Full(_))), "{refused:?}");
        assert_eq!(store.levels().spool.0, 0);
    }
}

pub(super) async fn a_download_is_recorded_for_its_audio<G: TestBackend>() {
    let ground = G::new();
    let store = ground.open(DAY);
    let task = task();
    let facts = |bytes| AudioFacts::Inline { sound: Sound::new(Container::Wav, bytes, None) };
    store.accept(NewRecord { audio_facts: vec![facts(1), facts(2)], ..record(&task) }, vec![]).await.unwrap();
    store.mark_downloaded(task.id.clone(), 1, facts(3));
    store.end(task.id.clone(), failed(&task)).await.unwrap();
    let request = store.request(task.id.clone(), owner()).await.unwrap().unwrap();
    assert_eq!(request.audio, [facts(1), facts(3)]);
}

pub(super) async fn a_download_is_read_as_it_was_received<G: TestBackend>() {
    let ground = G::new();
    let store = ground.open(DAY);
    let mut download = store.download().await.unwrap();
    download.append(b"first, ").unwrap();
    download.append(b"then").unwrap();
    assert_eq!(download.finish().piece(0, 11).unwrap(), "first, then");
    let mut download = store.download().await.unwrap();
    assert!(matches!(download.append(&[0; (1 << 20) + 1]), Err(StoreError::Full(_))));
}

pub(super) async fn damaged_audio_is_an_error_and_its_task_can_end<G: TestBackend>() {
    let ground = G::new();
    let store = ground.open(DAY);
    let (damaged, whole) = (task(), task());
    store.accept_with(record(&damaged), &[b"RIFFdata", LARGE]).await.unwrap();
    ground.damage_audio();
    store.accept_with(record(&whole), &[b"RIFFdata", LARGE]).await.unwrap();
    for left in store.unfinished(None).await.unwrap() {
        assert_eq!(left.audio.len(), 2);
        for audio in left.audio {
            let KeptAudio::Blob { id, .. } = audio else { panic!("{audio:?}") };
            match store.audio(id).await {
                Ok(_) => assert_eq!(left.task.id, whole.id),
                Err(StoreError::Damaged(_)) => assert_eq!(left.task.id, damaged.id),
                Err(err) => panic!("{err}"),
            }
        }
    }
    assert!(
        matches!(store.audio(store.blob_id()).await, Err(StoreError::Damaged(_))),
        "there is no such audio"
    );
    assert!(store.end(damaged.id.clone(), failed(&damaged)).await.unwrap().is_none());
    assert_eq!(store.levels().spool.0, 100_008);
}
