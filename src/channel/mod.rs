//! Channels: the configured ways to serve models.

pub mod choose;
pub mod pattern;
pub mod slots;

use std::collections::BTreeMap;
use std::sync::Arc;

use pattern::ModelPattern;
use slots::Slots;

use crate::config::{Capability, ChannelConfig, Timeouts};
use crate::upstream::Upstream;

/// A way to serve models.
pub struct Channel {
    /// Its name in logs and model lists.
    pub name: String,
    /// Names and globs of what it serves.
    pub models: Vec<ModelPattern>,
    /// What its models take in.
    pub capabilities: Vec<Capability>,
    /// Higher ones are asked first.
    pub priority: i64,
    /// The share among those of equal priority; at least 1.
    pub weight: u32,
    /// Permission to run.
    pub slots: Slots,
    /// How long each stage of a call may take.
    pub timeouts: Timeouts,
    /// Prompt, system prompt and base64 audio together, in bytes.
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
    #[must_use]
    pub fn new(config: &ChannelConfig, upstream: Arc<dyn Upstream>) -> Self {
        Self {
            name: config.name.clone(),
            models: config.models.iter().map(|model| ModelPattern::new(model)).collect(),
            capabilities: config.capabilities.clone(),
            priority: config.priority,
            weight: config.weight.max(1),
            slots: Slots::new(config.max_running_tasks),
            timeouts: config.timeouts,
            max_request_bytes: config.max_request_bytes,
            upstream,
        }
    }

    /// Does the channel serve this model?
    #[must_use]
    pub fn serves(&self, model: &str) -> bool {
        self.models.iter().any(|pattern| pattern.matches(model))
    }
}

/// All channels of a server.
#[derive(Debug, Clone, Default)]
pub struct Channels(Arc<[Arc<Channel>]>);

impl Channels {
    /// The channels of a server, in the order of the configuration.
    pub fn new(channels: impl IntoIterator<Item = Channel>) -> Self {
        Self(channels.into_iter().map(Arc::new).collect())
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Channel>> {
        self.0.iter()
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
