//! The modules that the benchmarks share.
#![allow(dead_code, reason = "no benchmark uses all modules")]

pub(crate) mod arguments;
pub(crate) mod bench;
pub(crate) mod chunks;
pub(crate) mod clock;
pub(crate) mod crowd;
pub(crate) mod fan;
pub(crate) mod footprint;
pub(crate) mod helper;
pub(crate) mod load;
pub(crate) mod many_tasks;
pub(crate) mod overhead;
pub(crate) mod pace;
pub(crate) mod proc;
pub(crate) mod report;
pub(crate) mod request;
pub(crate) mod server;
pub(crate) mod stamp;
pub(crate) mod statistics;
pub(crate) mod tasks;
pub(crate) mod upstream;

/// The modules that the benchmarks share with the tests.
#[path = "../tests"]
mod shared {
    pub(crate) mod kit;
}
pub(crate) use shared::kit::{self, Error, Outcome};
