//! The actors, and [`Tasks`], the typed handle through which all other modules use them.
//!
//! Only this folder knows whether an answer came from a live actor or from the store.

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

/// Most audio that a running task keeps in memory, in bytes. Audio from a file takes longer to read than audio in memory.
pub const HELD_BYTES: usize = 64 * 1024;
