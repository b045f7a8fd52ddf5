//! Reports the results of calls to the channel's breaker and to the operator.

use std::time::Instant;

use crate::channel::{Channel, Probe};
use crate::upstream::{ChannelHealth, Fault, UpstreamError};

/// Reports that the upstream has begun to answer a call.
pub(super) fn answers(channel: &Channel) {
    works_again(channel, channel.breaker.spoke());
}

/// Reports that a call has completed.
pub(super) fn worked(channel: &Channel) {
    works_again(channel, channel.breaker.worked());
}

fn works_again(channel: &Channel, is_news: bool) {
    if is_news {
        tracing::info!(channel = channel.name, "the channel works again");
    }
}

/// Reports that a call has failed. `spoke` is true if the upstream had begun to answer.
pub(super) fn failed(
    channel: &Channel,
    probe: Option<Probe>,
    spoke: bool,
    err: &UpstreamError,
    now: Instant,
) {
    if let UpstreamError::Refused { fault, status, message, .. } = err {
        let (channel, reason) = (&channel.name, message);
        match fault {
            Fault::Credentials => {
                tracing::error!(channel, status, reason, "the upstream refuses the channel's credentials");
            }
            Fault::Account => {
                tracing::error!(
                    channel,
                    status,
                    reason,
                    "the upstream refuses the channel's account or region"
                );
            }
            _ => {}
        }
    }
    match err.channel_health() {
        // The upstream answers. Whether its answers also complete is not known.
        ChannelHealth::Works => answers(channel),
        ChannelHealth::Unknown => {}
        ChannelHealth::Fails => {
            if let Some(rest) = channel.breaker.failed(probe, spoke, now) {
                let (channel, rest_ms) = (&channel.name, rest.as_millis() as u64);
                tracing::warn!(
                    channel,
                    rest_ms,
                    "the channel fails repeatedly and is left alone for a while, if another one serves the model"
                );
            }
        }
    }
}
