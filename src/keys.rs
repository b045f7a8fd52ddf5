//! API keys: how they are made and compared, which models each may use, and how many tasks it may [submit](Allowance).
//!
//! A key is 240 random bits, so its SHA-256 reveals nothing about it and no slow hash is needed. Only the hash is ever
//! kept. A [`Keyring`] is a value; [`KeyringHandle`] is the handle through which request handlers see the newest one.

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

/// Makes a new API key, which is shown only once.
#[must_use]
pub fn generate() -> String {
    format!("sk-{}", random_text(48))
}

/// The record of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// The name of the key, which logs show.
    pub name: String,
    /// The hash of the key.
    pub hash: KeyHash,
    /// Names and globs of the models that the key may use.
    pub models: Vec<String>,
    /// The limits of the key.
    pub limits: KeyLimits,
}

/// The limits of a key; `None` means no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct KeyLimits {
    /// Most submits per minute.
    pub requests_per_minute: Option<NonZeroU32>,
    /// Most tasks that run at the same time; further tasks wait.
    pub max_running_tasks: Option<NonZeroU32>,
}

impl KeyLimits {
    /// Makes limits from the values of the configuration, where 0 means no limit.
    #[must_use]
    pub fn new(requests_per_minute: u32, max_running_tasks: u32) -> Self {
        Self {
            requests_per_minute: NonZeroU32::new(requests_per_minute),
            max_running_tasks: NonZeroU32::new(max_running_tasks),
        }
    }
}

/// An API key that is valid, or was when its keyring was made.
#[derive(Debug)]
pub struct KnownKey {
    /// The name of the key.
    pub name: String,
    /// The hash of the key.
    pub hash: KeyHash,
    /// The submits that the key has left. Every keyring that has the key with these limits shares them.
    pub allowance: Arc<Allowance>,
    /// The revocation of the key. Every keyring that has the key shares it.
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
    /// Makes a keyring of the given keys. None of them has used any of its allowance.
    pub fn new(records: impl IntoIterator<Item = KeyRecord>) -> Self {
        Self::default().renewed(records)
    }

    /// Makes the keyring that replaces this one. A key that was there before with the same limits keeps its allowance:
    /// a new keyring does not give it more.
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

    /// Revokes the keys that a newer keyring does not have. Returns true if there are any.
    pub fn revoke_all_but(&self, newer: &Self) -> bool {
        let left: HashSet<_> = newer.0.iter().map(|known| known.hash).collect();
        let gone = self.0.iter().filter(|known| !left.contains(&known.hash));
        gone.map(|known| known.revocation.revoke()).count() > 0
    }

    /// Finds the key with this text.
    #[must_use]
    pub fn find(&self, key: &str) -> Option<Arc<KnownKey>> {
        self.by_hash(&KeyHash::of(key))
    }

    /// Finds the key with this hash; the store names the owner of a task by it. Every key is compared, each in constant
    /// time. If two keys have the hash, the last one is returned.
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
pub struct KeyringHandle(watch::Receiver<Arc<Keyring>>);

impl KeyringHandle {
    /// Makes a handle, and the sender that replaces its keyring.
    #[must_use]
    pub fn new(keyring: Keyring) -> (watch::Sender<Arc<Keyring>>, Self) {
        let (sender, receiver) = watch::channel(Arc::new(keyring));
        (sender, Self(receiver))
    }

    /// Returns the newest keyring.
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
    fn a_key_is_found_only_by_its_text() {
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
    fn a_key_keeps_its_used_allowance_when_other_keys_change() {
        let ring = Keyring::new([limited("sk-a", 1)]);
        let before = ring.find("sk-a").unwrap();
        before.allowance.spend().unwrap();

        let ring = ring.renewed([limited("sk-new", 1), limited("sk-a", 1)]);
        let after = ring.find("sk-a").unwrap();
        assert!(after.allowance.spend().is_err());
        assert!(ring.find("sk-new").unwrap().allowance.spend().is_ok());
    }

    #[test]
    fn a_key_with_new_limits_or_after_an_absence_has_a_new_allowance() {
        let ring = Keyring::new([limited("sk-a", 1)]);
        ring.find("sk-a").unwrap().allowance.spend().unwrap();
        let raised = ring.renewed([limited("sk-a", 2)]);
        assert!(raised.find("sk-a").unwrap().allowance.spend().is_ok());
        let back = ring.renewed([]).renewed([limited("sk-a", 1)]);
        assert!(back.find("sk-a").unwrap().allowance.spend().is_ok());
    }

    #[test]
    fn a_key_that_a_newer_keyring_lacks_is_revoked_for_all_holders() {
        let ring = Keyring::new([limited("sk-a", 1), limited("sk-b", 1), limited("sk-c", 1)]);
        let in_use: Vec<_> = ["sk-a", "sk-b", "sk-c"].map(|key| ring.find(key).unwrap()).into();
        // Another limit does not make it another key.
        let newer = ring.renewed([limited("sk-a", 1), limited("sk-b", 2)]);
        assert!(ring.revoke_all_but(&newer));
        let revoked: Vec<_> = in_use.iter().map(|key| key.revocation.is_revoked()).collect();
        assert_eq!(revoked, [false, false, true]);
        let newest = newer.renewed([limited("sk-b", 2)]);
        assert!(newer.revoke_all_but(&newest) && in_use[0].revocation.is_revoked());
        assert!(!newest.revoke_all_but(&newest.renewed([limited("sk-b", 2)])));
    }

    #[test]
    fn a_key_may_use_the_models_that_its_globs_match() {
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
