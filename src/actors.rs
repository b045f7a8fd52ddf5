//! The actors. All other modules use them through [`Tasks`], a typed handle.
//!
//! Other modules cannot see whether an answer came from a live actor or from the store.

mod dispatcher;
mod limits;
mod recovery;
mod registry;
mod submit;
mod task;
mod tasks;
#[cfg(test)]
mod tests;

pub use dispatcher::Dispatcher;
pub use limits::{TaskKeys, TaskLimits};
pub use recovery::{RecoveryCounts, recover_tasks};
pub use registry::Registry;
pub use submit::{CallerGone, Submitted};
pub use task::TaskSettings;
pub use tasks::Tasks;

/// The most audio that a running task keeps in memory, in bytes. Small audio is kept there because a file takes longer
/// to read.
pub const HELD_BYTES: usize = 64 * 1024;
