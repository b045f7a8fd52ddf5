//! The program: everything is in the library.

use std::process::ExitCode;

/// The allocator gives memory back to the system some seconds after large answers and payloads have gone.
///
/// Twenty ended answers of 28 MB, of which less than 1 MB was in memory any more, left the process with 29 MB, with glibc's
/// allocator with 415 MB, with mimalloc with 91 MB. The fan-out costs the same with each.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    hearken::cli::run()
}
