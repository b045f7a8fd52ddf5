//! The real program, as a separate process with its own data directory.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::Outcome;
use super::bench::place;
use super::kit::process::{Process, SERVES, hearken};
use super::proc::cpu_time;
use super::request::KEY;

/// The environment variable that names the program to measure.
const PROGRAM: &str = "HEARKEN_BENCH_PROGRAM";

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    process: Process,
    address: SocketAddr,
    directory: TempDir,
    /// The upstream: a listener that accepts connections and never answers.
    _upstream: TcpListener,
}

impl Server {
    /// Starts a server in a new directory. `settings` returns lines of its configuration: its channels, and all that
    /// differs from the defaults. It receives the address of an upstream that never answers.
    pub(crate) fn start(settings: impl FnOnce(SocketAddr) -> String) -> Outcome<Self> {
        let directory = TempDir::with_prefix_in("bench-", place())?;
        let upstream = TcpListener::bind("127.0.0.1:0")?;
        let text = format!(
            "listen = \"127.0.0.1:0\"\n\
             data_dir = \"{data}\"\n\
             [[keys]]\nname = \"bench\"\nkey = \"{KEY}\"\n\
             {settings}",
            data = directory.path().join("data").display(),
            settings = settings(upstream.local_addr()?),
        );
        fs::write(config(&directory), text)?;
        let (process, address) = start(&directory)?;
        Ok(Self { process, address, directory, _upstream: upstream })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the id of the server's process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Returns the CPU time that the server has used.
    pub(crate) fn cpu_time(&self) -> Outcome<Duration> {
        cpu_time(self.pid())
    }

    /// Returns the server's log.
    pub(crate) fn log(&self) -> String {
        self.process.complaints()
    }

    /// Kills the server with SIGKILL.
    pub(crate) fn kill(&mut self) -> Outcome<()> {
        self.process.kill()
    }

    /// Starts the server again with the same data, after it was killed.
    pub(crate) fn restart(&mut self) -> Outcome<()> {
        (self.process, self.address) = start(&self.directory)?;
        Ok(())
    }

    /// Ends the server; returns its data directory.
    pub(crate) fn end(mut self) -> Outcome<TempDir> {
        self.kill()?;
        Ok(self.directory)
    }
}

/// Writes a round's remaining data to the disk, so that the next round does not have to.
pub(crate) fn settle() -> Outcome<()> {
    if Command::new("sync").arg("--file-system").arg(place()).status()?.success() {
        Ok(())
    } else {
        Err("the data cannot be written to the disk: `sync` failed".into())
    }
}

/// Starts the program to measure: the one that was built, unless [`PROGRAM`] names another.
fn start(directory: &TempDir) -> Outcome<(Process, SocketAddr)> {
    let mut program = std::env::var_os(PROGRAM).map_or_else(|| hearken(&[]), Command::new);
    // The configuration comes from the file only.
    program.args(["serve", "--config"]).arg(config(directory)).env_clear();
    let log = File::options().create(true).read(true).append(true).open(directory.path().join("log"))?;
    Process::start(&mut program, log, SERVES)
}

fn config(directory: &TempDir) -> PathBuf {
    directory.path().join("hearken.toml")
}
