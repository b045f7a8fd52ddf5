//! `hearken fake-upstream`, as a process of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde::Deserialize;

use super::Outcome;
use super::kit::client::Connection;

/// A running fault upstream.
#[derive(Debug)]
pub(crate) struct FaultUpstream {
    child: Child,
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
        let mut child = Command::new(env!("CARGO_BIN_EXE_hearken"))
            .args(["fake-upstream", "--listen", "127.0.0.1:0"])
            .args(options)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let address = line.rsplit("http://").next().and_then(|address| address.trim().parse().ok());
        let address = address.ok_or_else(|| format!("the fault upstream does not start: {line:?}"))?;
        Ok(Self { child, address })
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

impl Drop for FaultUpstream {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
