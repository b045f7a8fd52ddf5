//! What the file may say becomes what the program runs with: defaults and rules, key by key.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::file::{self, ChannelEntry, FileConfig, KeyEntry};
use super::hints::hints;
use super::kinds::{Kind, kind};
use super::listen;
use super::traces::traces;
use super::{
    BreakerRule, Capability, ChannelConfig, Config, ConfiguredFile, FetchConfig, Limits, LogConfig,
    LogFormat, Problem, Retention, RetryBudget, RetryRule, Secret, StoreConfig, StreamConfig, Timeouts,
    TlsConfig,
};
use crate::audio::gate::Gate;
use crate::audio::host_pattern::HostPattern;
use crate::keys::{KeyHash, KeyLimits, KeyRecord};
use crate::metrics::NO_CHANNEL;

/// Checks a configuration. `variable` looks up secrets that are named in it.
pub(super) fn check(
    file: FileConfig,
    from_file: bool,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, Problem> {
    let mut warnings = Vec::new();
    let listen = file.listen.unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let listen = listen::address("listen", listen, "it as \"127.0.0.1:8080\"")?;
    let metrics = listen::metrics(file.metrics.listen, &listen)?;
    match file.store.kind.as_deref() {
        None | Some("sqlite") => {}
        Some("redis") => {
            return Err(Problem::new("store.kind", "redis is not in this version: use \"sqlite\""));
        }
        Some(other) => {
            return Err(Problem::new("store.kind", format!("{other:?} is unknown: use \"sqlite\"")));
        }
    }
    if file.store.url.is_some() {
        return Err(Problem::new(
            "store.url",
            "an sqlite store has no url: remove it; the store is in data_dir",
        ));
    }

    let is_chosen = from_file || !file.channels.is_empty();
    let channels = if is_chosen {
        file.channels
            .into_iter()
            .enumerate()
            .map(|(index, entry)| channel(index, entry, variable))
            .collect::<Result<Vec<_>, _>>()?
    } else {
        zero_configuration_channels(variable)?
    };
    unique("channels", channels.iter().map(|channel| channel.name.as_str()))?;
    if channels.is_empty() {
        warnings.push("no channel is configured, so no model is served: add [[channels]]".to_owned());
    }
    let keys = file
        .keys
        .into_iter()
        .enumerate()
        .map(|(index, entry)| key(index, entry, variable))
        .collect::<Result<Vec<_>, _>>()?;
    unique("keys", keys.iter().map(|key| key.name.as_str()))?;

    let traces = traces(file.traces, &mut warnings, variable)?;

    Ok(Config {
        listen,
        data_dir: file.data_dir.unwrap_or_else(|| PathBuf::from("./hearken-data")),
        data_dir_place: String::new(),
        drain: Duration::from_secs(file.drain_seconds.unwrap_or(30)),
        keys,
        channels,
        fetch: fetch(file.fetch)?,
        limits: limits(&file.limits, &mut warnings)?,
        retention: Retention {
            chunks: Duration::from_secs(file.retention.chunks_seconds.unwrap_or(900)),
            tasks: Duration::from_secs(positive(
                "retention.tasks_seconds",
                file.retention.tasks_seconds,
                86_400,
            )?),
            idempotency: Duration::from_secs(positive(
                "retention.idempotency_seconds",
                file.retention.idempotency_seconds,
                86_400,
            )?),
        },
        store: StoreConfig {
            sync: file.store.sync.unwrap_or(true),
            max_spool_bytes: positive("limits.max_spool_bytes", file.limits.max_spool_bytes, 4 << 30)?,
        },
        stream: StreamConfig {
            keep_alive: Duration::from_secs(positive(
                "stream.keep_alive_seconds",
                file.stream.keep_alive_seconds,
                15,
            )?),
            hand_over: file.stream.hand_over.unwrap_or(true),
            send_timeout: Duration::from_secs(positive(
                "stream.send_timeout_seconds",
                file.stream.send_timeout_seconds,
                900,
            )?),
        },
        tls: tls(file.tls)?,
        traces,
        metrics,
        model_hints: if is_chosen { Vec::new() } else { hints(variable) },
        // `log` reads it from the environment.
        log: LogConfig { filter: String::new(), format: LogFormat::default() },
        warnings,
    })
}

/// Both files or neither. An empty text is none, so that the environment can switch TLS off.
fn tls(entry: file::Tls) -> Result<Option<TlsConfig>, Problem> {
    let named = |path: Option<PathBuf>| {
        let path = path.filter(|path| !path.as_os_str().is_empty())?;
        Some(ConfiguredFile { path, place: String::new() })
    };
    match (named(entry.certificate), named(entry.key)) {
        (Some(certificate), Some(key)) => Ok(Some(TlsConfig { certificate, key })),
        (None, None) => Ok(None),
        (Some(_), None) => {
            let mend = "it is missing: name the PEM file with the certificate's private key, or remove tls.certificate";
            Err(Problem::new("tls.key", mend))
        }
        (None, Some(_)) => {
            let mend =
                "it is missing: name the PEM file with the certificate and its issuers', or remove tls.key";
            Err(Problem::new("tls.certificate", mend))
        }
    }
}

fn fetch(entry: file::Fetch) -> Result<FetchConfig, Problem> {
    let milliseconds = |key: &str, value, default| positive(key, value, default).map(Duration::from_millis);
    let max_redirects = entry.max_redirects.unwrap_or(3);
    if max_redirects > 20 {
        return Err(Problem::new("fetch.max_redirects", "more than 20 redirects is a loop: write 0 to 20"));
    }
    let allow_hosts = entry.allow_hosts.unwrap_or_default();
    let allow_hosts = allow_hosts.iter().enumerate().map(|(index, text)| {
        HostPattern::parse(text)
            .map_err(|err| Problem::new(format!("fetch.allow_hosts[{index}]"), err.to_string()))
    });
    let allow_ports = entry.allow_ports.unwrap_or_default();
    if let Some(index) = allow_ports.iter().position(|port| *port == 0) {
        return Err(Problem::new(
            format!("fetch.allow_ports[{index}]"),
            "nobody serves at port 0: list ports from 1 to 65535, or [] for any",
        ));
    }
    Ok(FetchConfig {
        gate: Gate {
            allow_private_networks: entry.allow_private_networks.unwrap_or(false),
            allow_hosts: allow_hosts.collect::<Result<_, _>>()?,
            allow_ports,
        },
        max_bytes: positive("fetch.max_bytes", entry.max_bytes, 20_000_000)?,
        connect_timeout: milliseconds("fetch.connect_timeout_ms", entry.connect_timeout_ms, 5_000)?,
        total_timeout: milliseconds("fetch.total_timeout_ms", entry.total_timeout_ms, 60_000)?,
        max_redirects,
    })
}

fn limits(entry: &file::Limits, warnings: &mut Vec<String>) -> Result<Limits, Problem> {
    let max_body_bytes = at_least_one("limits.max_body_bytes", entry.max_body_bytes, 29_360_128)?;
    let max_payload_memory_bytes =
        at_least_one("limits.max_payload_memory_bytes", entry.max_payload_memory_bytes, 256 << 20)?;
    if max_payload_memory_bytes < max_body_bytes {
        warnings.push(format!(
            "limits.max_payload_memory_bytes, {max_payload_memory_bytes}, is less than limits.max_body_bytes, \
             {max_body_bytes}: a body that is larger is received, alone, and passes it"
        ));
    }
    Ok(Limits {
        max_body_bytes,
        max_pending_tasks: entry.max_pending_tasks.unwrap_or(10_000).min(MOST_TASKS),
        max_answer_bytes: at_least_one("limits.max_answer_bytes", entry.max_answer_bytes, 64 << 20)?,
        max_payload_memory_bytes,
        max_connections_per_address: entry.max_connections_per_address.and_then(NonZeroUsize::new),
        max_response_memory_bytes: at_least_one(
            "limits.max_response_memory_bytes",
            entry.max_response_memory_bytes,
            256 << 20,
        )?,
        max_stream_memory_bytes: entry.max_stream_memory_bytes.unwrap_or(128 << 20),
        retry_budget: RetryBudget {
            calls: at_least_one(
                "limits.max_task_calls",
                entry.max_task_calls.map(|calls| calls as usize),
                12,
            )? as u32,
            time: Duration::from_secs(entry.max_task_retry_seconds.unwrap_or(900).min(LONGEST_SECONDS)),
        },
    })
}

/// A century: sums with a clock must not overflow.
const LONGEST_SECONDS: u64 = 3_153_600_000;

/// More than any machine can run or hold.
const MOST_TASKS: usize = 1 << 28;

fn zero_configuration_channels(
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<ChannelConfig>, Problem> {
    let entry = |kind: &str| ChannelEntry { kind: Some(kind.to_owned()), ..ChannelEntry::default() };
    let mut channels = vec![channel(0, entry("local"), variable)?];
    for (kind, name) in [("gemini", "GEMINI_API_KEY"), ("openai", "OPENAI_API_KEY")] {
        if variable(name).is_some() {
            let entry = ChannelEntry { api_key_env: Some(name.to_owned()), ..entry(kind) };
            channels.push(channel(channels.len(), entry, variable)?);
        }
    }
    Ok(channels)
}

fn channel(
    index: usize,
    entry: ChannelEntry,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<ChannelConfig, Problem> {
    let at = |key: &str| format!("channels[{index}].{key}");
    let Kind { kind, default_models, default_slots, formats } = kind(&at, &entry, variable)?;
    let models =
        entry.models.unwrap_or_else(|| default_models.iter().map(|model| (*model).to_owned()).collect());
    if models.is_empty() || models.iter().any(String::is_empty) {
        return Err(Problem::new(at("models"), "list at least one model name or glob, none of them empty"));
    }
    let mut capabilities = entry.capabilities.unwrap_or_else(|| vec![Capability::Text, Capability::Audio]);
    capabilities.sort_unstable();
    capabilities.dedup();
    let name = entry.name.unwrap_or_else(|| kind.name().to_owned());
    if name.is_empty() {
        return Err(Problem::new(at("name"), "it is empty: give the channel a name"));
    }
    // Two things would be counted as one.
    if name == NO_CHANNEL {
        return Err(Problem::new(
            at("name"),
            "the metrics say it of tasks that asked no channel: choose another name",
        ));
    }
    let total_audio_factor = entry.total_timeout_audio_factor.unwrap_or(2.5);
    if !(0.0..=1000.0).contains(&total_audio_factor) {
        return Err(Problem::new(
            at("total_timeout_audio_factor"),
            "it must be from 0 to 1000, times the audio's duration for a call; 0 switches it off",
        ));
    }
    let timeout = |key: &str, value, default| positive(&at(key), value, default).map(Duration::from_millis);
    Ok(ChannelConfig {
        timeouts: Timeouts {
            connect: timeout("connect_timeout_ms", entry.connect_timeout_ms, 5_000)?,
            first_chunk: timeout("first_chunk_timeout_ms", entry.first_chunk_timeout_ms, 120_000)?,
            idle: timeout("idle_timeout_ms", entry.idle_timeout_ms, 60_000)?,
            total: timeout("total_timeout_ms", entry.total_timeout_ms, 600_000)?,
            total_audio_factor,
        },
        retry: RetryRule {
            max_retries: entry.max_retries.unwrap_or(2),
            max_wait: Duration::from_millis(
                entry.max_retry_wait_ms.unwrap_or(30_000).min(LONGEST_SECONDS * 1000),
            ),
        },
        breaker: BreakerRule {
            failures: entry.breaker_failures.unwrap_or(5),
            rest: timeout("breaker_rest_ms", entry.breaker_rest_ms, 10_000)?,
        },
        max_running_tasks: at_least_one(&at("max_running_tasks"), entry.max_running_tasks, default_slots)?
            .min(MOST_TASKS),
        max_request_bytes: at_least_one(&at("max_request_bytes"), entry.max_request_bytes, 20_000_000)?,
        weight: at_least_one(&at("weight"), entry.weight.map(|weight| weight as usize), 1)? as u32,
        priority: entry.priority.unwrap_or(0),
        name,
        kind,
        models,
        capabilities,
        formats,
    })
}

fn key(
    index: usize,
    entry: KeyEntry,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<KeyRecord, Problem> {
    let at = |key: &str| format!("keys[{index}].{key}");
    let name = entry.name.filter(|name| !name.is_empty()).ok_or_else(|| {
        Problem::new(at("name"), "it is missing: give the key a name, it is what logs show")
    })?;
    let hash = match (entry.key, entry.key_env, entry.key_sha256) {
        (None, None, Some(hex)) => KeyHash::from_hex(&hex).ok_or_else(|| {
            Problem::new(at("key_sha256"), "it must be the 64 hex digits of the key's SHA-256")
        })?,
        (key, key_env, None) => {
            let secret = secret(&at("key"), key, key_env.as_deref(), variable)?;
            KeyHash::of(secret.expose())
        }
        _ => return Err(Problem::new(at("key"), "set exactly one of key, key_env and key_sha256")),
    };
    Ok(KeyRecord {
        name,
        hash,
        models: entry.models.unwrap_or_else(|| vec!["*".to_owned()]),
        limits: KeyLimits::new(entry.requests_per_minute.unwrap_or(0), entry.max_running_tasks.unwrap_or(0)),
    })
}

/// A secret that stands in the file, or in the environment under the name that the file gives.
pub(super) fn secret(
    key: &str,
    text: Option<String>,
    named: Option<&str>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Secret, Problem> {
    let (key, text) = match (text.filter(|text| !text.is_empty()), named) {
        (Some(_), Some(_)) => return Err(Problem::new(key, format!("set either it or {key}_env, not both"))),
        (Some(text), None) => (key.to_owned(), text),
        (None, Some(name)) => {
            let key = format!("{key}_env");
            let mend = format!("{name} is not set in the environment: set it, or write the key itself");
            let text = variable(name).ok_or_else(|| Problem::new(&key, mend))?;
            (key, text.trim().to_owned())
        }
        (None, None) => {
            let mend = format!("it is missing: set it, or {key}_env to the name of a variable");
            return Err(Problem::new(key, mend));
        }
    };
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(Secret::new(text))
    } else {
        Err(Problem::new(key, "a key holds ASCII letters, digits and signs, and no white space"))
    }
}

fn positive(key: &str, value: Option<u64>, default: u64) -> Result<u64, Problem> {
    match value {
        Some(0) => Err(Problem::new(key, "it must be at least 1")),
        Some(value) => Ok(value.min(LONGEST_SECONDS * 1000)),
        None => Ok(default),
    }
}

fn at_least_one(key: &str, value: Option<usize>, default: usize) -> Result<usize, Problem> {
    positive(key, value.map(|value| value as u64), default as u64).map(|value| value as usize)
}

fn unique<'a>(list: &str, names: impl Iterator<Item = &'a str>) -> Result<(), Problem> {
    let mut seen = HashSet::new();
    for (index, name) in names.enumerate() {
        if !seen.insert(name) {
            return Err(Problem::new(
                format!("{list}[{index}].name"),
                format!("{name:?} is taken: names are unique"),
            ));
        }
    }
    Ok(())
}
