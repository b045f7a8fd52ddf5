//! Arbitrary bytes are recognised without a panic, and alike whether they are read plain or out of base64; so is how
//! long they say that they last.
//!
//! ```sh
//! mkdir -p tests/fuzz/corpus/container
//! cargo +nightly fuzz run --fuzz-dir tests/fuzz --sanitizer none container \
//!     tests/fuzz/corpus/container tests/fixtures/audio -- -max_total_time=60 -timeout=5
//! ```
#![no_main]

use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hearken::audio::base64_reader::Base64Reader;
use hearken::audio::duration::stated;
use hearken::audio::recognise;
use libfuzzer_sys::fuzz_target;

// The library that parses containers may panic over damage, and is caught: only a panic that is not ends the program.
fuzz_target!(init: std::panic::set_hook(Box::new(|_| {})), |bytes: &[u8]| {
    let mut plain = Cursor::new(bytes);
    let mut encoded = Base64Reader::new(Bytes::from(STANDARD.encode(bytes)));
    let found = recognise::container(&mut plain).expect("a cursor does not fail");
    assert_eq!(found, recognise::container(&mut encoded).expect("canonical base64 is read to its end"));
    if let Ok(container) = found {
        assert_eq!(stated(&mut plain, container), stated(&mut encoded, container));
    }
});
