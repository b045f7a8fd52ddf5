//! What the file may say becomes what the program runs with: defaults and rules, key by key.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::file::{self, ChannelEntry, FileConfig, KeyEntry};
use super::hints::hints;
use super::kinds::{Kind, kind};
use super::listen;
use super::problem::{Problem, Subject};
use super::traces::traces;
use super::variables::Variables;
use super::words::too_small;
use super::{
    BreakerRule, Capability, ChannelConfig, Config, ConfiguredFile, FetchConfig, Limits, LogConfig,
    LogFormat, Places, Retention, RetryBudget, RetryRule, Secret, StoreConfig, StreamConfig, Timeouts,
    TlsConfig,
};
use crate::audio::gate::Gate;
use crate::audio::host_pattern::HostPattern;
use crate::keys::{KeyLimits, KeyRecord};
use crate::metrics::NO_CHANNEL;
use crate::secret::KeyHash;

/// Checks a configuration. Secrets that are named in it are looked up among the `variables`.
pub(super) fn check(file: FileConfig, from_file: bool, variables: &Variables) -> Result<Config, Problem> {
    let mut warnings = Vec::new();
    let listen = file.listen.unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let listen = listen::main(listen)?;
    let metrics = listen::metrics(file.metrics.listen, &listen)?;
    match file.store.kind.as_deref() {
        None | Some("sqlite") => {}
        Some("redis") => {
            return Err(Problem::value("store.kind", "redis is not in this version"));
        }
        Some(other) => {
            return Err(Problem::value("store.kind", format!("{other:?} is unknown")));
        }
    }
    if file.store.url.is_some() {
        let problem = Problem::new("store.url", "an sqlite store has no url, it is in data_dir");
        return Err(problem.advise("remove it"));
    }

    let is_chosen = from_file || !file.channels.is_empty();
    let channels = if is_chosen {
        file.channels
            .into_iter()
            .enumerate()
            .map(|(index, entry)| channel(index, entry, variables))
            .collect::<Result<Vec<_>, _>>()?
    } else {
        zero_configuration_channels(variables)?
    };
    unique("channels", channels.iter().map(|channel| channel.name.as_str()))?;
    if channels.is_empty() {
        warnings.push("no channel is configured, so no model is served: add [[channels]]".to_owned());
    }
    let keys = file
        .keys
        .into_iter()
        .enumerate()
        .map(|(index, entry)| key(index, entry, variables))
        .collect::<Result<Vec<_>, _>>()?;
    unique("keys", keys.iter().map(|key| key.name.as_str()))?;
    different(&keys)?;
    let data_dir = file.data_dir.unwrap_or_else(|| PathBuf::from("./hearken-data"));
    if data_dir.to_str().is_some_and(|name| name.trim().is_empty()) {
        return Err(Problem::value("data_dir", "the name of a directory is needed, and this is empty"));
    }

    let traces = traces(file.traces, &mut warnings, variables)?;

    Ok(Config {
        listen,
        data_dir,
        places: Places::default(),
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
            keyless_send_timeout: Duration::from_secs(positive(
                "stream.keyless_send_timeout_seconds",
                file.stream.keyless_send_timeout_seconds,
                60,
            )?),
        },
        tls: tls(file.tls)?,
        traces,
        metrics,
        model_hints: if is_chosen { Vec::new() } else { hints(variables)? },
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
            let advice = "remove tls.certificate, or name the PEM file with the certificate's private key";
            Err(Problem::value("tls.key", "it is missing").advise(advice))
        }
        (None, Some(_)) => {
            let advice = "remove tls.key, or name the PEM file with the certificate and those of its issuers";
            Err(Problem::value("tls.certificate", "it is missing").advise(advice))
        }
    }
}

fn fetch(entry: file::Fetch) -> Result<FetchConfig, Problem> {
    let milliseconds = |key: &str, value, default| positive(key, value, default).map(Duration::from_millis);
    let max_redirects = entry.max_redirects.unwrap_or(3);
    if max_redirects > 20 {
        let reason = format!("a whole number from 0 to 20 is needed, and this is {max_redirects}");
        return Err(Problem::value("fetch.max_redirects", reason));
    }
    let allow_hosts = entry.allow_hosts.unwrap_or_default();
    let allow_hosts = allow_hosts.iter().enumerate().map(|(index, text)| {
        HostPattern::parse(text)
            .map_err(|err| Problem::new(format!("fetch.allow_hosts[{index}]"), err.to_string()))
    });
    let allow_ports = entry.allow_ports.unwrap_or_default();
    if let Some(index) = allow_ports.iter().position(|port| *port == 0) {
        return Err(Problem::value(format!("fetch.allow_ports[{index}]"), "there is no port 0")
            .advise("list ports from 1 to 65535, or none for any"));
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

fn zero_configuration_channels(variables: &Variables) -> Result<Vec<ChannelConfig>, Problem> {
    let entry = |kind: &str| ChannelEntry { kind: Some(kind.to_owned()), ..ChannelEntry::default() };
    let mut channels = vec![channel(0, entry("local"), variables)?];
    for (kind, name) in [("gemini", "GEMINI_API_KEY"), ("openai", "OPENAI_API_KEY")] {
        if variables.text(name)?.is_some() {
            let entry = ChannelEntry { api_key_env: Some(name.to_owned()), ..entry(kind) };
            let added = channel(channels.len(), entry, variables).map_err(|problem| {
                // There is no section that could be named.
                problem.about(Subject::Variable(name.to_owned()))
            })?;
            channels.push(added);
        }
    }
    Ok(channels)
}

fn channel(index: usize, entry: ChannelEntry, variables: &Variables) -> Result<ChannelConfig, Problem> {
    let at = |key: &str| format!("channels[{index}].{key}");
    let Kind { kind, default_models, default_slots, formats } = kind(&at, &entry, variables)?;
    let models =
        entry.models.unwrap_or_else(|| default_models.iter().map(|model| (*model).to_owned()).collect());
    if models.is_empty() || models.iter().any(String::is_empty) {
        let reason = if models.is_empty() { "the list is empty" } else { "a name in it is empty" };
        return Err(Problem::value(at("models"), reason).advise("list the names or globs of models"));
    }
    let mut capabilities = entry.capabilities.unwrap_or_else(|| vec![Capability::Text, Capability::Audio]);
    capabilities.sort_unstable();
    capabilities.dedup();
    let name = entry.name.unwrap_or_else(|| kind.name().to_owned());
    if name.is_empty() {
        return Err(Problem::value(at("name"), "it is empty").advise("give the channel a name"));
    }
    // Two things would be counted as one.
    if name == NO_CHANNEL {
        return Err(Problem::value(
            at("name"),
            format!("{name:?} is what the metrics say of tasks that asked no channel"),
        )
        .advise("choose another name"));
    }
    let total_audio_factor = entry.total_timeout_audio_factor.unwrap_or(2.5);
    if !(0.0..=1000.0).contains(&total_audio_factor) {
        return Err(Problem::value(
            at("total_timeout_audio_factor"),
            format!(
                "a number from 0 to 1000 is needed (0 switches it off), and this is {total_audio_factor}"
            ),
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

fn key(index: usize, entry: KeyEntry, variables: &Variables) -> Result<KeyRecord, Problem> {
    let at = |key: &str| format!("keys[{index}].{key}");
    let name = entry.name.filter(|name| !name.is_empty()).ok_or_else(|| {
        Problem::value(at("name"), "it is missing").advise("give the key a name, which logs show")
    })?;
    let hash = match (entry.key, entry.key_env, entry.key_sha256) {
        (None, None, Some(hex)) => KeyHash::from_hex(&hex).ok_or_else(|| {
            let reason = format!(
                "the 64 hex digits of the key's SHA-256 are needed, and this has {} characters",
                hex.chars().count()
            );
            Problem::new(at("key_sha256"), reason).advise("printf %s KEY | sha256sum prints them")
        })?,
        (key, key_env, None) => {
            let secret = secret(&at("key"), key, key_env.as_deref(), variables)?;
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
    variables: &Variables,
) -> Result<Secret, Problem> {
    let (key, text, found) = match (text.filter(|text| !text.is_empty()), named) {
        (Some(_), Some(_)) => {
            return Err(Problem::new(key, format!("{key}_env is set, too")).advise("remove one of the two"));
        }
        (Some(text), None) => (key.to_owned(), text, "it".to_owned()),
        (None, Some(name)) => {
            let key = format!("{key}_env");
            let unset = || {
                Problem::new(&key, format!("{name} is not set in the environment"))
                    .advise("set it, or write the key itself")
            };
            let text = variables.text(name)?.ok_or_else(unset)?.trim().to_owned();
            (key, text, format!("the value of {name}"))
        }
        (None, None) => {
            let advice = format!("set it, or {key}_env to the name of a variable");
            return Err(Problem::value(key, "it is missing or empty").advise(advice));
        }
    };
    if let [b'"' | b'\'', .., b'"' | b'\''] = text.as_bytes() {
        let reason = format!("the quotes around {found} are a part of it");
        return Err(Problem::new(key, reason).advise("write it without them"));
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(Secret::new(text))
    } else {
        let reason = format!("{found} holds white space, or characters that no API key has");
        Err(Problem::new(key, reason).advise("copy the key again"))
    }
}

fn positive(key: &str, value: Option<u64>, default: u64) -> Result<u64, Problem> {
    match value {
        Some(0) => Err(too_small(key, 0, 1)),
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
            let reason = format!("{name:?} is the name of another one of the {list}");
            return Err(
                Problem::value(format!("{list}[{index}].name"), reason).advise("give it one of its own")
            );
        }
    }
    Ok(())
}

/// Refuses one and the same API key under two names: only one of them could count.
fn different(keys: &[KeyRecord]) -> Result<(), Problem> {
    for (index, key) in keys.iter().enumerate() {
        let before = keys.iter().take(index).position(|other| other.hash == key.hash);
        if let Some((first, other)) = before.and_then(|first| Some((first, keys.get(first)?))) {
            let (name, other) = (&key.name, &other.name);
            let reason = format!("{name:?} has the same API key as keys[{first}], {other:?}");
            let advice = format!("remove one of them, or give {name:?} a key of its own");
            return Err(Problem::new(format!("keys[{index}]"), reason).advise(advice));
        }
    }
    Ok(())
}
