//! Checks of standard output, for commands whose output must not be lost.
//!
//! If standard output was closed before the start (`>&-`), Rust's runtime opens the null device in its place, for
//! reading and writing. Writing to it always succeeds, so only the descriptor reveals it.

use std::fmt::Display;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

use rustix::fs::{OFlags, fcntl_getfl};

use super::print;

/// Returns true if standard output was closed or is the null device, so that everything written to it is lost.
pub(super) fn is_discarded() -> bool {
    let output = io::stdout().as_fd().try_clone_to_owned().map(File::from).and_then(|file| file.metadata());
    match (output, fs::metadata("/dev/null")) {
        (Ok(output), Ok(null)) => output.file_type().is_char_device() && output.rdev() == null.rdev(),
        _ => false,
    }
}

/// Returns true if standard output was closed, as far as the program can know: if it is the null device, opened for
/// reading and writing. A shell opens `>/dev/null` for writing only. Some programs start commands with a null device
/// for reading and writing, which looks like a closed output.
pub(super) fn is_closed() -> bool {
    let is_read = fcntl_getfl(io::stdout()).is_ok_and(|flags| flags & OFlags::RWMODE == OFlags::RDWR);
    is_read && is_discarded()
}

/// Writes a line that cannot be shown again to standard output.
///
/// # Errors
/// When standard output cannot be written to, or discards the line.
pub(super) fn print_once(line: impl Display) -> io::Result<()> {
    if is_discarded() {
        return Err(io::Error::other("standard output is closed, or is /dev/null"));
    }
    print(line)
}
