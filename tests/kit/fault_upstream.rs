//! `hearken fake-upstream`, as a process of its own.

use std::net::SocketAddr;

use serde_json::Value;
use tempfile::tempfile;

use super::Outcome;
use super::client::Connection;
use super::process::{PLAYS, Process, hearken};
use super::request::Request;

/// A running fault upstream.
#[derive(Debug)]
pub(crate) struct FaultUpstream {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

impl FaultUpstream {
    /// Starts a fault upstream with these options.
    pub(crate) fn start(options: &[&str]) -> Outcome<Self> {
        let mut command = hearken(&["fake-upstream", "--listen", "127.0.0.1:0"]);
        let (process, address) = Process::start(command.args(options), tempfile()?, PLAYS)?;
        Ok(Self { process, address })
    }

    /// Returns the URL of its Gemini dialect.
    pub(crate) fn gemini_url(&self) -> String {
        format!("http://{}/v1beta", self.address)
    }

    /// Returns what the fault upstream has counted so far.
    pub(crate) fn stats(&self) -> Outcome<Value> {
        let mut connection = Connection::open(self.address)?;
        let reply = connection.exchange(&Request::new("GET", "/stats", "fake").bytes())?;
        Ok(serde_json::from_slice(reply.body)?)
    }
}
