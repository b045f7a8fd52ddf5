//! Why a transaction does not stand.

use crate::store::StoreError;
use crate::store::health::{Health, Trouble};

/// Why nothing of a transaction stands.
#[derive(Debug, Clone)]
pub(super) enum Undone {
    Full(String),
    Corrupt(String),
    /// It was not begun, or it is not told, because the store does not work.
    Trouble(Trouble),
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
            Undone::Trouble(trouble) => trouble.into(),
            Undone::Failed(text) => Self::Commit(text),
        }
    }
}

impl From<Trouble> for Undone {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl Undone {
    /// Tells the store's health why the transaction does not stand. Returns the same with the file's name and the way out.
    pub(super) fn told(self, health: &Health) -> Self {
        let trouble = match &self {
            Self::Full(text) => Trouble::Full(text.clone()),
            Self::Failed(text) => Trouble::Unusable(text.clone()),
            Self::Trouble(trouble) => trouble.clone(),
            Self::Corrupt(what) => {
                health.damaged(what);
                health.end(None);
                return health.damage().map_or(self, Self::Trouble);
            }
        };
        health.end(Some(trouble));
        self
    }
}
