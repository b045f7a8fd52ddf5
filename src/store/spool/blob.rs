//! A blob: how it is stored, read and freed.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::file::{self, AudioFile};
use super::{Room, Spool};
use crate::audio::{AudioBytes, BlobId};
use crate::store::StoreError;
use crate::store::sqlite::file_error;

/// The size up to which audio is stored in its row. Measured with one commit each and with sixteen per commit,
/// including deletion: a row of 1 KiB costs half of the time of a file, or a twelfth in a shared commit. At 64 KiB, a
/// row costs as much as a file, or a quarter in a shared commit. From 128 KiB on, files are cheaper.
const SMALL_BYTES: usize = 64 * 1024;

/// A blob that is not recorded yet. Dropping it releases its room and removes its file, unless it is
/// [recorded](NewBlob::recorded).
#[derive(Debug)]
pub(in crate::store) struct NewBlob {
    pub(in crate::store) id: BlobId,
    /// The number of bytes.
    pub(in crate::store) bytes: u64,
    /// The CRC-32 of the bytes.
    pub(in crate::store) sum: u32,
    /// The bytes, if the row will hold them; otherwise they are in a file.
    pub(in crate::store) data: Option<Bytes>,
    /// The room of the blob; `None` as soon as a row accounts for it.
    room: Option<Room>,
}

impl NewBlob {
    /// Returns true if the bytes go into a file. Then [`NewBlob::new`] blocks.
    pub(in crate::store) fn is_large(bytes: &Bytes) -> bool {
        bytes.len() > SMALL_BYTES
    }

    /// Makes a blob. When this returns, the file of a large blob is on the disk. A small blob must still [take its
    /// room](NewBlob::take_room).
    ///
    /// # Errors
    /// [`StoreError::Full`] when the bound is passed or the disk is full. Nothing is left of the blob then.
    pub(in crate::store) fn new(spool: &Spool, id: BlobId, bytes: Bytes) -> Result<Self, StoreError> {
        let mut room = spool.room();
        let (len, sum) = (bytes.len() as u64, crc32fast::hash(&bytes));
        let data = if Self::is_large(&bytes) {
            let path = spool.path(id);
            room.fill(len, || file::write(&path, &bytes, spool.0.sync).map_err(file_error(&path)))?;
            None
        } else {
            Some(bytes)
        };
        Ok(Self { id, bytes: len, sum, data, room: Some(room) })
    }

    /// Takes room for bytes that go into the row. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Full`] when there is no room.
    pub(in crate::store) fn take_room(&mut self) -> Result<(), StoreError> {
        match &mut self.room {
            // The bytes are written to the write-ahead log, and then to the database.
            Some(room) if self.data.is_some() => room.take(self.bytes, self.bytes * 2),
            _ => Ok(()),
        }
    }

    /// Hands room and file over to the row.
    pub(in crate::store) fn recorded(mut self) -> RecordedBlob {
        self.room.take().into_iter().for_each(Room::keep);
        RecordedBlob { id: self.id, bytes: self.bytes, has_file: self.data.is_none() }
    }
}

impl Drop for NewBlob {
    fn drop(&mut self) {
        if let Some(room) = &self.room
            && self.data.is_none()
        {
            room.spool.remove(self.id);
        }
    }
}

/// The row of a blob, as it is read.
#[derive(Debug)]
pub(in crate::store) struct StoredBlob {
    pub(in crate::store) bytes: u64,
    pub(in crate::store) sum: u32,
    /// The bytes, if the row holds them; otherwise they are in a file.
    pub(in crate::store) data: Option<Vec<u8>>,
}

/// The facts that are needed to free a blob after its row is deleted.
#[derive(Debug)]
pub(in crate::store) struct RecordedBlob {
    pub(in crate::store) id: BlobId,
    pub(in crate::store) bytes: u64,
    pub(in crate::store) has_file: bool,
}

impl Spool {
    /// Returns the bytes of a blob with this row. The bytes of a file stay there. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when the bytes are missing or were changed.
    pub(in crate::store) fn read(&self, id: BlobId, stored: StoredBlob) -> Result<AudioBytes, StoreError> {
        let StoredBlob { bytes, sum, data } = stored;
        if let Some(data) = data {
            let is_whole = data.len() as u64 == bytes && crc32fast::hash(&data) == sum;
            let damaged =
                || StoreError::Damaged(format!("the audio {id} in the database is not as it was written"));
            return if is_whole { Ok(AudioBytes::Held(data.into())) } else { Err(damaged()) };
        }
        let path = self.path(id);
        let shown = path.display();
        let file = File::open(&path).map_err(|err| match err.kind() {
            io::ErrorKind::NotFound => StoreError::Damaged(format!("{shown} is missing")),
            _ => file_error(&path)(err),
        })?;
        let len = file.metadata().map_err(file_error(&path))?.len();
        let file = AudioFile(file);
        if len != bytes || file.sum().map_err(file_error(&path))? != sum {
            return Err(StoreError::Damaged(format!("{shown} is not as it was written")));
        }
        Ok(AudioBytes::Stored { source: Arc::new(file), len })
    }

    /// Frees the room and the file of a blob, once its row is permanently deleted. Blocks.
    pub(in crate::store) fn free(&self, freed: &RecordedBlob) {
        if freed.has_file {
            self.remove(freed.id);
        }
        self.0.used.fetch_sub(freed.bytes, Ordering::Relaxed);
    }

    fn remove(&self, id: BlobId) {
        let path = self.path(id);
        if let Err(err) = std::fs::remove_file(&path)
            && err.kind() != io::ErrorKind::NotFound
        {
            tracing::error!(
                %err,
                path = %path.display(),
                "the audio of an ended task cannot be removed; remove the file by hand, or restart the \
                 server"
            );
        }
    }
}
