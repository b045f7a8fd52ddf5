//! The integration tests: the real program over real sockets, against an upstream that plays its part.
//!
//! A file per capability; what they share is in `support`. Nothing sleeps for luck: order comes from gates
//! in the fake upstream, from `wait=` and from what a stream says.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on has failed, and what it prints is for whoever reads its output"
)]

mod answers;
mod command_line;
mod config;
mod connections;
mod disk;
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
mod memory;
mod metrics;
mod models;
mod nginx;
mod openai;
mod page;
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

/// What all tests and benchmarks share.
#[path = ".."]
mod shared {
    pub(crate) mod kit;
}
use shared::kit;
