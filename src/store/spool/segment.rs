//! Segments: files of the spool that small audio of many tasks shares.
//!
//! A file of its own costs a task more than everything else about its submit: a name, a page of metadata and a wait
//! for the disk. So the writer appends the small audio of all submits that share a commit to one segment, and one
//! sync brings it to the disk before their rows are. A row remembers its [`Range`]. When its task ends, the range is
//! given back at once: it begins and ends with blocks of the disk, so that a hole in the file frees them. A segment
//! without a range that somebody needs is deleted.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};

use super::Spool;
use crate::store::StoreError;
use crate::store::sqlite::file_error;

/// Audio of at most this many bytes shares a segment; what is larger has a file of its own.
pub(in crate::store) const SMALL_BYTES: u64 = 64 * 1024;
/// A segment that has this many bytes takes no more: one that is never empty would have more and more holes.
const SEGMENT_BYTES: u64 = 16 << 20;
/// What is appended is written in pieces of about this many bytes.
const BUFFER_BYTES: usize = 1 << 20;
/// Ranges begin at multiples of this many bytes: the block size of the file systems of Linux.
const BLOCK_BYTES: u64 = 4096;
/// What the name of a segment begins with; its number follows.
const PREFIX: &str = "segment-";

/// Where in the segments a task's audio is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Range {
    /// The segment's number.
    pub(in crate::store) segment: u64,
    /// Where the audio begins, in bytes.
    pub(in crate::store) offset: u64,
    /// Length of the audio.
    pub(in crate::store) bytes: u64,
}

impl Range {
    /// The first byte behind its last block.
    fn end(self) -> u64 {
        (self.offset + self.bytes).next_multiple_of(BLOCK_BYTES)
    }

    pub(super) fn path(self, directory: &Path) -> PathBuf {
        path(directory, self.segment)
    }
}

fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{PREFIX}{number}"))
}

/// One file.
#[derive(Debug)]
struct Segment {
    file: File,
    /// Ranges whose tasks have not ended.
    live: usize,
    /// Bytes of ranges that were given back, and whose blocks the file system does not free before the file goes.
    kept: u64,
}

/// The segment that takes what comes.
#[derive(Debug)]
struct Tail {
    number: u64,
    /// Where its file ends, once the buffer is written.
    end: u64,
    /// Appended, and not written yet: what stands before `end`.
    buffer: Vec<u8>,
    /// Is something of it not on the disk?
    unsynced: bool,
    /// What became of the writes since the last sync.
    written: io::Result<()>,
}

/// All segments; the writer owns them.
#[derive(Debug)]
pub(in crate::store) struct Segments {
    spool: Spool,
    segments: HashMap<u64, Segment>,
    tail: Option<Tail>,
    /// The number of the next segment.
    next: u64,
}

impl Segments {
    /// Opens the segments of a spool. What is in none of the `wanted` ranges is what a crash left behind.
    ///
    /// # Errors
    /// When a file cannot be opened or removed.
    pub(in crate::store) fn open(spool: Spool, wanted: &[Range]) -> Result<Self, StoreError> {
        let directory = &spool.0.directory;
        let mut by_segment: HashMap<u64, Vec<Range>> = HashMap::new();
        for range in wanted {
            by_segment.entry(range.segment).or_default().push(*range);
        }
        // No number is used again that a row remembers, whatever became of the file.
        let next = wanted.iter().map(|range| range.segment.saturating_add(1)).max().unwrap_or(0);
        let mut opened = Self { spool: spool.clone(), segments: HashMap::new(), tail: None, next };
        for entry in std::fs::read_dir(directory).map_err(file_error(directory))? {
            let name = entry.map_err(file_error(directory))?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u64>().ok());
            let Some(number) = number else { continue };
            opened.next = opened.next.max(number.saturating_add(1));
            let path = path(directory, number);
            let Some(mut ranges) = by_segment.remove(&number) else {
                std::fs::remove_file(&path).map_err(file_error(&path))?;
                continue;
            };
            ranges.sort_by_key(|range| range.offset);
            let file = OpenOptions::new().read(true).write(true).open(&path).map_err(file_error(&path))?;
            let mut segment = Segment { file, live: ranges.len(), kept: 0 };
            segment.keep_only(&ranges).map_err(file_error(&path))?;
            spool.count(segment.kept + ranges.iter().map(|range| range.bytes).sum::<u64>());
            opened.segments.insert(number, segment);
        }
        Ok(opened)
    }

    /// Appends audio. It is on the disk after the next [`sync`](Self::sync).
    ///
    /// # Errors
    /// [`StoreError::Full`] beyond the bound of the spool or when the disk is full.
    pub(in crate::store) fn append(&mut self, text: &[u8]) -> Result<Range, StoreError> {
        let bytes = text.len() as u64;
        let mut room = self.spool.room();
        room.grow(bytes)?;
        let tail = match &mut self.tail {
            Some(tail) => tail,
            none => none.insert(begin(&self.spool, &mut self.segments, &mut self.next)?),
        };
        let Some(segment) = self.segments.get_mut(&tail.number) else { return Err(StoreError::Stopped) };
        let range = Range { segment: tail.number, offset: tail.end, bytes };
        tail.buffer.extend_from_slice(text);
        // Up to its last block: in one piece with what follows.
        tail.buffer.resize(tail.buffer.len() + (range.end() - range.offset - bytes) as usize, 0);
        tail.end = range.end();
        tail.unsynced = true;
        segment.live += 1;
        room.keep();
        if tail.buffer.len() >= BUFFER_BYTES {
            tail.write(&segment.file);
        }
        Ok(range)
    }

    /// Brings to the disk what was appended.
    ///
    /// # Errors
    /// When some of it cannot be: then none of what was appended since the last time is to be relied on, and all of
    /// it is to be given back.
    pub(in crate::store) fn sync(&mut self) -> Result<(), StoreError> {
        let Some(tail) = self.tail.as_mut().filter(|tail| tail.unsynced) else { return Ok(()) };
        let Some(segment) = self.segments.get(&tail.number) else { return Err(StoreError::Stopped) };
        tail.write(&segment.file);
        let mut synced = std::mem::replace(&mut tail.written, Ok(()));
        if self.spool.0.sync && synced.is_ok() {
            // The file systems of Linux bring a new file's name to the disk together with the file.
            synced = segment.file.sync_all();
        }
        tail.unsynced = false;
        let path = path(&self.spool.0.directory, tail.number);
        // What a disk has of a write that failed is not known.
        if synced.is_err() || tail.end >= SEGMENT_BYTES {
            self.tail = None;
        }
        synced.map_err(file_error(&path))
    }

    /// Frees a range whose audio nobody needs any more. A file system that refuses is told to the operator.
    pub(in crate::store) fn give_back(&mut self, range: Range) {
        let Some(segment) = self.segments.get_mut(&range.segment) else { return };
        segment.live = segment.live.saturating_sub(1);
        let path = range.path(&self.spool.0.directory);
        if segment.live > 0 {
            match segment.free(range.offset, range.end()) {
                Ok(Freed::Now) => self.spool.uncount(range.bytes),
                Ok(Freed::WithTheFile) => segment.kept += range.bytes,
                Err(err) => {
                    segment.kept += range.bytes;
                    tracing::error!(%err, path = %path.display(), "audio cannot be removed");
                }
            }
            return;
        }
        let kept = segment.kept;
        self.segments.remove(&range.segment);
        self.tail = self.tail.take().filter(|tail| tail.number != range.segment);
        match std::fs::remove_file(&path) {
            Ok(()) => self.spool.uncount(kept + range.bytes),
            Err(err) => tracing::error!(%err, path = %path.display(), "audio cannot be removed"),
        }
    }
}

/// A new segment.
fn begin(spool: &Spool, segments: &mut HashMap<u64, Segment>, next: &mut u64) -> Result<Tail, StoreError> {
    let number = *next;
    let path = path(&spool.0.directory, number);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .map_err(file_error(&path))?;
    *next += 1;
    segments.insert(number, Segment { file, live: 0, kept: 0 });
    Ok(Tail { number, end: 0, buffer: Vec::new(), unsynced: false, written: Ok(()) })
}

impl Tail {
    fn write(&mut self, file: &File) {
        if self.written.is_ok() {
            let at = self.end - self.buffer.len() as u64;
            self.written = file.write_all_at(&self.buffer, at);
        }
        self.buffer.clear();
    }
}

/// When the blocks of a range are free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Freed {
    Now,
    WithTheFile,
}

impl Segment {
    /// Nothing of what stood there is left. Where the file system makes no hole, because it knows none or has no room
    /// to note it, zeros take its place.
    fn free(&self, from: u64, to: u64) -> io::Result<Freed> {
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match fallocate(&self.file, hole, from, to - from) {
            Ok(()) => Ok(Freed::Now),
            Err(_) => self.zero(from, to).map(|()| Freed::WithTheFile),
        }
    }

    fn zero(&self, from: u64, to: u64) -> io::Result<()> {
        let zeros = [0; BLOCK_BYTES as usize];
        let mut at = from;
        while at < to {
            let count = zeros.len().min(usize::try_from(to - at).unwrap_or(usize::MAX));
            self.file.write_all_at(zeros.get(..count).unwrap_or(&zeros), at)?;
            at += count as u64;
        }
        Ok(())
    }

    /// Frees what is in none of these ranges, which are in their order. What cannot be freed harms nobody, but counts.
    fn keep_only(&mut self, ranges: &[Range]) -> io::Result<()> {
        let end = self.file.metadata()?.len();
        let mut at = 0;
        for (from, to) in ranges.iter().map(|range| (range.offset, range.end())).chain([(end, end)]) {
            if at < from {
                match self.free(at, from) {
                    Ok(Freed::Now) => {}
                    Ok(Freed::WithTheFile) => self.kept += from - at,
                    Err(err) => {
                        self.kept += from - at;
                        tracing::error!(%err, "audio that a crash left behind cannot be removed");
                    }
                }
            }
            at = at.max(to);
        }
        Ok(())
    }
}
