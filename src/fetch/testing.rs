//! A configuration of downloads for the tests of what stands above them.

use std::time::Duration;

use super::FetchConfig;
use crate::audio::Gate;

/// Strict in whom it asks, and roomy otherwise.
pub(crate) fn config() -> FetchConfig {
    FetchConfig {
        gate: Gate::default(),
        max_bytes: 1 << 20,
        connect_timeout: Duration::from_secs(5),
        total_timeout: Duration::from_secs(10),
        max_redirects: 3,
    }
}
