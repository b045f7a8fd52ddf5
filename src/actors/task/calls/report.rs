//! Reports the results of calls to the channel's breaker and in the log.

use std::time::Instant;

use crate::channel::{Channel, Probe};
use crate::upstream::{ChannelHealth, Fault, UpstreamError};

/// Reports that the upstream has begun to answer a call.
pub(super) fn answers(channel: &Channel) {
    works_again(channel, channel.breaker.answer_begun());
}

/// Reports that a call has completed.
pub(super) fn completed(channel: &Channel) {
    works_again(channel, channel.breaker.completed());
}

fn works_again(channel: &Channel, was_resting: bool) {
    if was_resting {
        tracing::info!(channel = channel.name, "the channel works again");
    }
}

/// Reports that a call has failed. `had_begun` is true if the upstream had begun to answer.
pub(super) fn failed(
    channel: &Channel,
    probe: Option<Probe>,
    had_begun: bool,
    err: &UpstreamError,
    now: Instant,
) {
    if let UpstreamError::Refused { fault, status, message, .. } = err {
        let (channel, reason) = (&channel.name, message);
        match fault {
            Fault::Credentials => {
                tracing::error!(
                    channel,
                    status,
                    reason,
                    "the upstream refuses the channel's API key: check the key and its permissions"
                );
            }
            Fault::Account => {
                tracing::error!(
                    channel,
                    status,
                    reason,
                    "the upstream refuses the channel's account or region: check the account with the provider"
                );
            }
            _ => {}
        }
    }
    match err.channel_health() {
        // An upstream that refuses a request works. It is not known whether it also completes answers.
        ChannelHealth::Works => answers(channel),
        ChannelHealth::Unknown => {}
        ChannelHealth::Fails => {
            if let Some(rest) = channel.breaker.failed(probe, had_begun, now) {
                let (channel, rest_ms) = (&channel.name, rest.as_millis() as u64);
                tracing::warn!(
                    channel,
                    rest_ms,
                    "the channel fails repeatedly: it rests for a while, if another channel serves the model"
                );
            }
        }
    }
}
