//! What a wrong key costs its sender: the refusal comes with a delay. Valid keys are never delayed, so clients that share
//! an address, as behind a proxy, do not suffer from each other.

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpMessage as _, HttpRequest};
use tokio::sync::Semaphore;
use tokio::time::sleep;

/// How long the refusal of a wrong key waits.
const DELAY: Duration = Duration::from_millis(100);
/// Most refusals that wait at once, of the whole server. Others are sent at once, and their connections closed: the next
/// attempt costs a connection.
pub(super) const MAX_WAITING: usize = 256;

/// The refusals that wait; cheap to clone.
#[derive(Debug, Clone)]
pub struct WrongKeys(Arc<Semaphore>);

/// Stands in the extensions of a request whose connection is to be closed behind its response, and in those of the response.
#[derive(Debug, Clone, Copy)]
pub struct CloseConnection;

impl WrongKeys {
    /// Makes the waiting room of one server.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Semaphore::new(MAX_WAITING)))
    }

    /// Waits until a wrong key may be refused. Ends at once, with its place, when the client leaves and the request is
    /// dropped.
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
