//! Audio that comes in from elsewhere, written to the spool as it comes.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use super::{Room, Spool, Spooled};
use crate::audio::text::{AudioText, TextAt};
use crate::store::StoreError;
use crate::store::sqlite::file_error;

/// A file without a name: whatever becomes of the task, or of this process, nothing has to be tidied up.
#[derive(Debug)]
pub struct Download {
    file: File,
    room: Room,
}

impl Spool {
    /// An empty download. Blocks.
    pub(in crate::store) fn download(&self) -> Result<Download, StoreError> {
        let directory = &self.0.directory;
        let file = tempfile::tempfile_in(directory).map_err(file_error(directory))?;
        Ok(Download { file, room: self.room() })
    }
}

impl Download {
    /// Adds text at the end. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Full`] beyond the bound of the spool or when the disk is full.
    pub fn append(&mut self, text: &[u8]) -> Result<(), StoreError> {
        self.room.grow(text.len() as u64)?;
        self.file.write_all(text).map_err(file_error(&self.room.spool.0.directory))
    }

    /// What was written, kept as long as somebody has it.
    #[must_use]
    pub fn finish(self) -> AudioText {
        let bytes = self.room.bytes;
        let text = Spooled { file: self.file, from: 0, bytes };
        AudioText::Stored { text: Arc::new(Downloaded { text, _room: self.room }), bytes }
    }
}

struct Downloaded {
    text: Spooled,
    _room: Room,
}

impl TextAt for Downloaded {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<usize> {
        self.text.read_at(offset, buf)
    }
}
