//! `[[channels]]`: the keys that every channel has, and the channels of a server without a configuration file.

use std::time::Duration;

use serde::Deserialize;

use super::kind::{AudioPart, MaxTokensField, ResponseFormat};
use super::kinds::{Kind, kind};
use super::{BreakerRule, Capability, ChannelConfig, RetryRule, Timeouts};
use crate::audio::container::Container;
use crate::channel::MOST_TASKS;
use crate::metrics::NO_CHANNEL;
use crate::setting::{Keys, Problem, Section, Subject, Variables};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChannelEntry {
    pub(super) name: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) base_url: Option<String>,
    pub(super) api_key: Option<String>,
    pub(super) api_key_env: Option<String>,
    pub(super) models: Option<Vec<String>>,
    pub(super) capabilities: Option<Vec<Capability>>,
    pub(super) audio_formats: Option<Vec<Container>>,
    pub(super) audio_part: Option<AudioPart>,
    pub(super) max_tokens_field: Option<MaxTokensField>,
    pub(super) stream_options: Option<bool>,
    pub(super) stream: Option<bool>,
    pub(super) language: Option<String>,
    pub(super) response_format: Option<ResponseFormat>,
    pub(super) priority: Option<i64>,
    pub(super) weight: Option<u32>,
    pub(super) max_running_tasks: Option<usize>,
    pub(super) connect_timeout_ms: Option<u64>,
    pub(super) first_chunk_timeout_ms: Option<u64>,
    pub(super) idle_timeout_ms: Option<u64>,
    pub(super) total_timeout_ms: Option<u64>,
    pub(super) total_timeout_audio_factor: Option<f64>,
    pub(super) max_retries: Option<u32>,
    pub(super) max_retry_wait_ms: Option<u64>,
    pub(super) breaker_failures: Option<u32>,
    pub(super) breaker_rest_ms: Option<u64>,
    pub(super) max_request_bytes: Option<usize>,
}

impl Keys for ChannelEntry {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[
        ("name", "\"gemini\""),
        ("kind", "\"gemini\""),
        ("base_url", "\"https://api.openai.com/v1\""),
        ("api_key", "\"sk-...\""),
        ("api_key_env", "\"GEMINI_API_KEY\""),
        ("models", "[\"gemini-*\"]"),
        ("capabilities", "[\"text\", \"audio\"]"),
        ("audio_formats", "[\"wav\", \"mp3\"]"),
        ("audio_part", "\"input_audio\""),
        ("max_tokens_field", "\"max_tokens\""),
        ("stream_options", "true"),
        ("stream", "true"),
        ("language", "\"de\""),
        ("response_format", "\"json\""),
        ("priority", "1"),
        ("weight", "1"),
        ("max_running_tasks", "60"),
        ("total_timeout_audio_factor", "2.5"),
        ("max_retries", "3"),
        ("breaker_failures", "3"),
    ];
}

/// Returns the channels of a server without a configuration file: those that its environment has a key for.
pub(super) fn zero_configuration_channels(variables: &Variables) -> Result<Vec<ChannelConfig>, Problem> {
    let entry = |kind: &str| ChannelEntry { kind: Some(kind.to_owned()), ..ChannelEntry::default() };
    let mut channels = vec![channel(&Section::new("channels[0]", variables), entry("local"))?];
    for (kind, name) in [("gemini", "GEMINI_API_KEY"), ("openai", "OPENAI_API_KEY")] {
        if variables.text(name)?.is_some() {
            let entry = ChannelEntry { api_key_env: Some(name.to_owned()), ..entry(kind) };
            let at = Section::new(format!("channels[{}]", channels.len()), variables);
            let added = channel(&at, entry).map_err(|problem| {
                // There is no section that could be named.
                problem.about(Subject::Variable(name.to_owned()))
            })?;
            channels.push(added);
        }
    }
    Ok(channels)
}

/// Checks the keys of one channel.
pub(super) fn channel(at: &Section<'_>, entry: ChannelEntry) -> Result<ChannelConfig, Problem> {
    let Kind { kind, default_models, default_slots, formats } = kind(at, &entry)?;
    let models =
        entry.models.unwrap_or_else(|| default_models.iter().map(|model| (*model).to_owned()).collect());
    if models.is_empty() || models.iter().any(String::is_empty) {
        let reason = if models.is_empty() { "the list is empty" } else { "a name in it is empty" };
        return Err(at.wrong("models", reason).advise("list the names or globs of models"));
    }
    let mut capabilities = entry.capabilities.unwrap_or_else(|| vec![Capability::Text, Capability::Audio]);
    capabilities.sort_unstable();
    capabilities.dedup();
    let name = entry.name.unwrap_or_else(|| kind.name().to_owned());
    if name.is_empty() {
        return Err(at.wrong("name", "it is empty").advise("give the channel a name"));
    }
    // Two things would be counted as one.
    if name == NO_CHANNEL {
        return Err(at
            .wrong("name", format!("{name:?} is what the metrics say of tasks that asked no channel"))
            .advise("choose another name"));
    }
    let total_audio_factor = entry.total_timeout_audio_factor.unwrap_or(2.5);
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
            connect: at.milliseconds("connect_timeout_ms", entry.connect_timeout_ms, 5_000)?,
            first_chunk: at.milliseconds("first_chunk_timeout_ms", entry.first_chunk_timeout_ms, 120_000)?,
            idle: at.milliseconds("idle_timeout_ms", entry.idle_timeout_ms, 60_000)?,
            total: at.milliseconds("total_timeout_ms", entry.total_timeout_ms, 600_000)?,
            total_audio_factor,
        },
        retry: RetryRule {
            max_retries: entry.max_retries.unwrap_or(2),
            max_wait: Section::any_time(Duration::from_millis(entry.max_retry_wait_ms.unwrap_or(30_000))),
        },
        breaker: BreakerRule {
            failures: entry.breaker_failures.unwrap_or(5),
            rest: at.milliseconds("breaker_rest_ms", entry.breaker_rest_ms, 10_000)?,
        },
        max_running_tasks: at
            .at_least_one("max_running_tasks", entry.max_running_tasks, default_slots)?
            .min(MOST_TASKS),
        max_request_bytes: at.at_least_one("max_request_bytes", entry.max_request_bytes, 20_000_000)?,
        weight: at.at_least_one("weight", entry.weight.map(|weight| weight as usize), 1)? as u32,
        priority: entry.priority.unwrap_or(0),
        name,
        kind,
        models,
        capabilities,
        formats,
    })
}
