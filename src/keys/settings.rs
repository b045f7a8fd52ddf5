//! `[[keys]]`: API keys in the configuration.

use serde::Deserialize;

use super::{KeyLimits, KeyRecord};
use crate::secret::KeyHash;
use crate::setting::{Keys, Problem, Section};

/// One entry of `[[keys]]`, as the file has it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyEntry {
    name: Option<String>,
    key: Option<String>,
    key_env: Option<String>,
    key_sha256: Option<String>,
    models: Option<Vec<String>>,
    requests_per_minute: Option<u32>,
    max_running_tasks: Option<u32>,
}

impl Keys for KeyEntry {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[
        ("name", "\"alice\""),
        ("key", "\"sk-...\""),
        ("key_env", "\"DEMO_KEY\""),
        ("models", "[\"gemini-*\"]"),
        ("requests_per_minute", "60"),
        ("max_running_tasks", "60"),
    ];
}

impl KeyEntry {
    /// Checks the keys of one entry.
    ///
    /// # Errors
    /// [`Problem`] with the first value that is wrong.
    pub fn checked(self, at: &Section<'_>) -> Result<KeyRecord, Problem> {
        let name = self.name.filter(|name| !name.is_empty()).ok_or_else(|| {
            at.wrong("name", "it is missing").advise("give the key a name, which logs show")
        })?;
        let hash = match (self.key, self.key_env, self.key_sha256) {
            (None, None, Some(hex)) => KeyHash::from_hex(&hex).ok_or_else(|| {
                let reason = format!(
                    "the 64 hex digits of the key's SHA-256 are needed, and this has {} characters",
                    hex.chars().count()
                );
                at.problem("key_sha256", reason).advise("printf %s KEY | sha256sum prints them")
            })?,
            (key, key_env, None) => KeyHash::of(at.secret("key", key, key_env.as_deref())?.expose()),
            _ => return Err(at.problem("key", "set exactly one of key, key_env and key_sha256")),
        };
        Ok(KeyRecord {
            name,
            hash,
            models: self.models.unwrap_or_else(|| vec!["*".to_owned()]),
            limits: KeyLimits::new(
                self.requests_per_minute.unwrap_or(0),
                self.max_running_tasks.unwrap_or(0),
            ),
        })
    }
}

/// Refuses the same API key under two names: only one of them could be used.
///
/// # Errors
/// [`Problem`] with the second of the two names.
pub fn distinct_keys(keys: &[KeyRecord]) -> Result<(), Problem> {
    for (index, key) in keys.iter().enumerate() {
        let before = keys.iter().take(index).position(|other| other.hash == key.hash);
        if let Some((first, other)) = before.and_then(|first| Some((first, keys.get(first)?))) {
            let (name, other) = (&key.name, &other.name);
            let reason = format!("{name:?} has the same API key as keys[{first}], {other:?}");
            let advice = format!("remove one of them, or give {name:?} another key");
            return Err(Problem::new(format!("keys[{index}]"), reason).advise(advice));
        }
    }
    Ok(())
}
