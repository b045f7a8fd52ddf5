//! What a store promises about API keys.

use super::Ground;
use super::kit::{DAY, failed, record, task};
use crate::keys::{KeyLimits, KeyRecord};
use crate::secret::KeyHash;

fn key(name: &str, limits: KeyLimits) -> KeyRecord {
    KeyRecord { name: name.into(), hash: KeyHash::of(name), models: vec!["gemini-*".into()], limits }
}

pub(super) async fn keys_are_told_as_they_are_changed_from_outside<G: Ground>() {
    let ground = G::new();
    let store = ground.open(DAY);
    let (none, keys) = store.keys().await.unwrap();
    assert_eq!((none, keys), (store.keys_version().await.unwrap(), vec![]));
    let added = [key("b", KeyLimits::default()), key("a", KeyLimits::new(60, 0))];
    for key in &added {
        ground.add_key(key);
    }
    let (two, keys) = store.keys().await.unwrap();
    assert_eq!(keys, added, "the oldest first");
    ground.revoke_key("b");
    let (one, keys) = store.keys().await.unwrap();
    assert_eq!(keys, added[1..]);
    assert!(none != two && two != one && one != none);
    let task = task();
    store.takes(record(&task)).await;
    store.end(task.id.clone(), failed(&task)).await.unwrap();
    assert_eq!(store.keys_version().await.unwrap(), one, "no key was changed");
    drop(store);
    assert_eq!(ground.open(DAY).keys().await.unwrap(), (one, added[1..].to_vec()));
}
