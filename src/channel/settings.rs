//! `[[channels]]`: the keys that channels of every kind have.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::breaker::BreakerRule;
use super::retry_policy::RetryRule;
use super::{Capability, MOST_TASKS};
use crate::metrics::NO_CHANNEL;
use crate::setting::{Keys, Problem, Section, UnreadSection, nearest};
use crate::upstream::{KINDS, Kind, Provider, RemoteKeys, Timeouts};

/// Settings of one channel.
#[derive(Debug, Clone)]
pub struct ChannelConfig {
    /// The channel's name in logs and model lists.
    pub name: String,
    /// The channel's kind.
    pub kind: &'static Kind,
    /// The provider that makes the channel's upstream.
    pub provider: Arc<dyn Provider>,
    /// Model names and globs.
    pub models: Vec<String>,
    /// The kinds of input that the channel's models take, in the contract's order.
    pub capabilities: Vec<Capability>,
    /// Channels with a higher priority are tried first.
    pub priority: i64,
    /// Share of the tasks among channels of equal priority.
    pub weight: u32,
    /// Most tasks that run at the same time.
    pub max_running_tasks: usize,
    /// How long each stage of a call may take.
    pub timeouts: Timeouts,
    /// How often a failed call is repeated.
    pub retry: RetryRule,
    /// When the channel rests.
    pub breaker: BreakerRule,
    /// Most bytes of prompt, system prompt and base64 audio together.
    pub max_request_bytes: usize,
}

impl ChannelConfig {
    /// Returns true if the channel is served by code in this process.
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        self.provider.callee().server.is_none()
    }
}

/// The keys that every channel has, as they appear in the configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelKeys {
    name: Option<String>,
    kind: Option<String>,
    models: Option<Vec<String>>,
    capabilities: Option<Vec<Capability>>,
    priority: Option<i64>,
    weight: Option<u32>,
    max_running_tasks: Option<usize>,
    connect_timeout_ms: Option<u64>,
    first_chunk_timeout_ms: Option<u64>,
    idle_timeout_ms: Option<u64>,
    total_timeout_ms: Option<u64>,
    total_timeout_audio_factor: Option<f64>,
    max_retries: Option<u32>,
    max_retry_wait_ms: Option<u64>,
    breaker_failures: Option<u32>,
    breaker_rest_ms: Option<u64>,
    max_request_bytes: Option<usize>,
}

impl Keys for ChannelKeys {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[
        ("name", "\"gemini\""),
        ("kind", "\"gemini\""),
        ("models", "[\"gemini-*\"]"),
        ("capabilities", "[\"text\", \"audio\"]"),
        ("priority", "1"),
        ("weight", "1"),
        ("max_running_tasks", "60"),
        ("total_timeout_audio_factor", "2.5"),
        ("max_retries", "3"),
        ("breaker_failures", "3"),
    ];
}

/// An entry of `[[channels]]`, as it appears in the configuration.
#[derive(Debug)]
pub struct ChannelEntry {
    keys: ChannelKeys,
    remote: RemoteKeys,
    /// The keys of the channel's kind. Their types have been checked.
    own: UnreadSection,
}

impl ChannelEntry {
    /// Reads an entry. Its kind is checked later: until then it may have the keys of any kind.
    ///
    /// # Errors
    /// [`Problem`] if a value has a wrong type, or if no kind of channel has one of the keys.
    pub fn read(mut written: UnreadSection) -> Result<Self, Problem> {
        let (keys, remote) = (written.take()?, written.take()?);
        let own = written.clone();
        for kind in KINDS {
            (kind.take)(&mut written)?;
        }
        written.finish()?;
        Ok(Self { keys, remote, own })
    }

    /// Returns an entry with only a kind, and the variable that holds its API key, if there is one.
    pub(super) fn of_kind(kind: &Kind, variable: Option<&str>) -> Self {
        let keys = ChannelKeys { kind: Some(kind.name.to_owned()), ..ChannelKeys::default() };
        let remote = variable.map(RemoteKeys::with_key_in).unwrap_or_default();
        Self { keys, remote, own: UnreadSection::root(toml::Table::new()) }
    }

    /// Checks an entry.
    ///
    /// # Errors
    /// [`Problem`] with the first value that is not valid.
    pub fn checked(self, at: &Section<'_>) -> Result<ChannelConfig, Problem> {
        let Self { keys, remote, own } = self;
        let kind = kind(at, keys.kind.as_deref())?;
        refuse_foreign_keys(at, kind, &own)?;
        let provider = (kind.provider)(at, remote, own)?;
        let default_models = || kind.models.iter().map(|model| (*model).to_owned()).collect();
        let models: Vec<String> = keys.models.unwrap_or_else(default_models);
        if models.is_empty() || models.iter().any(String::is_empty) {
            let reason = if models.is_empty() { "the list is empty" } else { "a name in it is empty" };
            return Err(at.wrong("models", reason).advise("list the names or globs of models"));
        }
        let mut capabilities = keys.capabilities.unwrap_or_else(|| vec![Capability::Text, Capability::Audio]);
        capabilities.sort_unstable();
        capabilities.dedup();
        let name = keys.name.unwrap_or_else(|| kind.name.to_owned());
        if name.is_empty() {
            return Err(at.wrong("name", "it is empty").advise("give the channel a name"));
        }
        // The metrics would count two different things as one.
        if name == NO_CHANNEL {
            return Err(at
                .wrong("name", format!("the metrics use {name:?} for tasks that called no channel"))
                .advise("choose another name"));
        }
        let total_audio_factor = keys.total_timeout_audio_factor.unwrap_or(2.5);
        if !(0.0..=1000.0).contains(&total_audio_factor) {
            return Err(at.wrong(
                "total_timeout_audio_factor",
                format!(
                    "a number from 0 to 1000 is needed (0 switches it off), and this is {total_audio_factor}"
                ),
            ));
        }
        Ok(ChannelConfig {
            timeouts: Timeouts {
                connect: at.milliseconds("connect_timeout_ms", keys.connect_timeout_ms, 5_000)?,
                first_chunk: at.milliseconds(
                    "first_chunk_timeout_ms",
                    keys.first_chunk_timeout_ms,
                    120_000,
                )?,
                idle: at.milliseconds("idle_timeout_ms", keys.idle_timeout_ms, 60_000)?,
                total: at.milliseconds("total_timeout_ms", keys.total_timeout_ms, 600_000)?,
                total_audio_factor,
            },
            retry: RetryRule {
                max_retries: keys.max_retries.unwrap_or(2),
                max_wait: Section::any_time(Duration::from_millis(keys.max_retry_wait_ms.unwrap_or(30_000))),
            },
            breaker: BreakerRule {
                failures: keys.breaker_failures.unwrap_or(5),
                rest: at.milliseconds("breaker_rest_ms", keys.breaker_rest_ms, 10_000)?,
            },
            max_running_tasks: at
                .at_least_one("max_running_tasks", keys.max_running_tasks, (kind.slots)())?
                .min(MOST_TASKS),
            max_request_bytes: at.at_least_one("max_request_bytes", keys.max_request_bytes, 20_000_000)?,
            weight: at.at_least_one("weight", keys.weight.map(|weight| weight as usize), 1)? as u32,
            priority: keys.priority.unwrap_or(0),
            name,
            kind,
            provider,
            models,
            capabilities,
        })
    }
}

fn kind(at: &Section<'_>, name: Option<&str>) -> Result<&'static Kind, Problem> {
    let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    let (last, first) = names.split_last().unwrap_or((&"", &[]));
    let all = format!("{} or {last}", first.join(", "));
    let name = name.ok_or_else(|| at.wrong("kind", "it is missing").advise(format!("write one of {all}")))?;
    Kind::named(name).ok_or_else(|| {
        let hint = nearest(name, names).map_or_else(String::new, |near| format!(" (did you mean {near}?)"));
        at.wrong("kind", format!("{name:?} is unknown{hint}")).advise(format!("use {all}"))
    })
}

/// Refuses keys of other kinds: a key that has no effect is a mistake.
fn refuse_foreign_keys(at: &Section<'_>, kind: &Kind, own: &UnreadSection) -> Result<(), Problem> {
    let known = (kind.keys)();
    let Some(key) = own.rest().keys().find(|key| !known.contains(&key.as_str())) else { return Ok(()) };
    let kinds = KINDS.iter().filter(|kind| (kind.keys)().contains(&key.as_str()));
    let kinds: Vec<_> = kinds.map(|kind| kind.name).collect();
    let (kinds, kind) = (kinds.join(" and "), kind.name);
    let reason = format!("it is for channels of kind {kinds}, and this one is {kind}: remove it");
    Err(at.problem(key, reason))
}
