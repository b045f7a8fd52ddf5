//! What a channel's breaker and the operator are told of its calls.

use std::time::Instant;

use crate::channel::{Channel, Probe};
use crate::upstream::{ChannelHealth, Fault, UpstreamError};

/// The upstream has begun to answer a call.
pub(super) fn answers(channel: &Channel) {
    works_again(channel, channel.breaker.spoke());
}

/// A call has completed.
pub(super) fn worked(channel: &Channel) {
    works_again(channel, channel.breaker.worked());
}

fn works_again(channel: &Channel, is_news: bool) {
    if is_news {
        tracing::info!(channel = channel.name, "the channel works again");
    }
}

/// A call has failed; `spoke` is true where it had begun to answer.
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
        // It answers; whether it comes to an end with what it answers is not seen.
        ChannelHealth::Works => answers(channel),
        ChannelHealth::Unknown => {}
        ChannelHealth::Fails => {
            if let Some(rest) = channel.breaker.failed(probe, spoke, now) {
                let (channel, rest_ms) = (&channel.name, rest.as_millis() as u64);
                tracing::warn!(
                    channel,
                    rest_ms,
                    "the channel fails repeatedly: where another one serves the model, it is left alone for a while"
                );
            }
        }
    }
}
