//! File + environment + flags become one [`Config`]: every default and every configuration message.
//!
//! Flags win over the environment, that over the file. This is the only place that reads the environment.
//! What is wrong ends in a [`ConfigError`]: one line that names the place, the key and the mend.

mod environment;
mod file;
mod place;
mod settings;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::audio::gate::Gate;
use crate::keys::KeyRecord;

use file::FileConfig;
use place::{key_at, line_of, offset_of};

/// The settings of a server, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// `host:port` to listen on; port 0 takes any free one.
    pub listen: String,
    /// Where the store lives.
    pub data_dir: PathBuf,
    /// Where `data_dir` was set, to name it when the directory turns out to be of no use.
    pub data_dir_place: String,
    /// How long running tasks may go on after the first signal.
    pub drain: Duration,
    /// API keys beside those in the store.
    pub keys: Vec<KeyRecord>,
    /// Who serves which models.
    pub channels: Vec<ChannelConfig>,
    /// How `audio_url`s are downloaded.
    pub fetch: FetchConfig,
    /// What is bounded.
    pub limits: Limits,
    /// How long things are kept.
    pub retention: Retention,
    /// How the store keeps what it is given.
    pub store: StoreConfig,
    /// A comment line is sent after this long without data.
    pub keep_alive: Duration,
    /// What is wrong without being fatal, for the log.
    pub warnings: Vec<String>,
}

/// How `audio_url`s are downloaded.
#[derive(Debug, Clone)]
pub struct FetchConfig {
    /// Which of them may be, and each hop of a redirect.
    pub gate: Gate,
    /// Largest file, in bytes.
    pub max_bytes: u64,
    /// Name look-up, TCP and TLS of one hop.
    pub connect_timeout: Duration,
    /// The whole download, with all its redirects.
    pub total_timeout: Duration,
    /// Most redirects that are followed; with 0 each is a failure.
    pub max_redirects: u32,
}

/// Bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest request body, in bytes.
    pub max_body_bytes: usize,
    /// Most tasks that wait for a slot.
    pub max_pending_tasks: usize,
    /// Most bytes that one task's answer and frames may take in memory.
    pub max_answer_bytes: usize,
    /// Most memory for the bodies of uploads under way, of all callers together, in bytes; a single larger body passes
    /// it, alone.
    pub max_payload_memory_bytes: usize,
}

/// How long things are kept after a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// The chunks of its stream.
    pub chunks: Duration,
    /// The task itself.
    pub tasks: Duration,
    /// From the submit on, the `Idempotency-Key` that it carried.
    pub idempotency: Duration,
}

impl Retention {
    /// How long a stream can be replayed: not longer than its task can be asked for.
    #[must_use]
    pub fn streams(&self) -> Duration {
        self.chunks.min(self.tasks)
    }
}

/// How the store keeps what it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreConfig {
    /// Is what was accepted on the disk before that is said? Otherwise it survives the process, and not the
    /// machine.
    pub sync: bool,
    /// Most bytes of audio on the disk, of all tasks that have not ended.
    pub max_spool_bytes: u64,
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
    /// Higher ones are asked first.
    pub priority: i64,
    /// The share among those of equal priority.
    pub weight: u32,
    /// Most tasks that run at once.
    pub max_running_tasks: usize,
    /// How long each stage of a call may take.
    pub timeouts: Timeouts,
    /// Prompt, system prompt and base64 audio together, in bytes.
    pub max_request_bytes: usize,
}

/// Who is behind a channel.
#[derive(Debug, Clone)]
pub enum ChannelKind {
    /// Google's Gemini API.
    Gemini {
        /// Up to and including the version, without a slash at the end.
        base_url: url::Url,
        /// The key sent as `x-goog-api-key`.
        api_key: Secret,
    },
    /// The embedded channel.
    Local,
}

impl ChannelKind {
    /// The word for it in the configuration.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Gemini { .. } => "gemini",
            Self::Local => "local",
        }
    }
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

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
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

/// A configuration that cannot be used, as one line: where, which key, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// A key that is wrong, before it is known where it was set.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Problem {
    /// As in `channels[0].api_key`.
    key: String,
    reason: String,
}

impl Problem {
    fn new(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { key: key.into(), reason: reason.into() }
    }
}

impl Config {
    /// Reads the configuration of a server from the process's environment and the given flags.
    ///
    /// # Errors
    /// [`ConfigError`], whose text is one line.
    pub fn load(flags: &Flags) -> Result<Self, ConfigError> {
        let variables: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
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
        variables: &[(String, String)],
    ) -> Result<Self, ConfigError> {
        let text = file.map_or("", |(_, text)| text);
        let place = |offset: Option<usize>| match (file, offset) {
            (Some((path, _)), Some(offset)) => format!("{}:{}: ", path.display(), line_of(text, offset)),
            (Some((path, _)), None) => format!("{}: ", path.display()),
            (None, _) => String::new(),
        };

        let parsed: FileConfig = toml::from_str(text).map_err(|err| {
            let offset = err.span().map(|span| span.start);
            let key = offset.and_then(|offset| key_at(text, offset)).map(|key| format!("{key}: "));
            let reason = err.message().replace('\n', " ");
            ConfigError(format!("{}{}{}", place(offset), key.unwrap_or_default(), reason))
        })?;
        let (mut parsed, warnings) = environment::overlay(text, parsed, variables)
            .map_err(|(variable, reason)| ConfigError(format!("{variable} (environment): {reason}")))?;

        if let Some(listen) = &flags.listen {
            parsed.listen = Some(listen.clone());
        }
        if let Some(data_dir) = &flags.data_dir {
            parsed.data_dir = Some(data_dir.clone());
        }
        let variable = |name: &str| {
            variables
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.clone())
                .filter(|v| !v.is_empty())
        };
        let set = |name: &str| variables.iter().any(|(known, _)| known == name);
        let data_dir_place = if flags.data_dir.is_some() {
            "--data-dir".to_owned()
        } else if set("HEARKEN_DATA_DIR") {
            "HEARKEN_DATA_DIR (environment)".to_owned()
        } else {
            format!("{}data_dir", place(offset_of(text, "data_dir")))
        };
        let mut config = settings::check(parsed, file.is_some(), &variable).map_err(|problem| {
            let offset = offset_of(text, &problem.key);
            ConfigError(format!("{}{}: {}", place(offset), problem.key, problem.reason))
        })?;
        config.data_dir_place = data_dir_place;
        config.warnings.extend(warnings);
        Ok(config)
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|err| {
        ConfigError(format!("{}: the configuration file cannot be read: {err}", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::keys::KeyLimits;

    fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
        let variables: Vec<_> = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Config::from_sources(&Flags::default(), Some((Path::new("h.toml"), text)), &variables)
            .map_err(|err| err.to_string())
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn every_mistake_is_one_line_that_names_place_and_key() {
        for (text, expected) in [
            ("listen = 8080", "h.toml:1: listen: "),
            ("\nlisten = \"nowhere\"", "h.toml:2: listen: "),
            ("[limits]\nmax_body_byte = 1", "h.toml:2: limits.max_body_byte: unknown field"),
            ("[limits]\nmax_body_bytes = \"1\"", "h.toml:2: limits.max_body_bytes: "),
            ("[stream]\nkeep_alive_seconds = 0", "h.toml:2: stream.keep_alive_seconds: "),
            ("listen = \"x", "h.toml:1: "),
            (
                "[[channels]]\nname = \"g\"\nkind = \"gemini\"\nmodels = [\"m\"]",
                "h.toml:1: channels[0].api_key: ",
            ),
            (
                "[[channels]]\nkind = \"gemini\"\napi_key_env = \"NOT_SET\"\nmodels = [\"m\"]",
                "h.toml:3: channels[0].api_key_env: ",
            ),
            ("[[channels]]\nkind = \"horse\"", "h.toml:2: channels[0].kind: "),
            (
                "[[channels]]\nkind = \"local\"\n[[channels]]\nkind = \"local\"",
                "h.toml:3: channels[1].name: ",
            ),
            ("[[keys]]\nname = \"a\"", "h.toml:1: keys[0].key: "),
            ("[store]\nkind = \"redis\"", "h.toml:2: store.kind: "),
            ("[fetch]\nmax_redirects = 21", "h.toml:2: fetch.max_redirects: "),
            ("[fetch]\nmax_bytes = 0", "h.toml:2: fetch.max_bytes: "),
            ("[fetch]\nconnect_timeout_ms = 0", "h.toml:2: fetch.connect_timeout_ms: "),
            ("[fetch]\ntotal_timeout_ms = 0", "h.toml:2: fetch.total_timeout_ms: "),
            ("[fetch]\nallow_hosts = \"a.example\"", "h.toml:2: fetch.allow_hosts: "),
            ("[fetch]\nallow_hosts = [\n\"a.example\",\n\"*\"]", "h.toml:4: fetch.allow_hosts[1]: "),
            ("[fetch]\nallow_hosts = [\"http://a.example\"]", "h.toml:2: fetch.allow_hosts[0]: "),
            ("[fetch]\nallow_ports = [80, 0]", "h.toml:2: fetch.allow_ports[1]: "),
            ("[fetch]\nallow_ports = [65536]", "h.toml:2: fetch.allow_ports"),
            (
                "[[channels]]\nkind = \"local\"\ntotal_timeout_audio_factor = -1",
                "h.toml:3: channels[0].total_timeout_audio_factor: ",
            ),
            (
                "[[channels]]\nkind = \"local\"\ntotal_timeout_audio_factor = nan",
                "h.toml:3: channels[0].total_timeout_audio_factor: ",
            ),
            (
                "[[channels]]\nkind = \"local\"\ntotal_timeout_audio_factor = 1000.5",
                "h.toml:3: channels[0].total_timeout_audio_factor: ",
            ),
        ] {
            let error = load(text, &[]).expect_err(text);
            assert!(error.starts_with(expected), "{text:?}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn the_environment_wins_over_the_file_whatever_the_type() {
        let config = load(
            "listen = \"127.0.0.1:1\"\n[[channels]]\nkind = \"local\"\n[stream]\nkeep_alive_seconds = 15",
            &[
                ("HEARKEN_LISTEN", "127.0.0.1:2"),
                ("HEARKEN_STREAM__KEEP_ALIVE_SECONDS", "3"),
                ("HEARKEN_FETCH__ALLOW_PRIVATE_NETWORKS", "true"),
                ("HEARKEN_CHANNELS__0__NAME", "8"),
                ("HEARKEN_URL", "http://elsewhere"),
            ],
        )
        .unwrap();
        assert_eq!(config.listen, "127.0.0.1:2");
        assert_eq!(config.keep_alive, seconds(3));
        assert!(config.fetch.gate.allow_private_networks);
        assert_eq!(config.channels[0].name, "8");
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    }

    #[test]
    fn a_wrong_variable_is_named_and_an_unknown_one_is_warned_of() {
        let error = load("", &[("HEARKEN_DRAIN_SECONDS", "soon")]).unwrap_err();
        assert!(error.starts_with("HEARKEN_DRAIN_SECONDS (environment): "), "{error}");
        let config = load("", &[("HEARKEN_PORT_80_TCP", "tcp://10.0.0.1:80")]).unwrap();
        assert!(config.warnings.iter().any(|w| w.contains("HEARKEN_PORT_80_TCP")), "{:?}", config.warnings);
    }

    #[test]
    fn without_a_file_the_channels_follow_from_the_environment() {
        let channels = |variables: &[(&str, &str)]| {
            let variables: Vec<_> =
                variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            let config = Config::from_sources(&Flags::default(), None, &variables).unwrap();
            config.channels.iter().map(|channel| channel.kind.name()).collect::<Vec<_>>()
        };
        assert_eq!(channels(&[]), ["local"]);
        assert_eq!(channels(&[("GEMINI_API_KEY", "k")]), ["local", "gemini"]);
        assert_eq!(channels(&[("GEMINI_API_KEY", "")]), ["local"]);
    }

    #[test]
    fn the_file_of_the_contract_is_understood() {
        let text = include_str!("../../tests/fixtures/config/contract.toml");
        let config = load(text, &[("GEMINI_API_KEY", "k")]).unwrap();
        assert_eq!(config.limits.max_body_bytes, 29_360_128);
        assert_eq!(config.channels[0].models.len(), 3);
        assert_eq!(config.keys[0].name, "demo");
        let defaults = load("", &[]).unwrap();
        assert_eq!(config.limits, defaults.limits);
        assert_eq!(config.retention, defaults.retention);
        assert_eq!(config.drain, defaults.drain);
        assert_eq!(config.listen, defaults.listen);
    }

    #[test]
    fn a_key_has_the_limits_of_its_entry_and_zero_is_none() {
        let key = "[[keys]]\nname = \"a\"\nkey = \"sk-a\"\n";
        let limits = |lines: &str| {
            let config = load(&format!("{key}{lines}[[channels]]\nkind = \"local\""), &[]).unwrap();
            assert!(config.warnings.is_empty(), "{:?}", config.warnings);
            config.keys[0].limits
        };
        assert_eq!(
            limits("requests_per_minute = 60\nmax_running_tasks = 4\n"),
            KeyLimits { requests_per_minute: NonZeroU32::new(60), max_running_tasks: NonZeroU32::new(4) }
        );
        assert_eq!(limits("requests_per_minute = 0\nmax_running_tasks = 0\n"), KeyLimits::default());
        assert_eq!(limits(""), KeyLimits::default());
        let error = load(&format!("{key}requests_per_minute = -1"), &[]).unwrap_err();
        assert!(error.starts_with("h.toml:4: keys[0].requests_per_minute: "), "{error}");
    }

    #[test]
    fn fetch_has_its_defaults_and_takes_every_key() {
        let fetch = load("", &[]).unwrap().fetch;
        let gate = &fetch.gate;
        assert!(!gate.allow_private_networks && gate.allow_hosts.is_empty() && gate.allow_ports.is_empty());
        assert_eq!((fetch.max_bytes, fetch.max_redirects), (20_000_000, 3));
        assert_eq!((fetch.connect_timeout, fetch.total_timeout), (seconds(5), seconds(60)));

        let fetch = load(
            "[fetch]\nallow_hosts = [\"Files.Example.com\", \"*.internal\", \"[::1]\"]\nallow_ports = [443]\n\
             max_bytes = 7\nconnect_timeout_ms = 250\ntotal_timeout_ms = 2500\nmax_redirects = 0",
            &[("HEARKEN_FETCH__ALLOW_PORTS", "[443, 8443]")],
        )
        .unwrap()
        .fetch;
        let hosts: Vec<_> = fetch.gate.allow_hosts.iter().map(ToString::to_string).collect();
        assert_eq!(hosts, ["files.example.com", "*.internal", "::1"]);
        assert_eq!(fetch.gate.allow_ports, [443, 8443]);
        assert_eq!((fetch.max_bytes, fetch.max_redirects), (7, 0));
        let millis = Duration::from_millis;
        assert_eq!((fetch.connect_timeout, fetch.total_timeout), (millis(250), millis(2500)));
    }

    #[test]
    fn hosts_of_the_environment_open_doors() {
        let config = load("", &[("HEARKEN_FETCH__ALLOW_HOSTS", "[\"*.example.com\"]")]).unwrap();
        assert_eq!(config.fetch.gate.allow_hosts[0].to_string(), "*.example.com");
        let error = load("", &[("HEARKEN_FETCH__ALLOW_HOSTS", "*.example.com")]).unwrap_err();
        assert!(error.starts_with("HEARKEN_FETCH__ALLOW_HOSTS (environment): "), "{error}");
        let error = load("", &[("HEARKEN_FETCH__ALLOW_HOSTS", "[\"*\"]")]).unwrap_err();
        assert!(error.contains("fetch.allow_hosts[0]: "), "{error}");
    }

    #[test]
    fn the_total_timeout_grows_with_the_audio() {
        let timeouts = |line: &str| {
            let text = format!("[[channels]]\nkind = \"local\"\ntotal_timeout_ms = 600000\n{line}");
            load(&text, &[]).unwrap().channels[0].timeouts
        };
        let hour = Some(seconds(3600));
        assert_eq!(timeouts("").total_for(hour), seconds(9000));
        assert_eq!(timeouts("").total_for(Some(seconds(240))), seconds(600));
        assert_eq!(timeouts("").total_for(None), seconds(600));
        assert_eq!(timeouts("total_timeout_audio_factor = 1").total_for(hour), seconds(3600));
        assert_eq!(timeouts("total_timeout_audio_factor = 0").total_for(hour), seconds(600));
        assert_eq!(timeouts("").total_for(Some(Duration::MAX)), seconds(600), "no duration of any audio");
    }

    #[test]
    fn payloads_without_room_for_the_largest_body_are_warned_of() {
        assert_eq!(load("", &[]).unwrap().limits.max_payload_memory_bytes, 268_435_456);
        let warns = |body: usize, memory: usize| {
            let text = format!("[limits]\nmax_body_bytes = {body}\nmax_payload_memory_bytes = {memory}");
            let config = load(&text, &[]).unwrap();
            assert_eq!(config.limits.max_payload_memory_bytes, memory);
            config.warnings.iter().any(|warning| warning.contains("limits.max_payload_memory_bytes"))
        };
        assert_eq!((warns(7, 7), warns(8, 7)), (false, true));
        let error = load("[limits]\nmax_payload_memory_bytes = 0", &[]).unwrap_err();
        assert!(error.starts_with("h.toml:2: limits.max_payload_memory_bytes: "), "{error}");
    }

    #[test]
    fn a_key_from_the_environment_is_trimmed_and_must_be_one_word() {
        let text = "[[channels]]\nkind = \"gemini\"\napi_key_env = \"K\"";
        let config = load(text, &[("K", " sk-1\n")]).unwrap();
        assert!(
            matches!(&config.channels[0].kind, ChannelKind::Gemini { api_key, .. } if api_key.expose() == "sk-1")
        );
        let error = load(text, &[("K", "two words")]).unwrap_err();
        assert!(error.starts_with("h.toml:3: channels[0].api_key_env: "), "{error}");
    }

    #[test]
    fn secrets_are_not_printed() {
        let config =
            load("[[channels]]\nkind = \"gemini\"\napi_key = \"hush-hush\"\nmodels = [\"m\"]", &[]).unwrap();
        assert!(!format!("{config:?}").contains("hush"));
    }
}
