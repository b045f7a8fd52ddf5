//! `hearken fake-upstream` as its users start it: on a free port, killed at the end of its test.

use std::process::ExitStatus;
use std::sync::Arc;

use serde_json::Value;

use super::http::Client;
use super::until;
use crate::kit::fault_upstream::FaultUpstream;

/// A key. The fault upstream accepts any key.
pub(crate) const ANY_KEY: &str = "any-key";

/// A running fault upstream. The names of the requested models say how it answers, so tests and tasks can share one.
#[derive(Debug)]
pub(crate) struct FakeCommand(FaultUpstream);

impl FakeCommand {
    /// Starts a fault upstream whose answers follow only the names of the models.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// Starts a fault upstream with these options.
    pub(crate) fn with(options: &[&str]) -> Self {
        Self(FaultUpstream::start(options).unwrap())
    }

    /// Returns the URL for a channel of the kind gemini.
    pub(crate) fn gemini_url(&self) -> String {
        self.0.gemini_url()
    }

    /// Returns the URL for chat completions and transcriptions.
    pub(crate) fn openai_url(&self) -> String {
        format!("http://{}/v1", self.0.address)
    }

    /// Returns a client that calls the fault upstream with a bearer key.
    pub(crate) fn client(&self) -> Client {
        Client { address: self.0.address, key: Some(ANY_KEY.to_owned()), secrets: Arc::default() }
    }

    /// Returns what the fault upstream has counted so far.
    pub(crate) fn stats(&self) -> Value {
        self.0.stats().unwrap()
    }

    /// Waits until the counts fulfil a condition.
    pub(crate) fn counted(&self, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        until(what, || Some(self.stats()).filter(|stats| so(stats)))
    }

    /// Returns what the fault upstream has written to standard output so far.
    pub(crate) fn said(&self) -> String {
        self.0.process.said()
    }

    /// Sends the fault upstream a signal, by the signal's name, and waits until it ends.
    pub(crate) fn end(&mut self, signal: &str) -> ExitStatus {
        self.0.process.signal(signal).unwrap();
        until("the fault upstream ends", || self.0.process.ended().unwrap())
    }
}

impl Drop for FakeCommand {
    fn drop(&mut self) {
        let _ = self.0.process.kill();
        let log = self.0.process.complaints();
        if std::thread::panicking() {
            println!("--- the fault upstream's log:\n{log}---");
        } else {
            assert!(log.is_empty(), "the fault upstream logged problems:\n{log}");
        }
    }
}
