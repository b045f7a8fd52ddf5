//! The configuration: file, environment and flags become one [`Config`].
//!
//! Each module owns its settings with their defaults and checks. This module assembles them and finds where a wrong
//! value was set. Flags override the environment, and the environment overrides the file. A mistake becomes a
//! [`ConfigError`]: one line that names the place, the value found there and what to write instead.

mod environment;
mod error;
mod example;
mod file;
mod listen;
mod origin;
mod settings;
mod syntax;
mod tls;
mod words;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::actors::TaskLimits;
use crate::api::UploadLimits;
use crate::channel::{ChannelConfig, RetryBudget};
use crate::fanout::StreamConfig;
use crate::fetch::FetchConfig;
use crate::keys::KeyRecord;
use crate::logging::LogConfig;
use crate::setting::Variables;
use crate::store::{Retention, StoreConfig};
use crate::trace::TracesConfig;
use crate::upstream::ModelHint;

pub use error::ConfigError;
use file::File;
pub use listen::MetricsListen;
use origin::{Origins, line_of};
use syntax::SyntaxError;
pub use tls::{ConfiguredFile, TlsConfig};

/// Checked settings of a server.
#[derive(Debug, Clone)]
pub struct Config {
    /// The `host:port` to listen on; port 0 takes any free port.
    pub listen: String,
    /// The data directory of the store.
    pub data_dir: PathBuf,
    /// The places where some of the values were set. Messages name them if a value turns out to be unusable.
    pub places: Places,
    /// How long running tasks may continue after the first signal to stop.
    pub drain: Duration,
    /// API keys in addition to those in the store.
    pub keys: Vec<KeyRecord>,
    /// The channels, with the models that they serve.
    pub channels: Vec<ChannelConfig>,
    /// Settings for downloads of `audio_url`s.
    pub fetch: FetchConfig,
    /// The bounds of request bodies.
    pub uploads: UploadLimits,
    /// The bounds of the tasks of this process.
    pub tasks: TaskLimits,
    /// The bounds on the cost of all calls of one task together.
    pub retry_budget: RetryBudget,
    /// Most memory for responses, in bytes.
    pub max_response_memory_bytes: usize,
    /// Most connections from one address. If not set, the limit is seven eighths of all possible connections.
    pub max_connections_per_address: Option<NonZeroUsize>,
    /// How long data is kept.
    pub retention: Retention,
    /// Settings of the store.
    pub store: StoreConfig,
    /// Settings for subscribers.
    pub stream: StreamConfig,
    /// Settings of the listener's TLS. Without them, it uses plain HTTP.
    pub tls: Option<TlsConfig>,
    /// Settings for the export of spans. Without them, no spans are exported.
    pub traces: Option<TracesConfig>,
    /// The listener that serves metrics, if any.
    pub metrics: MetricsListen,
    /// Hints about models of known providers that no channel serves. Empty if the operator has chosen the channels.
    pub model_hints: Vec<ModelHint>,
    /// The level and the format of the log.
    pub log: LogConfig,
    /// Mistakes that are not fatal, for the log.
    pub warnings: Vec<String>,
}

/// The places where some values were set, each with its key. A message about such a value begins with this text.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// `data_dir`
    pub data_dir: String,
    /// `listen`
    pub listen: String,
    /// `metrics.listen`
    pub metrics_listen: String,
}

/// Flags of the command line.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--listen`
    pub listen: Option<String>,
    /// `--data-dir`
    pub data_dir: Option<PathBuf>,
}

impl Config {
    /// Reads the configuration of a server from the process's environment and the given flags.
    ///
    /// # Errors
    /// [`ConfigError`], with a text of one line.
    pub fn load(flags: &Flags) -> Result<Self, ConfigError> {
        let variables = Variables::of_process();
        let file = match &flags.config {
            None => None,
            Some(path) => Some((path.as_path(), read(path)?)),
        };
        let file = file.as_ref().map(|(path, text)| (*path, text.as_str()));
        Self::from_sources(flags, file, &variables)
    }

    fn from_sources(
        flags: &Flags,
        file: Option<(&Path, &str)>,
        variables: &Variables,
    ) -> Result<Self, ConfigError> {
        let text = file.map_or("", |(_, text)| text);
        let mut origins = Origins { flags, file, variables: BTreeSet::new() };
        let table = syntax::parse(text).map_err(|SyntaxError { offset, reason }| match file {
            Some((path, _)) => ConfigError(format!("{}:{}: {reason}", path.display(), line_of(text, offset))),
            None => ConfigError(reason),
        })?;
        let read = File::read(&table).map_err(|problem| ConfigError::new(&problem, &origins))?;
        let (mut read, warnings) = environment::overlay(table, read, variables, &mut origins.variables)
            .map_err(|problem| ConfigError::new(&problem, &origins))?;
        if let Some(listen) = &flags.listen {
            read.top.listen = Some(listen.clone());
        }
        if let Some(data_dir) = &flags.data_dir {
            read.top.data_dir = Some(data_dir.clone());
        }
        let mut config = settings::check(read, file.is_some(), variables)
            .map_err(|problem| ConfigError::new(&problem, &origins))?;
        let place = |key: &str| origins.of(key).place;
        config.places = Places {
            data_dir: place("data_dir"),
            listen: place("listen"),
            metrics_listen: place("metrics.listen"),
        };
        if let Some(TlsConfig { certificate, key }) = &mut config.tls {
            certificate.place = place("tls.certificate");
            key.place = place("tls.key");
        }
        config.warnings.extend(warnings);
        Ok(config)
    }
}

/// Reads the configuration file as text.
fn read(path: &Path) -> Result<String, ConfigError> {
    let refused = |reason: String| ConfigError(format!("{}: {reason}", path.display()));
    let bytes = std::fs::read(path).map_err(|err| {
        refused(match err.kind() {
            ErrorKind::NotFound => {
                "there is no such file; name the configuration file with --config".to_owned()
            }
            ErrorKind::IsADirectory => "it is a directory; name the configuration file in it".to_owned(),
            ErrorKind::PermissionDenied => {
                "hearken's user may not read the configuration file; give it permission to read the file"
                    .to_owned()
            }
            _ => format!("the configuration file cannot be read: {err}"),
        })
    })?;
    String::from_utf8(bytes).map_err(|err| {
        let good = err.as_bytes().get(..err.utf8_error().valid_up_to()).unwrap_or_default();
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        refused(format!("line {line} is not UTF-8; save the configuration file as text in UTF-8"))
    })
}

#[cfg(test)]
mod tests;
