//! Turns the keys of the file into the settings of the program: each owner checks its keys.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::file::File;
use super::{Config, Places, listen};
use crate::channel::{channels_without_file, hints_without_file};
use crate::keys::distinct_keys;
use crate::logging::LogConfig;
use crate::setting::{Problem, Section, Variables, distinct_names};

/// Checks a configuration. Secrets that it refers to by name are read from the `variables`.
pub(super) fn check(file: File, from_file: bool, variables: &Variables) -> Result<Config, Problem> {
    let at = |path: &str| Section::new(path, variables);
    let entry = |list: &str, index: usize| Section::new(format!("{list}[{index}]"), variables);
    let mut warnings = Vec::new();
    let listen = file.top.listen.unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let listen = listen::main_address(listen)?;
    let metrics = file.metrics.checked(&at("metrics"), &listen)?;
    let store = file.store.checked(&at("store"), file.spool, &at("limits"))?;

    let is_chosen = from_file || !file.channels.is_empty();
    let channels = if is_chosen {
        let entries = file.channels.into_iter().enumerate();
        entries.map(|(index, keys)| keys.checked(&entry("channels", index))).collect::<Result<Vec<_>, _>>()?
    } else {
        channels_without_file(variables)?
    };
    distinct_names("channels", channels.iter().map(|channel| channel.name.as_str()))?;
    if channels.is_empty() {
        warnings.push("no channel is configured, so no model is served: add [[channels]]".to_owned());
    }
    let keys = file.keys.into_iter().enumerate();
    let keys =
        keys.map(|(index, keys)| keys.checked(&entry("keys", index))).collect::<Result<Vec<_>, _>>()?;
    distinct_names("keys", keys.iter().map(|key| key.name.as_str()))?;
    distinct_keys(&keys)?;
    let data_dir = file.top.data_dir.unwrap_or_else(|| PathBuf::from("./hearken-data"));
    if data_dir.to_str().is_some_and(|name| name.trim().is_empty()) {
        return Err(Problem::value("data_dir", "the name of a directory is needed, and this is empty"));
    }

    Ok(Config {
        listen,
        data_dir,
        places: Places::default(),
        drain: Duration::from_secs(file.top.drain_seconds.unwrap_or(30)),
        keys,
        channels,
        traces: file.traces.checked(&at("traces"), &mut warnings)?,
        fetch: file.fetch.checked(&at("fetch"))?,
        uploads: file.uploads.checked(&at("limits"), &mut warnings)?,
        tasks: file.tasks.checked(&at("limits"))?,
        retry_budget: file.retry_budget.checked(&at("limits"))?,
        max_response_memory_bytes: file.responses.checked(&at("limits"))?,
        max_connections_per_address: file.connections.max_connections_per_address.and_then(NonZeroUsize::new),
        retention: file.retention.checked(&at("retention"))?,
        store,
        stream: file.stream.checked(&at("stream"))?,
        tls: file.tls.checked(&at("tls"))?,
        metrics,
        model_hints: if is_chosen { Vec::new() } else { hints_without_file(variables)? },
        log: LogConfig::read(variables, &mut warnings)?,
        warnings,
    })
}
