//! The programs in `examples/`, run with the real program.
//!
//! Each example loses the reply to its submit, and then its stream twice. It must submit one task only, and print each
//! piece of the answer once. It must report why a task failed, get an answer whose chunks are no longer kept, and
//! cancel its task when it is interrupted.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir, tempfile};

use super::cutting_proxy::CuttingProxy;
use super::kit::client::Connection;
use super::kit::process::Process;
use super::kit::request::Request;
use super::{
    GLANCE, KEY, SCRIPT_TIMEOUT, end_of, gemini, node, prepared, run_script_at, screenshots, serve,
    small_gemini,
};

/// The running program, and its upstream.
struct Server {
    process: Process,
    program: SocketAddr,
    upstream: SocketAddr,
    _directory: TempDir,
}

impl Server {
    fn start(settings: &str) -> Self {
        let upstream = gemini::start();
        let configuration = format!("{settings}\n{}", small_gemini(&format!("http://{upstream}")));
        let (process, program, directory) = serve(configuration);
        Self { process, program, upstream, _directory: directory }
    }

    /// Returns the status and the JSON of an answer of the program.
    fn get(&self, path: &str) -> (u16, Value) {
        get(self.program, path)
    }

    fn upstream_calls(&self, case: &str) -> Value {
        get(self.upstream, &format!("/calls/{case}")).1
    }
}

fn get(address: SocketAddr, path: &str) -> (u16, Value) {
    let request = Request::new("GET", path, address).key(KEY).bytes();
    let mut connection = Connection::open(address).expect("a connection");
    let reply = connection.exchange(&request).expect("a reply");
    (reply.head.status, serde_json::from_slice(reply.body).unwrap_or_default())
}

/// A run of an example.
struct Run(Process);

/// What an example has printed, and whether it was successful.
struct Ended {
    is_success: bool,
    output: String,
    messages: String,
}

impl Run {
    /// Starts an example as a terminal does: in a process group of its own, and with interrupts, which a program in the
    /// background of a shell ignores.
    fn start(example: &[OsString], server: SocketAddr, key: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new("env");
        command.arg("--default-signal=INT").args(example).args(arguments).process_group(0);
        command.env("HEARKEN_URL", format!("http://{server}/")).env("HEARKEN_API_KEY", key);
        command.env("NO_PROXY", "127.0.0.1");
        let messages = tempfile().expect("a file for its messages");
        Self(Process::spawn(&mut command, messages).unwrap_or_else(|err| panic!("{example:?}: {err}")))
    }

    /// Interrupts the whole group, as Ctrl-C does.
    fn interrupt(&self) {
        let group = format!("-{}", self.0.pid());
        let status = Command::new("kill").args(["-INT", "--", &group]).status().expect("kill runs");
        assert!(status.success(), "no signal: {status}");
    }

    /// Waits until the example has printed this text.
    fn wait_for(&self, text: &str) {
        let began = Instant::now();
        while !self.0.said().contains(text) {
            assert!(
                began.elapsed() < SCRIPT_TIMEOUT,
                "no {text:?}: {:?} {}",
                self.0.said(),
                self.0.complaints()
            );
            thread::sleep(GLANCE);
        }
    }

    fn end(mut self) -> Ended {
        let status = end_of(&mut self.0).unwrap_or_else(|| panic!("it hangs: {}", self.0.complaints()));
        assert!(matches!(status.code(), Some(0 | 1)), "{status}: {}", self.0.complaints());
        Ended { is_success: status.success(), output: self.0.said(), messages: self.0.complaints() }
    }
}

/// Runs an example to its end, with a task that follows this script.
fn run(example: &[OsString], server: SocketAddr, script: &Value) -> Ended {
    Run::start(example, server, KEY, &arguments(&script.to_string())).end()
}

fn arguments(script: &str) -> [&str; 3] {
    [concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/audio/speech.mp3"), "gemini-2.5-pro", script]
}

/// Opens a gate of the upstream.
fn open(upstream: SocketAddr, gate: &str) {
    let request = Request::new("POST", &format!("/open/{gate}"), upstream).body([]).bytes();
    Connection::open(upstream)
        .and_then(|mut line| line.exchange(&request).map(drop))
        .expect("the gate opens");
}

/// Returns the script of a task that ends only when a client has lost its stream and continues to read.
pub(super) fn interrupted(case: &str) -> Value {
    json!({"case": case, "steps": [
        {"think": "Hm."}, {"say": "One"}, {"say": " two"}, {"wait_for": case}, {"say": " three"}, {"say": " four ü"},
    ]})
}

/// The cuts for that script: in the middle of frame 3, and, two frames later, in the middle of frame 5.
const CUTS: [usize; 2] = [3, 2];

/// Asserts that a client continued twice, and never behind a chunk that it has missed. Node and Chromium may drop chunks
/// that arrive together with the end of the connection, so they may continue earlier than at the place of the cut.
fn assert_resumed(proxy: &CuttingProxy, messages: &str) {
    let resumed = proxy.resumed();
    assert!(matches!(resumed[..], [0..=3, 0..=5]), "{resumed:?} {messages}");
}

fn check(example: &[OsString]) {
    let server = Server::start("");
    loses_nothing(example, &server);
    reports_failures(example, &server);
    cancels(example, &server);
    gets_the_result_of_an_expired_stream(example);
}

fn loses_nothing(example: &[OsString], server: &Server) {
    let upstream = server.upstream;
    let proxy = CuttingProxy::start(server.program, &CUTS, Box::new(move |_| open(upstream, "cut")));
    let ended = run(example, proxy.address, &interrupted("cut"));
    assert_eq!(ended.output, "One two three four ü\n", "{}", ended.messages);
    assert!(ended.is_success, "{}", ended.messages);
    // The reasoning is apart from the answer, on a line of its own.
    assert!(ended.messages.contains("Hm.\n"), "{}", ended.messages);
    assert!(ended.messages.contains("completed (stop), 50 tokens"), "{}", ended.messages);
    assert_resumed(&proxy, &ended.messages);
    assert_eq!(server.upstream_calls("cut"), 1, "{}", ended.messages);
}

fn reports_failures(example: &[OsString], server: &Server) {
    let script = json!({"case": "half", "steps": [{"say": "Half"}, "cut"]});
    let ended = run(example, server.program, &script);
    assert!(!ended.is_success && ended.output == "Half", "{:?} {}", ended.output, ended.messages);
    let message = "error: upstream_disconnected: The upstream's answer stopped";
    assert!(ended.messages.contains(message), "{}", ended.messages);

    let ended = run(example, server.program, &json!({"case": "refused", "refusals": [500]}));
    assert!(!ended.is_success && ended.output.is_empty(), "{:?} {}", ended.output, ended.messages);
    assert!(ended.messages.contains("error: upstream_error: "), "{}", ended.messages);

    let ended = Run::start(example, server.program, "sk-wrong", &arguments("")[..1]).end();
    assert!(!ended.is_success && ended.output.is_empty(), "{:?} {}", ended.output, ended.messages);
    assert!(ended.messages.contains("error: invalid_api_key: "), "{}", ended.messages);

    for (arguments, message) in [(&["no-such-file"][..], "no-such-file"), (&[], "usage: ")] {
        let ended = Run::start(example, server.program, KEY, arguments).end();
        assert!(!ended.is_success && ended.output.is_empty(), "{:?} {}", ended.output, ended.messages);
        assert!(ended.messages.contains(message), "{}", ended.messages);
    }
}

fn cancels(example: &[OsString], server: &Server) {
    let script = json!({"case": "cancel", "steps": [{"say": "One"}, {"wait_for": "never"}]}).to_string();
    let run = Run::start(example, server.program, KEY, &arguments(&script));
    run.wait_for("One");
    run.interrupt();
    let ended = run.end();
    assert!(!ended.is_success && ended.output == "One", "{:?} {}", ended.output, ended.messages);
    assert!(ended.messages.contains("cancelled"), "{}", ended.messages);
    let (_, tasks) = server.get("/v1/tasks?limit=1");
    assert_eq!(tasks["data"][0]["error"]["code"], "task_cancelled", "{}", ended.messages);
}

fn gets_the_result_of_an_expired_stream(example: &[OsString]) {
    let server = Server::start("retention.chunks_seconds = 1");
    let (program, upstream) = (server.program, server.upstream);
    let wait_until_expired = move |path: &str| {
        open(upstream, "expired");
        let began = Instant::now();
        while get(program, path).0 != 410 {
            assert!(began.elapsed() < SCRIPT_TIMEOUT, "the stream does not expire");
            thread::sleep(GLANCE);
        }
    };
    let proxy = CuttingProxy::start(program, &[2], Box::new(wait_until_expired));
    let steps = json!([{"say": "One"}, {"say": " two"}, {"wait_for": "expired"}, {"say": " three"}]);
    let script = json!({"case": "expired", "steps": steps});
    let ended = run(example, proxy.address, &script);
    assert_eq!(ended.output, "One two three\n", "{}", ended.messages);
    assert!(ended.is_success, "{}", ended.messages);
    assert_eq!(proxy.resumed().len(), 1, "{}", ended.messages);
}

fn example(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(path)
}

/// Runs a command to its end, and returns its standard output. Panics with its messages if it fails.
fn output(command: &mut Command) -> String {
    let ran = command.output().unwrap_or_else(|err| panic!("{command:?}: {err}: run ./tests/run"));
    let messages = String::from_utf8_lossy(&ran.stderr);
    let output = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{command:?}: {}\n{output}\n{messages}", ran.status);
    output
}

#[test]
fn the_example_for_python_loses_nothing() {
    check(&[prepared("HEARKEN_TEST_PYTHON"), "-B".into(), example("python/stream.py").into()]);
}

#[test]
fn the_example_for_openai_for_python_loses_nothing() {
    check(&[prepared("HEARKEN_TEST_PYTHON"), "-B".into(), example("python/openai_stream.py").into()]);
}

#[test]
fn the_example_for_node_loses_nothing() {
    check(&["node".into(), example("node/stream.mjs").into()]);
}

#[test]
fn the_example_for_openai_for_node_loses_nothing() {
    // Node looks for packages beside the program and above it.
    let directory = tempdir().expect("a temporary directory");
    let program = directory.path().join("openai_stream.mjs");
    std::fs::copy(example("node/openai_stream.mjs"), &program).expect("the example can be copied");
    let modules = directory.path().join("node_modules");
    std::os::unix::fs::symlink(prepared("HEARKEN_TEST_NODE_MODULES"), modules)
        .expect("a link to the packages");
    check(&["node".into(), program.into()]);
}

#[test]
fn the_example_for_the_shell_loses_nothing() {
    let script = example("curl/submit.sh");
    output(Command::new("shellcheck").arg(&script));
    check(&["bash".into(), script.into()]);
}

#[test]
fn the_example_for_go_loses_nothing() {
    let directory = tempdir().expect("a temporary directory");
    let (source, program) = (example("go/main.go"), directory.path().join("example"));
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go");
    let go = |arguments: &[&str]| {
        let mut command = Command::new("go");
        command.args(arguments).env("GOCACHE", &cache).env("GOPATH", &cache);
        // The example needs no module, so nothing may be downloaded.
        command.env("GOPROXY", "off").env("GOTOOLCHAIN", "local");
        command
    };
    output(go(&["vet"]).arg(&source));
    output(go(&["build", "-o"]).args([&program, &source]));
    assert_eq!(output(Command::new("gofmt").arg("-l").arg(&source)), "", "run gofmt");
    check(&[program.into()]);
}

#[test]
fn the_example_for_rust_loses_nothing() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--example", "submit", "--locked", "--message-format=json"]);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    // Cargo sets these for this test. Build scripts of dependencies read them, and would build the dependencies again,
    // here and in the next build outside of a test.
    for (name, _) in std::env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|own| name.to_string_lossy().starts_with(own)) {
            cargo.env_remove(name);
        }
    }
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let messages = output(&mut cargo);
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut built = messages.filter(|message| message["target"]["name"] == "submit");
    let program = built.find_map(|message| message["executable"].as_str().map(OsString::from));
    check(&[program.expect("cargo names the program")]);
}

#[test]
fn the_example_for_browsers_loses_nothing() {
    let server = Server::start("");
    let upstream = server.upstream;
    let proxy = CuttingProxy::start(server.program, &CUTS, Box::new(move |_| open(upstream, "page")));
    let mut script = node("example_page.mjs");
    script
        .env("HEARKEN_TEST_SCREENSHOTS", screenshots())
        .env("HEARKEN_TEST_UPSTREAM", format!("http://{upstream}"))
        .env("HEARKEN_TEST_EXAMPLE", example("browser/server.mjs"))
        .env("HEARKEN_TEST_PROXY", format!("http://{}", proxy.address))
        .env("HEARKEN_TEST_SCRIPT", interrupted("page").to_string());
    run_script_at(&server.process, server.program, &mut script);
    assert_resumed(&proxy, "");
    assert_eq!(server.upstream_calls("page"), 1);
}
