//! File + environment + flags become one [`Config`].
//!
//! Each room owns its settings with their defaults and checks; this one assembles them and says where a wrong value
//! stands. Flags win over the environment, that over the file.
//! What is wrong ends in a [`ConfigError`]: one line that names the place, what was found there and what to write.

mod channels;
mod environment;
mod example;
mod file;
mod hints;
pub mod kind;
mod kinds;
mod listen;
mod origin;
mod settings;
mod syntax;
mod tls;
mod told;
mod words;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::actors::TaskLimits;
use crate::api::upload_limits::UploadLimits;
use crate::audio::container::Container;
use crate::channel::RetryBudget;
use crate::fanout::StreamConfig;
use crate::fetch::FetchConfig;
use crate::keys::KeyRecord;
use crate::logging::LogConfig;
use crate::setting::Variables;
use crate::store::{Retention, StoreConfig};
use crate::trace::TracesConfig;

use environment::Overlaid;
use file::File;
pub use kind::{ChannelKind, LOCAL_MODEL};
pub use listen::MetricsListen;
use origin::{Origins, line_of};
use syntax::Broken;
pub use tls::{ConfiguredFile, TlsConfig};
pub use told::ConfigError;
use told::told;

/// The settings of a server, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// `host:port` to listen on; port 0 takes any free one.
    pub listen: String,
    /// Where the store lives.
    pub data_dir: PathBuf,
    /// Where some of the values were set, to name it when they turn out to be of no use.
    pub places: Places,
    /// How long running tasks may go on after the first signal.
    pub drain: Duration,
    /// API keys beside those in the store.
    pub keys: Vec<KeyRecord>,
    /// Who serves which models.
    pub channels: Vec<ChannelConfig>,
    /// How `audio_url`s are downloaded.
    pub fetch: FetchConfig,
    /// The bounds of request bodies.
    pub uploads: UploadLimits,
    /// The bounds of the tasks of this process.
    pub tasks: TaskLimits,
    /// What all calls of one task together may cost.
    pub retry_budget: RetryBudget,
    /// Most memory for responses, in bytes.
    pub max_response_memory_bytes: usize,
    /// Most connections of one address; nothing: most of all that there may be.
    pub max_connections_per_address: Option<NonZeroUsize>,
    /// How long things are kept.
    pub retention: Retention,
    /// How the store keeps what it is given.
    pub store: StoreConfig,
    /// How subscribers are served.
    pub stream: StreamConfig,
    /// With what the listener speaks TLS; without, it speaks plain HTTP.
    pub tls: Option<TlsConfig>,
    /// Where spans are exported to, if anywhere.
    pub traces: Option<TracesConfig>,
    /// Where metrics are served.
    pub metrics: MetricsListen,
    /// What is said of models of known providers that no channel serves; nothing where the operator has chosen the
    /// channels.
    pub model_hints: Vec<ModelHint>,
    /// What the log shows, and in which form.
    pub log: LogConfig,
    /// What is wrong without being fatal, for the log.
    pub warnings: Vec<String>,
}

/// Where values were set, with their keys, as messages begin with it.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// `data_dir`
    pub data_dir: String,
    /// `listen`
    pub listen: String,
    /// `metrics.listen`
    pub metrics_listen: String,
}

/// What is said when one of these models is asked for and no channel serves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelHint {
    /// Names and globs; the first hint that covers a model counts.
    pub models: &'static [&'static str],
    /// What is missing, and what the operator of the server can do.
    pub advice: &'static str,
}

/// A way to serve models.
#[derive(Debug, Clone)]
pub struct ChannelConfig {
    /// Its name in logs and model lists.
    pub name: String,
    /// Who is behind it.
    pub kind: ChannelKind,
    /// Model names and globs.
    pub models: Vec<String>,
    /// What its models take in, in the contract's order.
    pub capabilities: Vec<Capability>,
    /// The containers that its upstream takes; at least one.
    pub formats: Vec<Container>,
    /// Higher ones are asked first.
    pub priority: i64,
    /// The share among those of equal priority.
    pub weight: u32,
    /// Most tasks that run at once.
    pub max_running_tasks: usize,
    /// How long each stage of a call may take.
    pub timeouts: Timeouts,
    /// How often a call that failed is repeated.
    pub retry: RetryRule,
    /// When the channel is left alone.
    pub breaker: BreakerRule,
    /// Prompt, system prompt and base64 audio together, in bytes.
    pub max_request_bytes: usize,
}

/// What a model can take in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum Capability {
    Text,
    Vision,
    Video,
    Audio,
    File,
}

impl Capability {
    /// The word for it on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Vision => "vision",
            Self::Video => "video",
            Self::Audio => "audio",
            Self::File => "file",
        }
    }
}

/// How long each stage of an upstream call may take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timeouts {
    /// Name look-up, TCP and TLS.
    pub connect: Duration,
    /// From the start of the call to the first event of the answer.
    pub first_chunk: Duration,
    /// Between two pieces of a stream.
    pub idle: Duration,
    /// The whole call, for audio whose duration is not known or short.
    pub total: Duration,
    /// Seconds of the whole call per second of audio, where its duration is known and this makes more than
    /// `total`; 0 to 1000.
    pub total_audio_factor: f64,
}

impl Timeouts {
    /// How long the whole call may take for audio of this duration, where it is known.
    #[must_use]
    pub fn total_for(&self, audio: Option<Duration>) -> Duration {
        let seconds = audio.map_or(0.0, |audio| audio.as_secs_f64() * self.total_audio_factor);
        self.total.max(Duration::try_from_secs_f64(seconds).unwrap_or(self.total))
    }
}

/// How often a call is repeated that failed before anything of its answer was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryRule {
    /// Most calls beyond the first one, per task.
    pub max_retries: u32,
    /// Longest wait before a call, also where the upstream asks for a longer one: then there is none.
    pub max_wait: Duration,
}

/// When a channel is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerRule {
    /// Failures in a row; with 0 it is never left alone.
    pub failures: u32,
    /// How long, the first time; it doubles up to eight times as long.
    pub rest: Duration,
}

/// What the command line says.
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
    /// [`ConfigError`], whose text is one line.
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
        let origins = |variables| Origins { flags, file, variables };
        let in_file = origins(BTreeSet::new());
        let table = syntax::parse(text).map_err(|Broken { offset, reason }| match file {
            Some((path, _)) => ConfigError(format!("{}:{}: {reason}", path.display(), line_of(text, offset))),
            None => ConfigError(reason),
        })?;
        let read = File::read(&table).map_err(|problem| told(&problem, &in_file))?;
        let Overlaid { file: mut read, names, warnings } = environment::overlay(table, read, variables)
            .map_err(|(problem, names)| told(&problem, &origins(names)))?;
        if let Some(listen) = &flags.listen {
            read.top.listen = Some(listen.clone());
        }
        if let Some(data_dir) = &flags.data_dir {
            read.top.data_dir = Some(data_dir.clone());
        }
        let origins = origins(names);
        let mut config =
            settings::check(read, file.is_some(), variables).map_err(|problem| told(&problem, &origins))?;
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
            ErrorKind::PermissionDenied => "this user may not read the configuration file".to_owned(),
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
