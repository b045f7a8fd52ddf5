//! The kit of the tests and benchmarks: HTTP and event streams, for clients and for fakes.
//!
//! The lowest modules read bytes and use no socket: `head`, `chunked`, `response`, `frames`, `stream`. The client, and
//! the server of the fakes, use them. `gemini` and `openai` write the upstreams' messages; `process` starts the program
//! itself.
#![allow(dead_code, reason = "no test and no benchmark uses all of it")]
#![allow(clippy::panic, reason = "a test that cannot continue has failed")]

pub(crate) mod chunked;
pub(crate) mod client;
pub(crate) mod fault_upstream;
pub(crate) mod frames;
pub(crate) mod gemini;
pub(crate) mod head;
pub(crate) mod openai;
pub(crate) mod process;
pub(crate) mod reply;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod server;
pub(crate) mod stream;

/// The reason why an operation failed.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;
/// The result of an operation, or the reason why it failed.
pub(crate) type Outcome<T> = Result<T, Error>;
