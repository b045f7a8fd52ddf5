//! Limits the log lines about requests without a known key to a few per second for the whole server. So a client
//! without a key can neither fill the disk nor hide the requests of other clients.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix_web::rt;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// Most lines per second about all clients without a known key together.
const LINES_PER_SECOND: NonZeroU32 = NonZeroU32::new(20).unwrap();
/// How long requests that are not logged are counted before one line reports their number.
const REPORT_AFTER: Duration = Duration::from_secs(1);

/// Decides which requests without a known key are logged; cheap to clone.
#[derive(Debug, Clone)]
pub struct UnknownCallers(Arc<State>);

#[derive(Debug)]
struct State {
    lines: DefaultDirectRateLimiter,
    skipped: AtomicU64,
}

impl UnknownCallers {
    /// Creates the limit for one server.
    #[must_use]
    pub fn new() -> Self {
        let lines = RateLimiter::direct(Quota::per_second(LINES_PER_SECOND));
        Self(Arc::new(State { lines, skipped: AtomicU64::new(0) }))
    }

    /// Returns true if the request should be logged. If not, the request is counted, and a line reports the count
    /// within a second.
    #[must_use]
    pub fn may_log(&self) -> bool {
        if self.0.lines.check().is_ok() {
            return true;
        }
        if self.0.skipped.fetch_add(1, Ordering::Relaxed) == 0 {
            let state = Arc::clone(&self.0);
            rt::spawn(async move {
                tokio::time::sleep(REPORT_AFTER).await;
                let requests = state.skipped.swap(0, Ordering::Relaxed);
                tracing::warn!(
                    requests,
                    "requests without a known key were not logged, because there were too many of them"
                );
            });
        }
        false
    }
}

impl Default for UnknownCallers {
    fn default() -> Self {
        Self::new()
    }
}
