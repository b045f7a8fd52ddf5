//! The integration tests: the real program over real sockets, with a fake upstream.
//!
//! Each capability has its file; shared code is in `support`. No test depends on a sleep: gates in the fake upstream,
//! `wait=` and the frames of a stream set the order.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot continue has failed, and its output helps its reader"
)]

mod answers;
mod backup;
mod command_line;
mod config;
mod configuration_page;
mod connections;
mod disk;
mod documents;
mod drain;
mod failover;
mod fake_upstream;
mod faults;
mod fetch;
mod formats;
mod freeze;
mod gate;
mod gemini;
mod half_closed;
mod hand_over;
mod heads;
mod health;
mod http2;
mod idempotency;
mod keys;
mod limits;
mod list;
mod local;
mod local_work;
mod log;
mod login_command;
mod manual;
mod memory;
mod metrics;
mod models;
mod openai;
mod page;
mod proxies;
mod query;
mod queue;
mod quick_start;
mod recordings;
mod reference;
mod response_memory;
mod restart;
mod retry;
mod revoked;
mod spans;
mod spool;
mod stream;
mod stream_memory;
mod submit;
mod submit_command;
mod submit_waiting;
mod support;
mod sync;
mod tidy;
mod timeouts;
mod tls;
mod trace;
mod transcription;
mod walls;

/// The code that all tests and benchmarks share.
#[path = ".."]
mod shared {
    pub(crate) mod kit;
}
use shared::kit;
