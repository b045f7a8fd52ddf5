//! What of an answer an HTTP/2 connection was given and has yet to write.

use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::sync::Notify;

use crate::deadline::{Passed, timeout};

/// A piece of an answer. The connection drops it when it is written, or will never be.
#[derive(Debug)]
pub(super) struct UnsentPiece {
    bytes: Bytes,
    moved: Rc<Notify>,
}

/// The pieces of one answer that are not written yet.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    /// That something of a piece was written, or a piece dropped; each one holds it.
    moved: Rc<Notify>,
}

impl Unsent {
    /// One more.
    pub(super) fn piece(&self, bytes: Bytes) -> UnsentPiece {
        UnsentPiece { bytes, moved: Rc::clone(&self.moved) }
    }

    /// Waits until there is none.
    ///
    /// # Errors
    /// When nothing of them is written for so long.
    pub(super) async fn written(&self, most: Duration) -> Result<(), Passed> {
        while Rc::strong_count(&self.moved) > 1 {
            timeout(most, self.moved.notified()).await?;
        }
        Ok(())
    }
}

impl Buf for UnsentPiece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.moved.notify_one();
    }
}

impl Drop for UnsentPiece {
    fn drop(&mut self) {
        // Whoever waits looks later, when this one is gone.
        self.moved.notify_one();
    }
}
