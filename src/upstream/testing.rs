//! An upstream in memory, for the tests of what stands above upstreams.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};

use super::{Batch, Upstream, UpstreamError, UpstreamRequest, UpstreamStream};
use crate::channel::Channel;
use crate::config::{BreakerRule, ChannelConfig, ChannelKind, RetryRule, Timeouts};

/// Says what a function makes of the request.
pub(crate) struct Scripted<F>(pub(crate) F);

impl<F> Upstream for Scripted<F>
where
    F: Fn(UpstreamRequest) -> UpstreamStream + Send + Sync,
{
    fn call(&self, request: UpstreamRequest) -> UpstreamStream {
        (self.0)(request)
    }
}

/// A call that brings these batches at once.
pub(crate) fn batches(items: Vec<Result<Batch, UpstreamError>>) -> UpstreamStream {
    stream::iter(items).boxed_local()
}

/// A channel with roomy limits over the given upstream.
pub(crate) fn channel_over(name: &str, models: &[&str], upstream: Arc<dyn Upstream>) -> Channel {
    let hour = Duration::from_secs(3600);
    let config = ChannelConfig {
        name: name.to_owned(),
        kind: ChannelKind::Local,
        models: models.iter().map(|model| (*model).to_owned()).collect(),
        capabilities: vec![crate::config::Capability::Text, crate::config::Capability::Audio],
        priority: 0,
        weight: 1,
        max_running_tasks: 8,
        timeouts: Timeouts {
            connect: hour,
            first_chunk: hour,
            idle: hour,
            total: hour,
            total_audio_factor: 0.0,
        },
        retry: RetryRule { max_retries: 0, max_wait: hour },
        breaker: BreakerRule { failures: 0, rest: hour },
        max_request_bytes: 1 << 20,
    };
    Channel::new(&config, upstream)
}

/// A channel whose upstream never says anything.
pub(crate) fn silent_channel(name: &str, models: &[&str]) -> Channel {
    channel_over(name, models, Arc::new(Scripted(|_| stream::pending().boxed_local())))
}
