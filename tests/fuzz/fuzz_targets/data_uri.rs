//! Anything after `data:` is accepted or refused without a panic, and what is accepted has bytes.
//!
//! ```sh
//! mkdir -p tests/fuzz/corpus/data_uri
//! cargo +nightly fuzz run --fuzz-dir tests/fuzz --sanitizer none data_uri \
//!     tests/fuzz/corpus/data_uri tests/fuzz/seeds/data_uri -- -max_total_time=60 -timeout=5
//! ```
#![no_main]

use bytes::BytesMut;
use hearken::audio::{AudioSource, Gate};
use libfuzzer_sys::fuzz_target;

// The library that parses containers may panic on damaged files. hearken catches that panic; only an uncaught panic
// ends the program.
fuzz_target!(init: std::panic::set_hook(Box::new(|_| {})), |rest: &[u8]| {
    let uri = [b"data:", rest].concat();
    match AudioSource::parse(BytesMut::from(uri.as_slice()), &Gate::default()) {
        Ok(AudioSource::Inline(audio)) => assert!(!audio.bytes.is_empty()),
        Ok(AudioSource::Url(url)) => panic!("a data URI is no URL to fetch: {url}"),
        Err(_) => {}
    }
});
