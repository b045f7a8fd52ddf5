//! Arbitrary bytes are recognised without a panic, and alike whether they are read plain or out of base64.
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
use hearken::audio::base64_reader::Base64Reader;
use hearken::audio::container::recognise;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let plain = recognise(&mut Cursor::new(bytes)).expect("a cursor does not fail");
    let text = STANDARD.encode(bytes).into();
    let encoded = recognise(&mut Base64Reader::new(text)).expect("canonical base64 is read to its end");
    assert_eq!(plain, encoded);
});
