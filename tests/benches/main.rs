//! Tests of the benchmarks and the kit where they can be wrong without being slow: schedules, counts, refusals.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that cannot continue has failed; the benchmarks print, no test does"
)]

/// The code that the benchmarks share.
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
