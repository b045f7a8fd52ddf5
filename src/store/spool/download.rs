//! Audio that is downloaded, written to the spool as it arrives.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use super::file::AudioFile;
use super::{Room, Spool};
use crate::audio::{AudioBytes, BytesAt};
use crate::store::StoreError;
use crate::store::promises::Receive;
use crate::store::sqlite::file_error;

/// A download into a file without a name: whatever happens to the task or to this process, no file is left to clean up.
#[derive(Debug)]
pub(in crate::store) struct Downloading {
    file: File,
    room: Room,
}

impl Spool {
    /// Makes an empty download. Blocks.
    pub(in crate::store) fn download(&self) -> Result<Downloading, StoreError> {
        let directory = &self.0.directory;
        let file = tempfile::tempfile_in(directory).map_err(file_error(directory))?;
        Ok(Downloading { file, room: self.room() })
    }
}

impl Receive for Downloading {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let Self { file, room } = self;
        let spool = room.spool.clone();
        room.fill(bytes.len() as u64, || file.write_all(bytes).map_err(file_error(&spool.0.directory)))
    }

    fn finish(self: Box<Self>) -> AudioBytes {
        let len = self.room.bytes;
        AudioBytes::Stored {
            source: Arc::new(Downloaded { file: AudioFile(self.file), _room: self.room }),
            len,
        }
    }
}

struct Downloaded {
    file: AudioFile,
    _room: Room,
}

impl BytesAt for Downloaded {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, buf)
    }
}
