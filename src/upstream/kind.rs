//! The kinds of channels, as their folders describe them. [`KINDS`] lists them.
//!
//! A new kind is a folder beside this file, with a type that implements [`ChannelKind`], and one line of the list. Rust
//! also needs the folder's `mod` line.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use url::Url;

use super::Upstream;
use super::gemini::Gemini;
use super::local::Local;
use super::openai::OpenAi;
use super::remote::RemoteKeys;
use super::transcription::Transcription;
use crate::audio::Container;
use crate::setting::{Keys, Problem, Section, UnreadSection, names};

/// Every kind of channel, in the order in which messages list them.
pub const KINDS: &[&Kind] = &[
    #[cfg(test)]
    &Kind::of::<super::echo::Echo>(),
    &Kind::of::<Gemini>(),
    &Kind::of::<OpenAi>(),
    &Kind::of::<Transcription>(),
    &Kind::of::<Local>(),
];

/// A kind of channel, as its folder describes it.
pub(super) trait ChannelKind: 'static {
    /// The kind's name in the configuration.
    const NAME: &'static str;
    /// Names and globs of the models that a channel of this kind serves if it lists none.
    const MODELS: &'static [&'static str];
    /// The highest temperature that the kind accepts; the lowest is 0.
    const MAX_TEMPERATURE: f64 = 2.0;
    /// True if the kind takes exactly one audio and no conversation.
    const TAKES_ONE_AUDIO: bool = false;
    /// Whether a server without a configuration file has a channel of this kind.
    const WITHOUT_FILE: WithoutFile = WithoutFile::Never(None);
    /// The keys of the kind's channels, beside the keys that every channel has.
    type Keys: Keys;

    /// Returns how many tasks a channel runs at once if its settings do not limit them.
    #[must_use]
    fn slots() -> usize {
        64
    }

    /// Makes a provider from the keys of a channel.
    ///
    /// # Errors
    /// [`Problem`] for the first invalid value.
    fn provider(at: &Section<'_>, remote: RemoteKeys, keys: Self::Keys)
    -> Result<Arc<dyn Provider>, Problem>;
}

/// The provider of one channel, as its keys describe it.
pub trait Provider: Debug + Send + Sync {
    /// Returns the containers that the provider accepts; at least one.
    fn formats(&self) -> &[Container] {
        Container::all()
    }

    /// Returns the operation and the server of the provider's calls.
    fn callee(&self) -> Callee;

    /// Opens the provider for at most `slots` calls at once.
    ///
    /// # Errors
    /// If the system refuses a resource.
    fn open(&self, slots: usize) -> io::Result<Arc<dyn Upstream>>;
}

/// The operation and the server of calls, in the terms of OpenTelemetry's conventions for generative AI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callee {
    /// `gen_ai.operation.name`
    pub operation: &'static str,
    /// The server; `None` for code of this process.
    pub server: Option<Server>,
}

/// The server of calls, in the terms of OpenTelemetry's conventions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// `gen_ai.provider.name`: the provider that defined the API, whatever server answers.
    pub provider: &'static str,
    /// `server.address`
    pub host: String,
    /// `server.port`
    pub port: Option<u16>,
}

impl Callee {
    /// Returns an operation at the server of this URL.
    #[must_use]
    pub fn at(url: &Url, provider: &'static str, operation: &'static str) -> Self {
        let host = url.host_str().unwrap_or_default().to_owned();
        let server = Server { provider, host, port: url.port_or_known_default() };
        Self { operation, server: Some(server) }
    }
}

/// Whether a server without a configuration file has a channel of a kind.
#[derive(Debug, Clone, Copy)]
pub enum WithoutFile {
    /// The server always has a channel of the kind.
    Always,
    /// The server has a channel of the kind if this environment variable holds an API key; if not, the hint says how to
    /// set it.
    WithKey(&'static str, ModelHint),
    /// The server has no channel of the kind; the hint says how to get one.
    Never(Option<ModelHint>),
}

/// The hint for a client that requests one of these models while no channel serves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelHint {
    /// Names and globs; the first hint that covers a model is used.
    pub models: &'static [&'static str],
    /// The text of the hint: what is missing, and what the operator of the server can do.
    pub advice: &'static str,
}

/// Makes a provider from the keys of a channel.
type MakeProvider = fn(&Section<'_>, RemoteKeys, UnreadSection) -> Result<Arc<dyn Provider>, Problem>;

/// A [`ChannelKind`] as a value.
#[derive(Debug)]
pub struct Kind {
    /// [`ChannelKind::NAME`]
    pub name: &'static str,
    /// [`ChannelKind::MODELS`]
    pub models: &'static [&'static str],
    /// [`ChannelKind::MAX_TEMPERATURE`]
    pub max_temperature: f64,
    /// [`ChannelKind::TAKES_ONE_AUDIO`]
    pub takes_one_audio: bool,
    /// [`ChannelKind::WITHOUT_FILE`]
    pub without_file: WithoutFile,
    /// Example values of the kind's own keys.
    pub examples: &'static [(&'static str, &'static str)],
    /// [`ChannelKind::slots`]
    pub slots: fn() -> usize,
    /// Returns the names of the kind's own keys.
    pub keys: fn() -> Vec<&'static str>,
    /// Takes the kind's own keys and checks their types.
    pub take: fn(&mut UnreadSection) -> Result<(), Problem>,
    /// [`ChannelKind::provider`], from the kind's own keys as they were written.
    pub provider: MakeProvider,
}

impl Kind {
    /// Returns the kind with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        KINDS.iter().copied().find(|kind| kind.name == name)
    }

    const fn of<K: ChannelKind>() -> Self {
        Self {
            name: K::NAME,
            models: K::MODELS,
            max_temperature: K::MAX_TEMPERATURE,
            takes_one_audio: K::TAKES_ONE_AUDIO,
            without_file: K::WITHOUT_FILE,
            examples: K::Keys::EXAMPLES,
            slots: K::slots,
            keys: names::<K::Keys>,
            take: |written| written.take::<K::Keys>().map(drop),
            provider: |at, remote, written| K::provider(at, remote, written.take_all()?),
        }
    }
}
