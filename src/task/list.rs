//! The list of a caller's tasks, in pages.

use super::id::TaskId;
use super::snapshot::{Snapshot, Status};

/// The selection of tasks that a list request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListQuery {
    /// The most tasks on the page.
    pub limit: usize,
    /// The task after which the page begins: only older tasks are listed.
    pub after: Option<TaskId>,
    /// The state of the listed tasks; `None` for all states.
    pub status: Option<Status>,
}

/// A page of one caller's tasks, newest first.
#[derive(Debug)]
pub struct Page {
    /// The tasks.
    pub tasks: Vec<Snapshot>,
    /// True if there are older tasks.
    pub has_more: bool,
}
