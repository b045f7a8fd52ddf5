//! The configuration file, split by the modules that own its keys. All keys are optional.

use std::path::PathBuf;

use serde::Deserialize;
use toml::{Table, Value};

use super::listen::MetricsKeys;
use super::tls::TlsKeys;
use crate::actors::TaskKeys;
use crate::api::UploadKeys;
use crate::channel::{ChannelEntry, RetryBudgetKeys};
use crate::fanout::StreamKeys;
use crate::fetch::FetchKeys;
use crate::keys::KeyEntry;
use crate::memory::ResponseKeys;
use crate::setting::{Keys, Mistake, Problem, UnreadSection};
use crate::store::{RetentionKeys, SpoolKeys, StoreKeys};
use crate::trace::TracesKeys;

/// The keys of the file, by owner.
#[derive(Debug)]
pub(super) struct File {
    pub(super) top: TopKeys,
    pub(super) keys: Vec<KeyEntry>,
    pub(super) channels: Vec<ChannelEntry>,
    pub(super) fetch: FetchKeys,
    pub(super) uploads: UploadKeys,
    pub(super) tasks: TaskKeys,
    pub(super) responses: ResponseKeys,
    pub(super) spool: SpoolKeys,
    pub(super) connections: ConnectionKeys,
    pub(super) retry_budget: RetryBudgetKeys,
    pub(super) retention: RetentionKeys,
    pub(super) stream: StreamKeys,
    pub(super) metrics: MetricsKeys,
    pub(super) traces: TracesKeys,
    pub(super) store: StoreKeys,
    pub(super) tls: TlsKeys,
}

/// The keys at the top level.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TopKeys {
    pub(super) listen: Option<String>,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) drain_seconds: Option<u64>,
}

/// The keys of `[limits]` that bound connections.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConnectionKeys {
    pub(super) max_connections_per_address: Option<usize>,
}

impl Keys for TopKeys {
    const EXAMPLES: &'static [(&'static str, &'static str)] =
        &[("listen", "\"127.0.0.1:8080\""), ("data_dir", "\"/var/lib/hearken\"")];
}

impl Keys for ConnectionKeys {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[("max_connections_per_address", "1000")];
}

impl File {
    /// Reads a configuration. The values then have the right types, but may still be wrong.
    pub(super) fn read(table: &Table) -> Result<Self, Problem> {
        let mut root = UnreadSection::root(table.clone());
        let top = root.take()?;
        let keys = root.list("keys")?.into_iter().map(UnreadSection::take_all).collect::<Result<_, _>>()?;
        let channels =
            root.list("channels")?.into_iter().map(ChannelEntry::read).collect::<Result<_, _>>()?;
        let fetch = root.section("fetch")?.take_all()?;
        let mut limits = root.section("limits")?;
        let (uploads, tasks, responses) = (limits.take()?, limits.take()?, limits.take()?);
        let (spool, connections, retry_budget) = (limits.take()?, limits.take()?, limits.take()?);
        limits.finish()?;
        let read = Self {
            top,
            keys,
            channels,
            fetch,
            uploads,
            tasks,
            responses,
            spool,
            connections,
            retry_budget,
            retention: root.section("retention")?.take_all()?,
            stream: root.section("stream")?.take_all()?,
            metrics: root.section("metrics")?.take_all()?,
            traces: root.section("traces")?.take_all()?,
            store: root.section("store")?.take_all()?,
            tls: root.section("tls")?.take_all()?,
        };
        root.finish()?;
        Ok(read)
    }
}

/// Returns every key that can be set, as in `stream.keep_alive_seconds` and `channels[0].models`.
pub(super) fn known_keys() -> Vec<String> {
    // An empty key is unknown in every section, and the problem lists the known keys.
    let probe = || Value::Table(Table::from_iter([(String::new(), Value::Boolean(true))]));
    let within = |name: &str, value: Value| Table::from_iter([(name.to_owned(), value)]);
    let names = |table: Table| match File::read(&table) {
        Err(Problem { mistake: Mistake::UnknownKey(names), .. }) => names,
        _ => Vec::new(),
    };
    let mut keys = Vec::new();
    for name in names(within("", Value::Boolean(true))) {
        let section = names(within(name, probe())).into_iter().map(|key| format!("{name}.{key}"));
        let list = names(within(name, Value::Array(vec![probe()])));
        let list = list.into_iter().map(|key| format!("{name}[0].{key}"));
        let before = keys.len();
        keys.extend(section.chain(list));
        if keys.len() == before {
            keys.push(name.to_owned());
        }
    }
    keys
}
