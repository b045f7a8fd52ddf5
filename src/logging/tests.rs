//! Tests what a panic does to the log and to the process. Each test runs this program again in a separate process,
//! because the panic hook and standard error belong to a whole process.

use std::fs::OpenOptions;
use std::process::{Command, Stdio};
use std::thread;

use super::*;

/// The environment variable that is set for the process that a test starts.
const IS_CHILD: &str = "HEARKEN_TEST_LOG_CHILD";

/// Runs [`panics_of_a_process_of_its_own`]. Returns the text that it wrote to standard error, if that is a pipe.
fn panicking(stderr: impl Into<Stdio>) -> String {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["logging::tests::panics_of_a_process_of_its_own", "--exact", "--nocapture"])
        .env(IS_CHILD, "1")
        .stdout(Stdio::piped())
        .stderr(stderr)
        .output()
        .unwrap();
    let said = String::from_utf8(child.stdout).unwrap();
    assert!(child.status.success() && said.contains(" 1 passed"), "{}: {said}", child.status);
    String::from_utf8(child.stderr).unwrap()
}

/// The part of the other tests that runs in a separate process. In the process of the other tests it does nothing.
#[test]
fn panics_of_a_process_of_its_own() {
    if std::env::var_os(IS_CHILD).is_none() {
        return;
    }
    let log = Log::start(&LogConfig { filter: "info".to_owned(), format: LogFormat::Text }).unwrap();
    assert!(panics::guarded(|| panic!("guarded")).is_none());
    let panicked = thread::spawn(|| panic!("unguarded")).join();
    assert!(panicked.is_err());
    log.finish();
}

#[test]
fn only_panics_that_are_not_caught_write_a_line() {
    let lines = panicking(Stdio::piped());
    assert!(lines.contains("ERROR hearken::logging: panicked panic=\"unguarded\""), "{lines}");
    assert_eq!(lines.lines().count(), 1, "{lines}");
}

#[test]
fn a_panic_does_not_end_a_process_with_a_failing_log() {
    panicking(OpenOptions::new().write(true).open("/dev/full").unwrap());
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    panicking(writer);
}
