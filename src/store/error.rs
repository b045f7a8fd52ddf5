//! The errors of a store, and the failures that callers get for them.

use std::error::Error;
use std::time::Duration;

use crate::error::{ErrorCode, Failure};

/// The time after which a caller may retry when the disk is full.
const FULL_RETRY: Duration = Duration::from_secs(30);
/// The time after which a caller may retry when the disk does not work.
const UNAVAILABLE_RETRY: Duration = Duration::from_secs(10);

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The backend failed for a reason that no other variant names.
    #[error("the database: {0}")]
    Backend(Box<dyn Error + Send + Sync>),
    /// The data directory cannot be used.
    #[error("{path}: {source}")]
    Directory {
        /// The path that was used.
        path: String,
        /// The reason why it cannot be used.
        source: std::io::Error,
    },
    /// There is no room, either by the configuration or on the disk.
    #[error("no room: {0}")]
    Full(String),
    /// Another server uses the data directory.
    #[error("another hearken runs on the data directory {0}; stop it, or choose another with --data-dir")]
    Taken(String),
    /// The database is damaged.
    #[error("{0}")]
    Corrupt(String),
    /// The store does not work for now.
    #[error("the store does not work: {0}")]
    Unavailable(String),
    /// The data directory belongs to another program or version. The text has the reason and what to do.
    #[error("{0}")]
    Refused(String),
    /// A record that was written cannot be read.
    #[error("a damaged record: {0}")]
    Damaged(String),
    /// The store's thread has stopped.
    #[error("the store has stopped")]
    Stopped,
}

impl StoreError {
    /// Logs the error for the operator.
    pub(crate) fn log(&self) {
        match self {
            // The store's health logs these errors once, and not for each request.
            Self::Full(_) | Self::Unavailable(_) => tracing::debug!(err = %self, "the store failed"),
            _ => tracing::error!(err = %self, "the store failed"),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(err: StoreError) -> Self {
        match err {
            StoreError::Full(_) => Self::new(
                ErrorCode::StorageFull,
                "The service has no room for more audio; try again when other tasks have ended",
            )
            .with_retry_after(FULL_RETRY),
            StoreError::Damaged(_) => Self::new(
                ErrorCode::StorageUnavailable,
                "The data for this request is damaged on the service's disk; report the request id to the operator",
            )
            .with_retryable(false),
            StoreError::Backend(_)
            | StoreError::Directory { .. }
            | StoreError::Taken(_)
            | StoreError::Corrupt(_)
            | StoreError::Unavailable(_)
            | StoreError::Refused(_)
            | StoreError::Stopped => Self::new(
                ErrorCode::StorageUnavailable,
                "The service cannot use its disk at the moment; try again later",
            )
            .with_retry_after(UNAVAILABLE_RETRY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_error_of_the_store_is_an_internal_error() {
        let io = || std::io::Error::other("broken");
        let errors = [
            StoreError::Backend(io().into()),
            StoreError::Directory { path: "d".into(), source: io() },
            StoreError::Taken("d".into()),
            StoreError::Corrupt("d".into()),
            StoreError::Unavailable("d".into()),
            StoreError::Refused("d".into()),
            StoreError::Damaged("t".into()),
            StoreError::Stopped,
        ];
        for err in errors {
            let said = err.to_string();
            let failure = Failure::from(err);
            assert_eq!(failure.code, ErrorCode::StorageUnavailable, "{said}");
            assert!(failure.message.contains("; "), "the message tells what to do: {}", failure.message);
        }
        assert_eq!(Failure::from(StoreError::Full("d".into())).code, ErrorCode::StorageFull);
    }
}
