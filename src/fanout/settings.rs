//! `[stream]`: how subscribers are served.

use std::time::Duration;

use serde::Deserialize;

use crate::setting::{Keys, Problem, Section};

/// How subscribers are served.
#[derive(Debug, Clone, Copy)]
pub struct StreamConfig {
    /// The time without data after which a comment line is sent.
    pub keep_alive: Duration,
    /// True where plain TCP connections of subscribers are taken over from the HTTP server, which costs less.
    pub hand_over: bool,
    /// The time after which a subscriber that takes nothing of what it is sent is disconnected.
    pub send_timeout: Duration,
    /// The send time-out of a client that has shown no valid key on its connection. `send_timeout` applies instead if
    /// it is shorter.
    pub keyless_send_timeout: Duration,
}

/// `[stream]`, as written in the configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamKeys {
    keep_alive_seconds: Option<u64>,
    hand_over: Option<bool>,
    send_timeout_seconds: Option<u64>,
    keyless_send_timeout_seconds: Option<u64>,
}

impl Keys for StreamKeys {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[("hand_over", "true")];
}

impl StreamKeys {
    /// Checks the keys.
    ///
    /// # Errors
    /// [`Problem`] with the first value that is wrong.
    pub fn checked(self, at: &Section<'_>) -> Result<StreamConfig, Problem> {
        let keyless = self.keyless_send_timeout_seconds;
        Ok(StreamConfig {
            keep_alive: at.seconds("keep_alive_seconds", self.keep_alive_seconds, 15)?,
            hand_over: self.hand_over.unwrap_or(true),
            send_timeout: at.seconds("send_timeout_seconds", self.send_timeout_seconds, 900)?,
            keyless_send_timeout: at.seconds("keyless_send_timeout_seconds", keyless, 60)?,
        })
    }
}
