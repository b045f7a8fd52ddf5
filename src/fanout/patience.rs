//! How long a connection waits for a client that takes nothing of what it is sent.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::StreamConfig;

/// The longest wait of one connection. It is short until the client has shown a valid key. All clones live on one
/// thread; cheap to clone.
#[derive(Debug, Clone)]
pub struct Patience {
    is_known: Rc<Cell<bool>>,
    known: Duration,
    unknown: Duration,
}

impl Patience {
    /// Returns the patience with a client that has shown no key yet.
    #[must_use]
    pub fn new(config: &StreamConfig) -> Self {
        let known = config.send_timeout;
        Self { is_known: Rc::default(), known, unknown: config.keyless_send_timeout.min(known) }
    }

    /// Records that the client has shown a valid key.
    pub fn recognised(&self) {
        self.is_known.set(true);
    }

    /// Returns how long the connection waits.
    #[must_use]
    pub fn most(&self) -> Duration {
        if self.is_known.get() { self.known } else { self.unknown }
    }
}
