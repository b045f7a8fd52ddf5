//! The kit of the tests and benchmarks: HTTP and event streams from the side of clients and of fakes.
//!
//! At the bottom stands what reads bytes and knows no socket: `head`, `chunked`, `response`, `frames`, `stream`. The client
//! and the server that fakes are made of stand on them. `gemini` and `openai` are the words of upstreams;
//! `process` starts the program itself.
#![allow(dead_code, reason = "no test and no benchmark uses all of it")]
#![allow(clippy::panic, reason = "a test that cannot go on has failed")]

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

/// Why something could not be done.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;
/// What was done, or why it was not.
pub(crate) type Outcome<T> = Result<T, Error>;
