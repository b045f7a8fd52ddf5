//! The time after which a connection is closed if its client takes nothing of what it is sent.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::StreamConfig;

/// The time-out of one connection. It is short until the client has shown a valid key. All clones live on one thread;
/// cheap to clone.
#[derive(Debug, Clone)]
pub struct SendTimeout {
    is_known: Rc<Cell<bool>>,
    known: Duration,
    unknown: Duration,
}

impl SendTimeout {
    /// Creates the time-out of a connection whose client has shown no key yet.
    #[must_use]
    pub fn new(config: &StreamConfig) -> Self {
        let known = config.send_timeout;
        Self { is_known: Rc::default(), known, unknown: config.keyless_send_timeout.min(known) }
    }

    /// Records that the client has shown a valid key.
    pub fn key_is_valid(&self) {
        self.is_known.set(true);
    }

    /// Returns how long the connection waits for its client.
    #[must_use]
    pub fn limit(&self) -> Duration {
        if self.is_known.get() { self.known } else { self.unknown }
    }
}
