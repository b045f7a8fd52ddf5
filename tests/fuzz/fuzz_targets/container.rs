//! Arbitrary bytes are recognised without a panic, with the same result in memory and on a disk. The same holds for the
//! duration that they state.
//!
//! ```sh
//! mkdir -p tests/fuzz/corpus/container
//! cargo +nightly fuzz run --fuzz-dir tests/fuzz --sanitizer none container \
//!     tests/fuzz/corpus/container tests/fixtures/audio -- -max_total_time=60 -timeout=5
//! ```
#![no_main]

use std::io::{self, Cursor, Write};
use std::sync::Arc;

use bytes::Bytes;
use hearken::audio::{AudioBytes, BytesAt, recognise, stated_duration};
use libfuzzer_sys::fuzz_target;

/// A file on a disk.
struct Disk(Bytes);

impl BytesAt for Disk {
    fn read_at(&self, offset: u64, mut buf: &mut [u8]) -> io::Result<usize> {
        buf.write(self.0.get(offset as usize..).unwrap_or_default())
    }
}

// The library that parses containers may panic on damaged files. hearken catches that panic; only an uncaught panic
// ends the program.
fuzz_target!(init: std::panic::set_hook(Box::new(|_| {})), |bytes: &[u8]| {
    let mut plain = Cursor::new(bytes);
    let disk = Disk(Bytes::copy_from_slice(bytes));
    let mut stored = AudioBytes::Stored { source: Arc::new(disk), len: bytes.len() as u64 }.reader();
    let found = recognise(&mut plain).expect("a cursor does not fail");
    assert_eq!(found, recognise(&mut stored).expect("the disk does not fail"));
    if let Ok(container) = found {
        assert_eq!(stated_duration(&mut plain, container), stated_duration(&mut stored, container));
    }
});
