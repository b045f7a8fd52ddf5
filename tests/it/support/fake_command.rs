//! `hearken fake-upstream` as its users start it: on a free port, killed at the end of its test.

use std::process::ExitStatus;
use std::sync::Arc;

use serde_json::Value;

use super::http::Client;
use super::until;
use crate::kit::fault_upstream::FaultUpstream;

/// A key that it takes, as it takes any.
pub(crate) const ANY_KEY: &str = "any-key";

/// A running fault upstream. What it does is written in the names of the models that it is asked for, so tests and
/// tasks can share one.
#[derive(Debug)]
pub(crate) struct FakeCommand(FaultUpstream);

impl FakeCommand {
    /// One that does what the models say, and nothing else.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// One with these options.
    pub(crate) fn with(options: &[&str]) -> Self {
        Self(FaultUpstream::start(options).unwrap())
    }

    /// Of a channel of the kind gemini.
    pub(crate) fn gemini_url(&self) -> String {
        self.0.gemini_url()
    }

    /// Of chat completions and transcriptions.
    pub(crate) fn openai_url(&self) -> String {
        format!("http://{}/v1", self.0.address)
    }

    /// Somebody who calls it with a bearer key.
    pub(crate) fn client(&self) -> Client {
        Client { address: self.0.address, key: Some(ANY_KEY.to_owned()), secrets: Arc::default() }
    }

    /// What it has counted so far.
    pub(crate) fn stats(&self) -> Value {
        self.0.stats().unwrap()
    }

    /// Waits until its counts are so.
    pub(crate) fn counted(&self, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        until(what, || Some(self.stats()).filter(|stats| so(stats)))
    }

    /// What it has written to standard output so far.
    pub(crate) fn said(&self) -> String {
        self.0.process.said()
    }

    /// Sends it a signal, by its name, and waits for its end.
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
            assert!(log.is_empty(), "the fault upstream complains:\n{log}");
        }
    }
}
