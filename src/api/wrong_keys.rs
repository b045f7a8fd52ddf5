//! Delays the refusal of wrong keys, which makes guessing slow. Valid keys are never delayed, so clients that share an
//! address, as behind a proxy, do not affect each other.

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpMessage as _, HttpRequest};
use tokio::sync::Semaphore;
use tokio::time::sleep;

/// How long a refusal is delayed.
const DELAY: Duration = Duration::from_millis(100);
/// Most refusals of the whole server that wait at the same time. Further refusals are sent at once, and their
/// connections are closed, so that each further attempt costs a connection.
pub(super) const MAX_WAITING: usize = 256;

/// The limit on waiting refusals; cheap to clone.
#[derive(Debug, Clone)]
pub struct WrongKeys(Arc<Semaphore>);

/// A mark in the extensions of a request or response: the connection closes after the response.
#[derive(Debug, Clone, Copy)]
pub struct CloseConnection;

impl WrongKeys {
    /// Creates the limit of one server.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Semaphore::new(MAX_WAITING)))
    }

    /// Waits until a wrong key may be refused. If the client disconnects, the request is dropped, and another one can
    /// wait in its place.
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
