//! Promises about API keys.

use super::TestBackend;
use super::kit::{DAY, failed, pass_a_millisecond, record, task};
use crate::keys::{KeyLimits, KeyRecord};
use crate::secret::KeyHash;

fn key(name: &str, limits: KeyLimits) -> KeyRecord {
    KeyRecord { name: name.into(), hash: KeyHash::of(name), models: vec!["gemini-*".into()], limits }
}

pub(super) async fn changes_of_keys_by_any_process_are_read<G: TestBackend>() {
    let ground = G::new();
    let store = ground.open(DAY);
    let (server, other) = (store.keys(), ground.keys());
    let (none, listed) = server.list().await.unwrap();
    assert_eq!((none, listed), (server.version().await.unwrap(), vec![]));
    let added = [
        key("b", KeyLimits::default()),
        key("a", KeyLimits::new(60, 0)),
        key("c", KeyLimits::new(u32::MAX, u32::MAX)),
    ];
    let mut versions = vec![none];
    for (keys, key) in [&other, &server, &other].into_iter().zip(&added) {
        assert!(keys.create(key.clone()).await.unwrap());
        versions.push(server.version().await.unwrap());
        // The list is sorted by the time at which the keys were made.
        pass_a_millisecond();
    }
    let listed = server.list().await.unwrap();
    assert_eq!(listed, (versions[3], added.to_vec()), "the oldest first");
    assert_eq!(other.list().await.unwrap(), listed);
    for (keys, name) in [(&other, "b"), (&server, "c")] {
        assert!(keys.revoke(name.to_owned()).await.unwrap());
        versions.push(other.version().await.unwrap());
    }
    let left = (versions[5], added[1..2].to_vec());
    assert_eq!(server.list().await.unwrap(), left);
    versions.sort_unstable();
    versions.dedup();
    assert_eq!(versions.len(), 6, "each change has its version");
    drop((store, server));
    assert_eq!(other.list().await.unwrap(), left, "it works without a running server");
    assert_eq!(ground.open(DAY).keys().list().await.unwrap(), left);
}

pub(super) async fn a_change_that_affects_no_key_keeps_the_version<G: TestBackend>() {
    let ground = G::new();
    let store = ground.open(DAY);
    let first = key("a", KeyLimits::default());
    assert!(ground.keys().create(first.clone()).await.unwrap());
    let version = store.keys().version().await.unwrap();
    let again = KeyRecord { hash: KeyHash::of("another"), ..first.clone() };
    for keys in [ground.keys(), store.keys()] {
        assert!(!keys.create(again.clone()).await.unwrap(), "the name is taken");
        assert!(!keys.revoke("b".to_owned()).await.unwrap(), "no key has this name");
    }
    let task = task();
    store.accept_task(record(&task)).await;
    store.end(task.id.clone(), failed(&task)).await.unwrap();
    assert_eq!(store.keys().list().await.unwrap(), (version, vec![first]));
}
