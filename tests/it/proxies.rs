//! hearken behind the reverse proxies of `deploy/`: HTTP/2 over TLS from the client to the proxy, HTTP/1.1 from the
//! proxy to hearken.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::json;
use tempfile::TempDir;

use crate::memory::wav;
use crate::support::certificate::Pair;
use crate::support::hearken::Hearken;
use crate::support::http2::Http2;
use crate::support::upstream::FakeUpstream;
use crate::support::{base64, body, until};

mod caddy;
mod nginx;

const END: &str = "data: [DONE]\n\n";

/// A running proxy.
struct Proxy {
    process: Child,
    address: SocketAddr,
    pair: Pair,
    directory: TempDir,
    /// The signal that ends the proxy at once, with its workers.
    ends_by: &'static str,
}

/// The place of a proxy that is not started yet: its directory contains `cert.pem` and `key.pem`.
struct Place {
    address: SocketAddr,
    pair: Pair,
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        let (directory, pair, address) = (TempDir::new().unwrap(), Pair::new(), free_address());
        pair.put(directory.path());
        Self { address, pair, directory }
    }

    /// Starts the proxy and waits until it listens.
    fn start(self, command: &mut Command, ends_by: &'static str) -> Proxy {
        let Self { address, pair, directory } = self;
        let log = File::create(directory.path().join("error.log")).unwrap();
        let process = command
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|err| panic!("{command:?}: {err}: run ./tests/run, which installs it"));
        let mut proxy = Proxy { process, address, pair, directory, ends_by };
        until("the proxy listens", || {
            let ended = proxy.process.try_wait().unwrap();
            assert!(ended.is_none(), "the proxy does not run: {}", proxy.log());
            TcpStream::connect(address).ok()
        });
        proxy
    }
}

impl Proxy {
    fn connect(&self) -> Http2 {
        Http2::connect(self.address, &self.pair)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("error.log")).unwrap_or_default()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-s", self.ends_by, &self.process.id().to_string()]).status();
        let _ = self.process.wait();
        if std::thread::panicking() {
            println!("--- the proxy:\n{}---", self.log());
        }
    }
}

/// Returns a file of `deploy/` in which each of these texts, which must stand there once, is replaced.
fn adapted(file: &str, replaced: &[(&str, &str)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file);
    let mut text = std::fs::read_to_string(&path).unwrap_or_else(|err| panic!("{}: {err}", path.display()));
    for (theirs, ours) in replaced {
        assert_eq!(text.matches(theirs).count(), 1, "{theirs:?} in {file}:\n{text}");
        text = text.replace(theirs, ours);
    }
    text
}

/// Returns a free address with a port that the system never assigns on its own.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + (std::process::id() % 5000) as u16;
    until("a port is free", || {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        TcpListener::bind(("127.0.0.1", port)).ok()?.local_addr().ok()
    })
}

/// The tests that every proxy has to pass.
macro_rules! proxy_suite {
    ($start:path) => {
        #[test]
        fn frames_pass_at_once_and_streams_are_resumed() {
            crate::proxies::frames_pass_at_once_and_streams_are_resumed($start);
        }

        #[test]
        fn a_large_submit_passes_and_an_error_keeps_its_text() {
            crate::proxies::a_large_submit_passes_and_an_error_keeps_its_text($start);
        }

        #[test]
        fn hearken_notices_when_a_reader_disconnects() {
            crate::proxies::hearken_notices_when_a_reader_disconnects($start);
        }

        #[test]
        fn a_blocking_caller_that_disconnects_cancels_its_task() {
            crate::proxies::a_blocking_caller_that_disconnects_cancels_its_task($start);
        }
    };
}
use proxy_suite;

fn frames_pass_at_once_and_streams_are_resumed(start: fn(&Hearken) -> Proxy) {
    let upstream = FakeUpstream::gemini().say("Hel").hold().say("lo").start();
    let hearken = Hearken::start(&upstream);
    let proxy = start(&hearken);
    let mut client = proxy.connect();
    let id = client.submit(json!({"stream": true}));
    let mut answers: Vec<_> = (0..20).map(|_| client.stream(&id, "")).collect();
    for answer in &mut answers {
        // The task has not ended, so a proxy that buffers would wait forever.
        client.read_to(answer, "\"Hel\"");
    }
    upstream.release();
    for answer in answers {
        let rest = client.rest(answer);
        assert!(rest.contains("\"lo\"") && rest.ends_with(END), "{rest}");
    }
    let resumed = client.stream(&id, "?offset=2");
    let resumed = client.rest(resumed);
    assert!(
        resumed.contains("id: 2\n") && !resumed.contains("id: 1\n") && resumed.ends_with(END),
        "{resumed}"
    );
}

fn a_large_submit_passes_and_an_error_keeps_its_text(start: fn(&Hearken) -> Proxy) {
    let upstream = FakeUpstream::gemini().say("long").start();
    let hearken = Hearken::start(&upstream);
    let proxy = start(&hearken);
    let mut client = proxy.connect();
    let audio = format!("data:audio/wav;base64,{}", base64(&wav(14_900_000)));
    let id = client.submit(json!({"audio_url": audio}));
    let (status, task) = client.get(&format!("/v1/tasks/{id}?wait=20"));
    assert!(status == 200 && task.contains("\"long\""), "{task}");
    let (status, error) = client.get("/v1/tasks/task-llm-0-00000000");
    assert!(status == 404 && error.contains("task_not_found"), "{error}");
}

fn hearken_notices_when_a_reader_disconnects(start: fn(&Hearken) -> Proxy) {
    let upstream = FakeUpstream::gemini().say("a").hold().start();
    let hearken = Hearken::start(&upstream);
    let proxy = start(&hearken);
    let mut client = proxy.connect();
    let id = client.submit(json!({"stream": true}));
    let mut answer = client.stream(&id, "");
    client.read_to(&mut answer, "\"a\"");
    drop(answer);
    drop(client);
    hearken.log_line("end=left");
}

fn a_blocking_caller_that_disconnects_cancels_its_task(start: fn(&Hearken) -> Proxy) {
    let upstream = FakeUpstream::gemini().say("a").hold().start();
    let hearken = Hearken::start(&upstream);
    let proxy = start(&hearken);
    let mut client = proxy.connect();
    let call = client.ask("POST", "/v1/llm/generations", Some(&body(json!({"sync": true}))));
    client.ping();
    upstream.held(1);
    client.reset(call);
    upstream.closed(0);
}
