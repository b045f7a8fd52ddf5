//! The embedded channel measures or refuses arbitrary bytes without a panic.
//!
//! ```sh
//! mkdir -p tests/fuzz/corpus/inspect
//! cargo +nightly fuzz run --fuzz-dir tests/fuzz --sanitizer none inspect \
//!     tests/fuzz/corpus/inspect tests/fixtures/audio -- -max_total_time=60 -timeout=25
//! ```
#![no_main]

use std::io::Cursor;
use std::ops::ControlFlow;
use std::time::Duration;

use hearken::audio::{recognise, stated_duration};
use hearken::inspect::{InspectError, Listener, StopFlag, inspect};
use libfuzzer_sys::fuzz_target;

/// A few bytes can mean hours of sound: to measure them takes long and shows nothing new.
const LONGEST: Duration = Duration::from_secs(60);

/// Reads the report to its end.
struct Reader;

impl Listener for Reader {
    fn say(&mut self, _: String) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn progress(&mut self, _: f32) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

// The library that decodes may panic on damaged files. hearken catches that panic; only an uncaught panic ends the
// program.
fuzz_target!(init: std::panic::set_hook(Box::new(|_| {})), |bytes: &[u8]| {
    let mut source = Cursor::new(bytes.to_vec());
    let known = recognise(&mut source).expect("a cursor does not fail");
    let length = known.ok().and_then(|container| stated_duration(&mut source, container));
    if length.is_some_and(|length| length > LONGEST) {
        return;
    }
    match inspect(Box::new(source), &StopFlag::default(), &mut Reader) {
        Ok(summary) => assert!(summary.audio_seconds.is_finite()),
        Err(InspectError::Undecodable { .. }) => {}
        Err(error) => panic!("{error:?}"),
    }
});
