//! API keys: made, compared, and what each may use and [may still do](Allowance).
//!
//! A key is 240 random bits, so its SHA-256 says nothing about it and no slow hash is needed; only the hash
//! is ever kept. A [`Keyring`] is a value; [`Keys`] is the handle through which request handlers see the
//! newest one.

mod allowance;
mod revocation;
mod settings;

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;
use std::sync::Arc;

use subtle::ConstantTimeEq;
use tokio::sync::watch;

pub use allowance::Allowance;
pub use revocation::Revocation;
pub use settings::{KeyEntry, distinct_keys};

use crate::pattern::ModelPattern;
use crate::random::random_text;
use crate::secret::KeyHash;

/// A new API key; to be shown once.
#[must_use]
pub fn generate() -> String {
    format!("sk-{}", random_text(48))
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// Its name: what logs show.
    pub name: String,
    /// Its hash.
    pub hash: KeyHash,
    /// Model names and globs that it may use.
    pub models: Vec<String>,
    /// How much it may do.
    pub limits: KeyLimits,
}

/// How much a key may do; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct KeyLimits {
    /// Most submits in a minute.
    pub requests_per_minute: Option<NonZeroU32>,
    /// Most tasks that run at once; more wait.
    pub max_running_tasks: Option<NonZeroU32>,
}

impl KeyLimits {
    /// The limits as people write them: 0 is no limit.
    #[must_use]
    pub fn new(requests_per_minute: u32, max_running_tasks: u32) -> Self {
        Self {
            requests_per_minute: NonZeroU32::new(requests_per_minute),
            max_running_tasks: NonZeroU32::new(max_running_tasks),
        }
    }
}

/// A key of a keyring.
#[derive(Debug)]
pub struct KnownKey {
    /// Its name.
    pub name: String,
    /// Its hash.
    pub hash: KeyHash,
    /// What it may still do; the same one in every keyring that has the key with these limits.
    pub allowance: Arc<Allowance>,
    /// Whether it was revoked; the same one in every keyring that has the key.
    pub revocation: Arc<Revocation>,
    models: Vec<ModelPattern>,
}

impl KnownKey {
    /// Returns true if the key may use this model.
    #[must_use]
    pub fn may_use(&self, model: &str) -> bool {
        self.models.iter().any(|pattern| pattern.matches(model))
    }
}

/// All keys at one moment.
#[derive(Debug, Default)]
pub struct Keyring(Vec<Arc<KnownKey>>);

impl Keyring {
    /// A ring of the given keys, none of which has done anything yet.
    pub fn new(records: impl IntoIterator<Item = KeyRecord>) -> Self {
        Self::default().renewed(records)
    }

    /// The ring that takes the place of this one. A key that was there before, with the same limits, may not
    /// do more because the ring is new: it keeps its allowance.
    #[must_use]
    pub fn renewed(&self, records: impl IntoIterator<Item = KeyRecord>) -> Self {
        let spent: HashMap<_, _> = self
            .0
            .iter()
            .map(|known| ((known.hash, known.allowance.limits()), Arc::clone(&known.allowance)))
            .collect();
        let mut revocations: HashMap<_, _> =
            self.0.iter().map(|known| (known.hash, Arc::clone(&known.revocation))).collect();
        let known = |record: KeyRecord| {
            let KeyRecord { name, hash, models, limits } = record;
            let allowance = spent.get(&(hash, limits)).map(Arc::clone);
            let allowance = allowance.unwrap_or_else(|| Arc::new(Allowance::new(limits)));
            let models = models.iter().map(|model| ModelPattern::new(model)).collect();
            let revocation = Arc::clone(revocations.entry(hash).or_default());
            Arc::new(KnownKey { name, hash, allowance, revocation, models })
        };
        Self(records.into_iter().map(known).collect())
    }

    /// Revokes the keys that a newer ring no longer has. Returns whether there are any.
    pub fn revoke_all_but(&self, newer: &Self) -> bool {
        let left: HashSet<_> = newer.0.iter().map(|known| known.hash).collect();
        let gone = self.0.iter().filter(|known| !left.contains(&known.hash));
        gone.map(|known| known.revocation.revoke()).count() > 0
    }

    /// The key with this text.
    #[must_use]
    pub fn find(&self, key: &str) -> Option<Arc<KnownKey>> {
        self.by_hash(&KeyHash::of(key))
    }

    /// The key with this hash, as the store names the owner of a task. Every key is compared, each in constant
    /// time; where two have the hash, it is the last one.
    #[must_use]
    pub fn by_hash(&self, hash: &KeyHash) -> Option<Arc<KnownKey>> {
        let mut found = None;
        for known in &self.0 {
            if bool::from(known.hash.as_bytes().ct_eq(hash.as_bytes())) {
                found = Some(Arc::clone(known));
            }
        }
        found
    }

    /// Returns true if there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The newest keyring, for request handlers.
#[derive(Debug, Clone)]
pub struct Keys(watch::Receiver<Arc<Keyring>>);

impl Keys {
    /// A handle, and the end through which a newer keyring comes in.
    #[must_use]
    pub fn new(keyring: Keyring) -> (watch::Sender<Arc<Keyring>>, Self) {
        let (sender, receiver) = watch::channel(Arc::new(keyring));
        (sender, Self(receiver))
    }

    /// The newest keyring.
    #[must_use]
    pub fn current(&self) -> Arc<Keyring> {
        Arc::clone(&self.0.borrow())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str, key: &str, models: &[&str]) -> KeyRecord {
        let models = models.iter().map(|model| (*model).to_owned()).collect();
        KeyRecord { name: name.into(), hash: KeyHash::of(key), models, limits: KeyLimits::default() }
    }

    fn limited(key: &str, requests_per_minute: u32) -> KeyRecord {
        KeyRecord { limits: KeyLimits::new(requests_per_minute, 1), ..record(key, key, &["*"]) }
    }

    #[test]
    fn a_key_is_found_by_its_text_alone() {
        let ring = Keyring::new([record("a", "sk-a", &["*"]), record("b", "sk-b", &["*"])]);
        assert_eq!(ring.find("sk-b").map(|key| key.name.clone()).as_deref(), Some("b"));
        assert!(ring.find("sk-c").is_none());
        assert!(ring.find("").is_none());
    }

    #[test]
    fn the_owner_of_a_task_is_found_by_its_hash() {
        let ring = Keyring::new([record("a", "sk-a", &["*"]), record("b", "sk-b", &["*"])]);
        assert_eq!(ring.by_hash(&KeyHash::of("sk-a")).unwrap().name, "a");
        assert!(ring.by_hash(&KeyHash::of("a")).is_none());
    }

    #[test]
    fn what_a_key_has_spent_stays_spent_when_other_keys_change() {
        let ring = Keyring::new([limited("sk-a", 1)]);
        let before = ring.find("sk-a").unwrap();
        before.allowance.spend().unwrap();

        let ring = ring.renewed([limited("sk-new", 1), limited("sk-a", 1)]);
        let after = ring.find("sk-a").unwrap();
        assert!(after.allowance.spend().is_err());
        assert!(ring.find("sk-new").unwrap().allowance.spend().is_ok());
    }

    #[test]
    fn a_key_with_other_limits_begins_anew_and_so_does_one_that_was_away() {
        let ring = Keyring::new([limited("sk-a", 1)]);
        ring.find("sk-a").unwrap().allowance.spend().unwrap();
        let raised = ring.renewed([limited("sk-a", 2)]);
        assert!(raised.find("sk-a").unwrap().allowance.spend().is_ok());
        let back = ring.renewed([]).renewed([limited("sk-a", 1)]);
        assert!(back.find("sk-a").unwrap().allowance.spend().is_ok());
    }

    #[test]
    fn a_key_that_a_newer_ring_lacks_is_revoked_wherever_it_is_in_use() {
        let ring = Keyring::new([limited("sk-a", 1), limited("sk-b", 1), limited("sk-c", 1)]);
        let in_use: Vec<_> = ["sk-a", "sk-b", "sk-c"].map(|key| ring.find(key).unwrap()).into();
        // Another limit makes no other key of it.
        let newer = ring.renewed([limited("sk-a", 1), limited("sk-b", 2)]);
        assert!(ring.revoke_all_but(&newer));
        let revoked: Vec<_> = in_use.iter().map(|key| key.revocation.is_revoked()).collect();
        assert_eq!(revoked, [false, false, true]);
        let newest = newer.renewed([limited("sk-b", 2)]);
        assert!(newer.revoke_all_but(&newest) && in_use[0].revocation.is_revoked());
        assert!(!newest.revoke_all_but(&newest.renewed([limited("sk-b", 2)])));
    }

    #[test]
    fn a_key_may_use_what_its_globs_say() {
        let ring = Keyring::new([record("a", "sk-a", &["gemini-*", "local-inspect"])]);
        let key = ring.find("sk-a").unwrap();
        assert!(key.may_use("gemini-2.5-pro") && key.may_use("local-inspect"));
        assert!(!key.may_use("gpt-audio") && !key.may_use("local-inspect-2"));
    }

    #[test]
    fn new_keys_differ_and_begin_with_sk() {
        let key = generate();
        assert!(key.starts_with("sk-") && key.len() == 51);
        assert_ne!(key, generate());
    }
}
