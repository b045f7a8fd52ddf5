//! Why a transaction does not stand.

use crate::store::StoreError;
use crate::store::health::Trouble;

/// Why nothing of a transaction stands.
#[derive(Debug, Clone)]
pub(super) enum Undone {
    Full(String),
    Corrupt(String),
    /// It was not begun: the files are not those that were opened.
    Misplaced(String),
    Failed(String),
}

impl From<rusqlite::Error> for Undone {
    fn from(err: rusqlite::Error) -> Self {
        Self::from(&StoreError::from(err))
    }
}

impl From<&StoreError> for Undone {
    fn from(err: &StoreError) -> Self {
        match err {
            StoreError::Full(text) => Self::Full(text.clone()),
            StoreError::Corrupt(text) => Self::Corrupt(text.clone()),
            err => Self::Failed(err.to_string()),
        }
    }
}

impl From<Undone> for StoreError {
    fn from(undone: Undone) -> Self {
        match undone {
            Undone::Full(text) => Self::Full(text),
            Undone::Corrupt(text) => Self::Corrupt(text),
            Undone::Misplaced(text) => Self::Unavailable(text),
            Undone::Failed(text) => Self::Commit(text),
        }
    }
}

impl From<Undone> for Trouble {
    fn from(undone: Undone) -> Self {
        match undone {
            Undone::Full(text) => Self::Full(text),
            Undone::Corrupt(text) => Self::Damaged(text),
            Undone::Misplaced(text) | Undone::Failed(text) => Self::Unusable(text),
        }
    }
}
