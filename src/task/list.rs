//! The list of a caller's tasks, in pages.

use super::id::TaskId;
use super::snapshot::{Snapshot, Status};

/// Selects the tasks of a list request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListQuery {
    /// The most tasks on the page.
    pub limit: usize,
    /// If set, only tasks older than this one are listed.
    pub after: Option<TaskId>,
    /// If set, only tasks in this state are listed.
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
