//! A caller's tasks, page by page.

use super::id::TaskId;
use super::snapshot::{Snapshot, Status};

/// Which of a caller's tasks to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListQuery {
    /// At most so many.
    pub limit: usize,
    /// Only those older than this one.
    pub after: Option<TaskId>,
    /// Only those in this state.
    pub status: Option<Status>,
}

/// Tasks of one caller, newest first.
#[derive(Debug)]
pub struct Page {
    /// The tasks.
    pub tasks: Vec<Snapshot>,
    /// True if there are older ones.
    pub has_more: bool,
}
