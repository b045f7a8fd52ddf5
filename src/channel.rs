//! Channels: the configured ways to serve models.

mod breaker;
mod capability;
mod choose;
mod judge;
mod pace;
mod queue;
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
pub use retry_policy::{Next, RetryPolicy, RetryRule};
pub use settings::{ChannelConfig, ChannelEntry, ChannelKeys};
pub use without_file::{channels_without_file, hints_without_file};

use crate::audio::Container;
use crate::pattern::ModelPattern;
pub use crate::upstream::LOCAL_MODEL;
use crate::upstream::{ModelHint, Timeouts, Upstream};

/// Most tasks that may run or wait, more than any machine can hold: sums of them must not overflow.
pub const MOST_TASKS: usize = 1 << 28;

/// A way to serve models.
pub struct Channel {
    /// Its name in logs and model lists.
    pub name: String,
    /// Names and globs of what it serves.
    pub models: Vec<ModelPattern>,
    /// What its models take in.
    pub capabilities: Vec<Capability>,
    /// True if its upstream takes exactly one audio, false if it takes a conversation with any number.
    pub takes_one_audio: bool,
    /// The containers that its upstream takes.
    pub formats: Vec<Container>,
    /// The highest temperature that its upstream takes; the lowest is 0.
    pub max_temperature: f64,
    /// Higher ones are asked first.
    pub priority: i64,
    /// The share among those of equal priority; at least 1.
    pub weight: u32,
    /// Most tasks that run at once.
    pub max_running_tasks: usize,
    /// Its place among all channels, from 0.
    pub place: usize,
    /// Whether it is to be left alone for a while.
    pub breaker: Arc<Breaker>,
    /// How often a call that failed is repeated.
    pub retry: RetryRule,
    /// How long each stage of a call may take.
    pub timeouts: Timeouts,
    /// All texts and base64 audio together, in bytes.
    pub max_request_bytes: usize,
    /// Who is behind it.
    pub upstream: Arc<dyn Upstream>,
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Channel {
    /// Opens a channel as configured, over the upstream that its kind stands for.
    ///
    /// # Errors
    /// When the system refuses what the upstream needs.
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

    /// Returns true if the configuration names this model, rather than covers it by a glob.
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
    /// The channels of a server, in the order of the configuration.
    pub fn new(channels: impl IntoIterator<Item = Channel>) -> Self {
        let placed = |(place, channel)| Arc::new(Channel { place, ..channel });
        Self { channels: channels.into_iter().enumerate().map(placed).collect(), hints: Arc::default() }
    }

    /// Adds what is said of models that no channel serves.
    #[must_use]
    pub fn with_hints(self, hints: &[ModelHint]) -> Self {
        let patterns = |models: &[&str]| models.iter().map(|model| ModelPattern::new(model)).collect();
        Self { hints: hints.iter().map(|hint| (patterns(hint.models), hint.advice)).collect(), ..self }
    }

    /// Returns what is said of a model that no channel serves, where there is something to be said.
    #[must_use]
    pub fn hint(&self, model: &str) -> Option<&'static str> {
        let covers =
            |(patterns, _): &&(Vec<ModelPattern>, _)| patterns.iter().any(|pattern| pattern.matches(model));
        self.hints.iter().find(covers).map(|(_, advice)| *advice)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Channel>> {
        self.channels.iter()
    }

    /// The models that are listed by name, sorted, each with the channel that is asked first.
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
