//! Delays the refusal of wrong keys. Valid keys are never delayed, so clients that share an address, as behind a proxy,
//! do not affect each other.

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpMessage as _, HttpRequest};
use tokio::sync::Semaphore;
use tokio::time::sleep;

/// How long a refusal is delayed.
const DELAY: Duration = Duration::from_millis(100);
/// Most refusals of the whole server that wait at the same time. Further refusals are sent at once and their
/// connections closed, so that the next attempt costs a connection.
pub(super) const MAX_WAITING: usize = 256;

/// The refusals that wait; cheap to clone.
#[derive(Debug, Clone)]
pub struct WrongKeys(Arc<Semaphore>);

/// A mark in the extensions of a request or response: the connection is to be closed after the response.
#[derive(Debug, Clone, Copy)]
pub struct CloseConnection;

impl WrongKeys {
    /// Creates the places for waiting refusals of one server.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Semaphore::new(MAX_WAITING)))
    }

    /// Waits until a wrong key may be refused. If the client disconnects, the request is dropped and its place is free
    /// again.
    pub async fn delay(&self, request: &HttpRequest) {
        match self.0.try_acquire() {
            Ok(_place) => sleep(DELAY).await,
            Err(_) => {
                request.extensions_mut().insert(CloseConnection);
            }
        }
    }
}

impl Default for WrongKeys {
    fn default() -> Self {
        Self::new()
    }
}
