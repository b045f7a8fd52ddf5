//! The settings of downloads for tests of other rooms.

use std::time::Duration;

use super::FetchConfig;
use crate::audio::Gate;

/// Returns settings with a strict gate and generous limits.
pub(crate) fn config() -> FetchConfig {
    FetchConfig {
        gate: Gate::default(),
        max_bytes: 1 << 20,
        connect_timeout: Duration::from_secs(5),
        total_timeout: Duration::from_secs(10),
        max_redirects: 3,
    }
}
