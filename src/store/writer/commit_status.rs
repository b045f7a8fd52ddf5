//! The status of a transaction: whether it is committed.

use crate::store::StoreError;
use crate::store::health::Trouble;

/// The status of a transaction after its commit.
#[derive(Debug)]
pub(super) enum CommitStatus {
    /// The transaction is committed.
    Committed,
    /// The transaction may or may not be committed: SQLite cannot tell, or the files contradict SQLite. Its callers get
    /// an error. A file stays if rows of the transaction may refer to it, or if they may have dropped their reference
    /// to it.
    Unknown(Trouble),
    /// The transaction is undone as a whole.
    Undone(Trouble),
}

impl CommitStatus {
    /// Returns the status of a transaction whose commit failed. Its last frame may be on the disk anyway, unless there
    /// was no room for it.
    pub(super) fn of_failed_commit(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Full(_) => Self::Undone(trouble),
            Trouble::Unusable(_) | Trouble::Damaged(_) => Self::Unknown(trouble),
        }
    }

    /// Returns the reason why the transaction is not reported as committed, if there is one.
    pub(super) fn trouble(&self) -> Option<&Trouble> {
        match self {
            Self::Committed => None,
            Self::Unknown(trouble) | Self::Undone(trouble) => Some(trouble),
        }
    }

    /// Returns the result that the caller of one write gets.
    pub(super) fn result_for_caller<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        self.trouble().map_or(result, |trouble| Err(trouble.clone().into()))
    }
}
