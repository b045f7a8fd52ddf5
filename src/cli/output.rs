//! Where standard output goes, for commands whose output must not be lost.
//!
//! Rust's runtime opens the null device, for reading and writing, in place of a standard output that was closed before
//! the start (`>&-`). So writing to it always succeeds, and only the descriptor tells what it is.

use std::fmt::Display;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

use rustix::fs::{OFlags, fcntl_getfl};

use super::print;

/// Returns true if standard output was closed, or is the null device: what is written to it is lost.
pub(super) fn is_discarded() -> bool {
    let output = io::stdout().as_fd().try_clone_to_owned().map(File::from).and_then(|file| file.metadata());
    match (output, fs::metadata("/dev/null")) {
        (Ok(output), Ok(null)) => output.file_type().is_char_device() && output.rdev() == null.rdev(),
        _ => false,
    }
}

/// Returns true if standard output was closed, as far as can be told. `>/dev/null`, which a user of a shell chooses, is
/// opened for writing only; some programs open it as the runtime does for the commands that they start.
pub(super) fn is_closed() -> bool {
    let is_read = fcntl_getfl(io::stdout()).is_ok_and(|flags| flags & OFlags::RWMODE == OFlags::RDWR);
    is_read && is_discarded()
}

/// Writes a line to standard output that cannot be shown again.
///
/// # Errors
/// When standard output does not take it, or discards it.
pub(super) fn print_once(line: impl Display) -> io::Result<()> {
    if is_discarded() {
        return Err(io::Error::other("standard output is closed, or is /dev/null"));
    }
    print(line)
}
