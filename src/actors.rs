//! The actors, and [`Tasks`], the typed handle through which all other rooms speak to them.
//!
//! Whether an answer came from a living actor or from the store is a secret of this folder.

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
pub use recovery::{TakenUp, take_up};
pub use registry::Registry;
pub use submit::{CallerGone, Submitted};
pub use task::TaskSettings;
pub use tasks::Tasks;

/// Most audio that a running task keeps in memory, in bytes: reading a file takes longer than it does.
pub const HELD_BYTES: usize = 64 * 1024;
