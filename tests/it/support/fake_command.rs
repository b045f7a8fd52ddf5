//! `hearken fake-upstream` as its users start it: on a free port, killed at the end of its test.

use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use serde_json::Value;

use super::hearken::{collect, command};
use super::http::Client;
use super::{PATIENCE, until};

/// A key that it takes, as it takes any.
pub(crate) const ANY_KEY: &str = "any-key";

/// A running fault upstream. What it does is written in the names of the models that it is asked for, so tests and
/// tasks can share one.
#[derive(Debug)]
pub(crate) struct FakeCommand {
    child: Child,
    address: SocketAddr,
    stdout: Arc<Mutex<Vec<u8>>>,
    stderr: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<()>>,
}

impl FakeCommand {
    /// One that does what the models say, and nothing else.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// One with these options.
    pub(crate) fn with(options: &[&str]) -> Self {
        let arguments = [&["fake-upstream", "--listen", "127.0.0.1:0"], options].concat();
        let mut child = command(&arguments).spawn().unwrap();
        let (stdout, stderr) = (Arc::default(), Arc::default());
        let (first_line, first) = mpsc::channel();
        let readers = vec![
            collect(child.stdout.take().unwrap(), Arc::clone(&stdout), Some(first_line)),
            collect(child.stderr.take().unwrap(), Arc::clone(&stderr), None),
        ];
        let line = first.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            let _ = child.kill();
            panic!("it does not start:\n{}", String::from_utf8_lossy(&stderr.lock().unwrap()));
        });
        let address = line
            .strip_prefix("hearken fake-upstream listening on http://")
            .and_then(|address| address.trim_end().parse().ok())
            .unwrap_or_else(|| panic!("the first line on standard output: {line:?}"));
        Self { child, address, stdout, stderr, readers }
    }

    /// Of a channel of the kind gemini.
    pub(crate) fn gemini_url(&self) -> String {
        format!("http://{}/v1beta", self.address)
    }

    /// Of chat completions and transcriptions.
    pub(crate) fn openai_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Somebody who calls it with a bearer key.
    pub(crate) fn client(&self) -> Client {
        Client { address: self.address, key: Some(ANY_KEY.to_owned()), secrets: Arc::default() }
    }

    /// What it has counted so far.
    pub(crate) fn stats(&self) -> Value {
        self.client().get("/stats").expect(200).json()
    }

    /// Waits until its counts are so.
    pub(crate) fn counted(&self, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        until(what, || Some(self.stats()).filter(|stats| so(stats)))
    }

    /// What it has written to standard output so far.
    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&self.stdout.lock().unwrap()).into_owned()
    }

    /// Sends it a signal, by its name, and waits for its end.
    pub(crate) fn end(&mut self, signal: &str) -> ExitStatus {
        let status = Command::new("kill").arg(format!("-{signal}")).arg(self.child.id().to_string()).status();
        assert!(status.unwrap().success());
        until("it ends", || self.child.try_wait().unwrap())
    }
}

impl Drop for FakeCommand {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        let log = String::from_utf8_lossy(&self.stderr.lock().unwrap()).into_owned();
        if std::thread::panicking() {
            println!("--- the fault upstream's log:\n{log}---");
        } else {
            assert!(log.is_empty(), "the fault upstream complains:\n{log}");
        }
    }
}
