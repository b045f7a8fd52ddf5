//! What becomes of a transaction.

use crate::store::StoreError;
use crate::store::health::Trouble;

/// What became of a transaction.
#[derive(Debug)]
pub(super) enum Fate {
    /// The transaction stands.
    Stands,
    /// The transaction stands, or does not: SQLite cannot say it, or the files do not show what SQLite says. Its callers
    /// get an error. A file that its rows may refer to stays, and so does one that its rows may not refer to any more.
    Unknown(Trouble),
    /// Nothing of the transaction stands.
    Undone(Trouble),
}

impl Fate {
    /// Returns the fate of a transaction whose commit fails. The disk may have its last frame all the same, unless there
    /// was no room for it.
    pub(super) fn of_failed_commit(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Full(_) => Self::Undone(trouble),
            Trouble::Unusable(_) | Trouble::Damaged(_) => Self::Unknown(trouble),
        }
    }

    /// Returns why the transaction is not told to stand.
    pub(super) fn trouble(&self) -> Option<&Trouble> {
        match self {
            Self::Stands => None,
            Self::Unknown(trouble) | Self::Undone(trouble) => Some(trouble),
        }
    }

    /// Returns what a caller is told whose own write has this result.
    pub(super) fn tell<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        self.trouble().map_or(result, |trouble| Err(trouble.clone().into()))
    }
}
