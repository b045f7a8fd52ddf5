//! `hearken fake-upstream`, as a process of its own.

use std::net::SocketAddr;

use serde::Deserialize;
use tempfile::tempfile;

use super::Outcome;
use super::kit::client::Connection;
use super::kit::process::{PLAYS, Process, hearken};

/// A running fault upstream.
#[derive(Debug)]
pub(crate) struct FaultUpstream {
    _process: Process,
    address: SocketAddr,
}

/// What it has counted.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Counted {
    /// Calls that were answered without a fault, to the end.
    pub(crate) answered_well: u64,
    /// Calls whose client left before their end.
    pub(crate) closed_early: u64,
}

impl FaultUpstream {
    /// Starts one with these options.
    pub(crate) fn start(options: &[&str]) -> Outcome<Self> {
        let mut command = hearken(&["fake-upstream", "--listen", "127.0.0.1:0"]);
        let (_process, address) = Process::start(command.args(options), tempfile()?, PLAYS)?;
        Ok(Self { _process, address })
    }

    /// Where it speaks Gemini's dialect.
    pub(crate) fn gemini_url(&self) -> String {
        format!("http://{}/v1beta", self.address)
    }

    /// What it has counted so far.
    pub(crate) fn counted(&self) -> Outcome<Counted> {
        let mut connection = Connection::open(self.address)?;
        let reply = connection.exchange(b"GET /stats HTTP/1.1\r\nHost: bench\r\n\r\n")?;
        Ok(serde_json::from_slice(reply.body)?)
    }
}
