//! Real clients with the real program: OpenAI's packages for Python and Node, an `EventSource`, the page in Chromium,
//! two clients that are generated from the OpenAPI document (openapi-typescript's types and schemathesis' requests),
//! and the programs in `examples/` and in `docs/getting-started.md`.
//!
//! Each test starts the program with a small Gemini as its upstream, and runs one script of `tests/clients/`. The
//! script holds the cases and checks what its client does with the answers. The script's output is shown when it fails.
//! `tests/run` installs the clients.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and the output is a summary"
)]

mod kit;

#[path = "clients/cutting_proxy.rs"]
mod cutting_proxy;
#[path = "clients/examples.rs"]
mod examples;
#[path = "clients/gemini.rs"]
mod gemini;
#[path = "clients/getting_started.rs"]
mod getting_started;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::{TempDir, tempdir, tempfile};

use kit::process::{Process, SERVES, hearken};

const KEY: &str = "sk-clients-0123456789";
const GLANCE: Duration = Duration::from_millis(20);
/// Only a script that hangs takes this long; on a busy machine, the longest one took half of it.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(900);

#[test]
fn openai_for_python_can_use_the_api_as_the_contract_promises() {
    let python = prepared("HEARKEN_TEST_PYTHON");
    run_script(Command::new(python).arg("-B").arg(script("openai_python.py")));
}

#[test]
fn openai_for_node_can_use_the_api_as_the_contract_promises() {
    run_script(&mut node("openai_node.mjs"));
}

#[test]
fn an_event_source_loses_nothing_when_its_connection_is_cut() {
    run_script(&mut node("event_source.mjs"));
}

#[test]
fn the_page_works_in_a_browser_as_it_promises() {
    run_script(node("page.mjs").env("HEARKEN_TEST_SCREENSHOTS", screenshots()));
}

#[test]
fn the_page_leaves_no_unwanted_task_behind_when_it_closes() {
    run_script(node("page_leaving.mjs").env("HEARKEN_TEST_SCREENSHOTS", screenshots()));
}

#[test]
fn types_of_openapi_typescript_take_every_documented_request() {
    run_against(embedded_channel(), &mut node("types.mjs"));
}

#[test]
fn schemathesis_finds_only_documented_behaviour() {
    let python = prepared("HEARKEN_TEST_PYTHON");
    let mut command = Command::new(python);
    run_against(embedded_channel(), command.arg("-B").arg(script("document.py")));
}

#[test]
fn the_page_can_be_read_in_any_script_and_size() {
    run_script(node("page_reading.mjs").env("HEARKEN_TEST_SCREENSHOTS", screenshots()));
}

fn screenshots() -> OsString {
    std::env::var_os("HEARKEN_TEST_SCREENSHOTS")
        .unwrap_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots").into())
}

fn node(name: &str) -> Command {
    let modules = prepared("HEARKEN_TEST_NODE_MODULES");
    let mut command = Command::new("node");
    command.arg(script(name)).env("HEARKEN_TEST_NODE_MODULES", modules);
    command
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// Returns the path of a tool that `tests/run` has installed. A test that cannot run must fail: a skipped one would
/// look like a passed one.
fn prepared(variable: &str) -> OsString {
    std::env::var_os(variable)
        .unwrap_or_else(|| panic!("{variable} is not set: run ./tests/run, which prepares the clients"))
}

/// Runs a client's script to its end, with a small Gemini as the upstream.
fn run_script(command: &mut Command) {
    let upstream = format!("http://{}", gemini::start());
    let configuration = small_gemini(&upstream);
    run_against(configuration, command.env("HEARKEN_TEST_UPSTREAM", upstream));
}

/// Runs a client's script to its end, against a program with this configuration.
fn run_against(configuration: String, command: &mut Command) {
    let (program, address, _directory) = serve(configuration);
    run_script_at(&program, address, command);
}

/// Runs a client's script to its end. Prints the script's output, which shows how long each case took. Panics with the
/// output unless the script succeeds.
fn run_script_at(program: &Process, address: SocketAddr, command: &mut Command) {
    command
        .env("HEARKEN_TEST_URL", format!("http://{address}"))
        .env("HEARKEN_TEST_KEY", KEY)
        .env("NO_PROXY", "127.0.0.1");
    let mut script = Process::spawn(command, tempfile().expect("a file for what it prints"))
        .unwrap_or_else(|err| panic!("{:?}: {err}: run ./tests/run", command.get_program()));
    let status = end_of(&mut script);
    let output = script.said() + &script.complaints();
    assert!(
        status.is_some_and(|status| status.success()),
        "{command:?}: {}\n{output}\n--- the program's log ---\n{}",
        status.map_or("did not end in time".to_owned(), |status| status.to_string()),
        program.complaints()
    );
    println!("{output}");
}

/// Waits until a script ends. Returns its exit status; `None` if it hangs.
fn end_of(script: &mut Process) -> Option<ExitStatus> {
    let began = Instant::now();
    loop {
        match script.ended().expect("the script's exit status") {
            None if began.elapsed() < SCRIPT_TIMEOUT => thread::sleep(GLANCE),
            status => return status,
        }
    }
}

/// Starts the program with this configuration. The caller must keep its directory.
fn serve(configuration: String) -> (Process, SocketAddr, TempDir) {
    let directory = tempdir().expect("a temporary directory");
    let config = directory.path().join("hearken.toml");
    std::fs::write(&config, configuration).expect("the configuration can be written");
    let mut command = hearken(&["serve"]);
    command.arg("--config").arg(config).arg("--data-dir").arg(directory.path().join("data"));
    let log = tempfile().expect("a file for the log");
    let (process, address) = Process::start(&mut command, log, SERVES).expect("the program starts");
    (process, address, directory)
}

/// Returns a configuration with one Gemini channel. Keep-alives come each second, so that several of them come between
/// two frames of a short test. The program itself retries nothing, so the upstream counts only what a client did.
fn small_gemini(upstream: &str) -> String {
    format!(
        r#"
        listen = "127.0.0.1:0"
        stream.keep_alive_seconds = 1
        fetch.allow_hosts = ["localhost"]

        [[keys]]
        name = "clients"
        key = "{KEY}"

        [[channels]]
        name = "fake"
        kind = "gemini"
        base_url = "{upstream}/v1beta"
        api_key = "the-upstream-key"
        models = ["gemini-2.5-pro", "gemini-2.5-flash"]
        max_retries = 0
        "#
    )
}

/// Returns a configuration with only the embedded channel: its tasks complete, and no other server is called.
fn embedded_channel() -> String {
    format!(
        r#"
        listen = "127.0.0.1:0"

        [[keys]]
        name = "clients"
        key = "{KEY}"

        [[channels]]
        kind = "local"
        "#
    )
}
