//! Kinds of channels: what the folder of each one says of it. [`KINDS`] lists them.
//!
//! A new kind is a folder beside this file, whose type implements [`ChannelKind`], and one line of the list. Rust also
//! needs the folder's `mod` line.

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
use crate::setting::{Keys, Problem, Section, Unread, names};

/// Every kind of channel, in the order in which messages name them.
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
    /// The word for it in the configuration.
    const NAME: &'static str;
    /// Names and globs of the models that a channel serves where it lists none.
    const MODELS: &'static [&'static str];
    /// The highest temperature that it takes; the lowest is 0.
    const MAX_TEMPERATURE: f64 = 2.0;
    /// True where it takes exactly one audio and no conversation.
    const TAKES_ONE_AUDIO: bool = false;
    /// Says whether a server without a configuration file has a channel of this kind.
    const WITHOUT_FILE: WithoutFile = WithoutFile::Never(None);
    /// The keys that its channels have beside those of every channel.
    type Keys: Keys;

    /// Returns how many tasks a channel runs at once where it does not say so.
    #[must_use]
    fn slots() -> usize {
        64
    }

    /// Makes a provider of the keys of a channel.
    ///
    /// # Errors
    /// [`Problem`] with the first value that is wrong.
    fn provider(at: &Section<'_>, remote: RemoteKeys, keys: Self::Keys)
    -> Result<Arc<dyn Provider>, Problem>;
}

/// What stands behind one channel, as its keys say.
pub trait Provider: Debug + Send + Sync {
    /// Returns the containers that it takes; at least one.
    fn formats(&self) -> &[Container] {
        Container::all()
    }

    /// Returns what its calls are called, and where they go.
    fn callee(&self) -> Callee;

    /// Opens it for at most so many calls at once.
    ///
    /// # Errors
    /// When the system refuses what it needs.
    fn open(&self, slots: usize) -> io::Result<Arc<dyn Upstream>>;
}

/// What calls are called, in the words of OpenTelemetry's conventions for generative AI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callee {
    /// `gen_ai.operation.name`
    pub operation: &'static str,
    /// Where they go; `None` for code of this process.
    pub server: Option<Server>,
}

/// Where calls go, in the same words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// `gen_ai.provider.name`: whose language is spoken, whatever server speaks it.
    pub provider: &'static str,
    /// `server.address`
    pub host: String,
    /// `server.port`
    pub port: Option<u16>,
}

impl Callee {
    /// Names an operation at the server of this URL.
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
    /// It has one.
    Always,
    /// It has one where this variable holds an API key; where not, the hint tells of that.
    WithKey(&'static str, ModelHint),
    /// It has none; the hint tells how to get one.
    Never(Option<ModelHint>),
}

/// What is said when one of these models is asked for and no channel serves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelHint {
    /// Names and globs; the first hint that covers a model counts.
    pub models: &'static [&'static str],
    /// What is missing, and what the operator of the server can do.
    pub advice: &'static str,
}

/// Makes a provider of the keys of a channel.
type MakeProvider = fn(&Section<'_>, RemoteKeys, Unread) -> Result<Arc<dyn Provider>, Problem>;

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
    /// Examples of values of its own keys.
    pub examples: &'static [(&'static str, &'static str)],
    /// [`ChannelKind::slots`]
    pub slots: fn() -> usize,
    /// Names its own keys.
    pub keys: fn() -> Vec<&'static str>,
    /// Takes its own keys and checks their types.
    pub take: fn(&mut Unread) -> Result<(), Problem>,
    /// [`ChannelKind::provider`], of its own keys as they were written.
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
