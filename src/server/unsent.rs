//! Counts the parts of an answer that an HTTP/2 connection has got and not written yet.

use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::sync::Notify;

use crate::deadline::{Passed, timeout};

/// A piece of an answer. The connection drops it when the piece is written, or will never be written.
#[derive(Debug)]
pub(super) struct UnsentPiece {
    bytes: Bytes,
    moved: Rc<Notify>,
}

/// The pieces of one answer that are not written yet.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    /// Notified when bytes of a piece were written, or a piece was dropped. Each piece holds a clone.
    moved: Rc<Notify>,
}

impl Unsent {
    /// Adds a piece.
    pub(super) fn piece(&self, bytes: Bytes) -> UnsentPiece {
        UnsentPiece { bytes, moved: Rc::clone(&self.moved) }
    }

    /// Waits until all pieces are written.
    ///
    /// # Errors
    /// When nothing of them is written for `most`.
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
        // The waiting task checks the count after this piece was dropped.
        self.moved.notify_one();
    }
}
