//! Channels: the configured ways to serve models.

mod breaker;
mod capability;
mod choose;
mod pace;
mod queue;
mod request_check;
mod retry_budget;
mod retry_policy;
mod settings;
mod without_file;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Instant;

pub use breaker::{Breaker, BreakerRule, BreakerState, Probe};
pub use capability::Capability;
pub use choose::{Wanted, choose};
pub use pace::Pace;
pub use queue::{Applicant, Grant, Queue, Ticket};
pub use retry_budget::{RetryBudget, RetryBudgetKeys};
pub use retry_policy::{NextCall, RetryPolicy, RetryRule};
pub use settings::{ChannelConfig, ChannelEntry, ChannelKeys};
pub use without_file::{channels_without_file, hints_without_file};

use crate::audio::Container;
use crate::pattern::ModelPattern;
pub use crate::upstream::LOCAL_MODEL;
use crate::upstream::{ModelHint, Timeouts, Upstream};

/// The most tasks that may run or wait. No machine can hold more, and sums of such numbers cannot overflow.
pub const MOST_TASKS: usize = 1 << 28;

/// A configured way to serve models.
pub struct Channel {
    /// The channel's name in logs and model lists.
    pub name: String,
    /// The names and globs of the models that the channel serves.
    pub models: Vec<ModelPattern>,
    /// The kinds of input that the channel's models take.
    pub capabilities: Vec<Capability>,
    /// True if the channel's upstream takes exactly one audio, false if it takes a conversation with any number.
    pub takes_one_audio: bool,
    /// The audio containers that the channel's upstream takes.
    pub formats: Vec<Container>,
    /// The highest temperature that the channel's upstream takes; the lowest is 0.
    pub max_temperature: f64,
    /// Channels with a higher priority are tried first.
    pub priority: i64,
    /// Share of the tasks among channels of equal priority; at least 1.
    pub weight: u32,
    /// Most tasks that run at the same time.
    pub max_running_tasks: usize,
    /// The channel's index among all channels, from 0.
    pub place: usize,
    /// The breaker, which decides whether the channel rests after failures.
    pub breaker: Arc<Breaker>,
    /// How often a failed call is repeated.
    pub retry: RetryRule,
    /// How long each stage of a call may take.
    pub timeouts: Timeouts,
    /// Most bytes of all texts and base64 audio together.
    pub max_request_bytes: usize,
    /// The upstream that the channel calls.
    pub upstream: Arc<dyn Upstream>,
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Channel {
    /// Opens a channel as configured, with the upstream of its kind.
    ///
    /// # Errors
    /// When the operating system refuses a resource that the upstream needs.
    pub fn open(config: &ChannelConfig, now: Instant) -> io::Result<Self> {
        Ok(Self {
            name: config.name.clone(),
            models: config.models.iter().map(|model| ModelPattern::new(model)).collect(),
            capabilities: config.capabilities.clone(),
            takes_one_audio: config.kind.takes_one_audio,
            formats: config.provider.formats().to_vec(),
            max_temperature: config.kind.max_temperature,
            priority: config.priority,
            weight: config.weight.max(1),
            max_running_tasks: config.max_running_tasks,
            place: 0,
            breaker: Arc::new(Breaker::new(config.breaker, now)),
            retry: config.retry,
            timeouts: config.timeouts,
            max_request_bytes: config.max_request_bytes,
            upstream: config.provider.open(config.max_running_tasks)?,
        })
    }

    /// Returns true if the channel serves this model.
    #[must_use]
    pub fn serves(&self, model: &str) -> bool {
        self.models.iter().any(|pattern| pattern.matches(model))
    }

    /// Returns true if the configuration names this model, not only a glob that covers it.
    #[must_use]
    pub fn lists(&self, model: &str) -> bool {
        self.models.iter().any(|pattern| pattern.exact() == Some(model))
    }
}

/// All channels of a server.
#[derive(Debug, Clone, Default)]
pub struct Channels {
    channels: Arc<[Arc<Channel>]>,
    hints: Arc<[(Vec<ModelPattern>, &'static str)]>,
}

impl Channels {
    /// Creates the channels of a server, in the order of the configuration.
    pub fn new(channels: impl IntoIterator<Item = Channel>) -> Self {
        let placed = |(place, channel)| Arc::new(Channel { place, ..channel });
        Self { channels: channels.into_iter().enumerate().map(placed).collect(), hints: Arc::default() }
    }

    /// Adds hints for models that no channel serves.
    #[must_use]
    pub fn with_hints(self, hints: &[ModelHint]) -> Self {
        let patterns = |models: &[&str]| models.iter().map(|model| ModelPattern::new(model)).collect();
        Self { hints: hints.iter().map(|hint| (patterns(hint.models), hint.advice)).collect(), ..self }
    }

    /// Returns the hint for a model that no channel serves, if there is one.
    #[must_use]
    pub fn hint(&self, model: &str) -> Option<&'static str> {
        let covers =
            |(patterns, _): &&(Vec<ModelPattern>, _)| patterns.iter().any(|pattern| pattern.matches(model));
        self.hints.iter().find(covers).map(|(_, advice)| *advice)
    }

    /// Iterates over all channels.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Channel>> {
        self.channels.iter()
    }

    /// Returns the models that are listed by name, sorted, each with the channel that is tried first.
    #[must_use]
    pub fn listed_models(&self) -> BTreeMap<&str, &Arc<Channel>> {
        let mut models: BTreeMap<&str, &Arc<Channel>> = BTreeMap::new();
        for channel in self.iter() {
            for model in channel.models.iter().filter_map(ModelPattern::exact) {
                let listed = models.entry(model).or_insert(channel);
                if channel.priority > listed.priority {
                    *listed = channel;
                }
            }
        }
        models
    }
}
