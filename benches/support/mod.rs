//! What the benchmarks are made of.

pub(crate) mod http;
pub(crate) mod load;
pub(crate) mod options;
pub(crate) mod proc;
pub(crate) mod report;
pub(crate) mod request;
pub(crate) mod server;
pub(crate) mod tasks;

/// Why there are no figures.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;
/// A figure, or why there is none.
pub(crate) type Outcome<T> = Result<T, Error>;
