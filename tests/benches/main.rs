//! What the benchmarks and the kit are made of, as far as it can be wrong without being slow: schedules, accounts, refusals.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that cannot go on has failed; the benchmarks print, no test does"
)]

/// What the benchmarks share.
#[path = "../../benches"]
mod shared {
    pub(crate) mod support;
}
use shared::support;

mod chunked;
mod chunks;
mod figures;
mod frames;
mod options;
mod response;
mod schedule;
mod side;
mod stamp;
mod statistics;
mod stream;
mod subscriber;
mod workload;
