//! The real program, as a process of its own with a data directory of its own.

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

/// The environment variable that names the program to be measured.
const PROGRAM: &str = "HEARKEN_BENCH_PROGRAM";

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    process: Process,
    address: SocketAddr,
    directory: TempDir,
    /// Takes connections, since it listens, and never says a word.
    _upstream: TcpListener,
}

impl Server {
    /// Starts one in a new directory. `settings` are lines of its configuration: its channels, and what
    /// else is not as it is by default; they are told the address of an upstream that never answers.
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

    /// The number of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// CPU time that it has used.
    pub(crate) fn cpu_time(&self) -> Outcome<Duration> {
        cpu_time(self.pid())
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        self.process.complaints()
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(&mut self) -> Outcome<()> {
        self.process.kill()
    }

    /// Starts it again, after it was killed, over the same data.
    pub(crate) fn restart(&mut self) -> Outcome<()> {
        (self.process, self.address) = start(&self.directory)?;
        Ok(())
    }

    /// Ends it; its data is left to the caller.
    pub(crate) fn end(mut self) -> Outcome<TempDir> {
        self.kill()?;
        Ok(self.directory)
    }
}

/// Brings to the disk what a round has left to do, so that it is not done in the next one.
pub(crate) fn settle() -> Outcome<()> {
    if Command::new("sync").arg("--file-system").arg(place()).status()?.success() {
        Ok(())
    } else {
        Err("the disk cannot be brought to rest: `sync` failed".into())
    }
}

/// Starts the program that is measured: the one that was built, unless [`PROGRAM`] names another.
fn start(directory: &TempDir) -> Outcome<(Process, SocketAddr)> {
    let mut program = std::env::var_os(PROGRAM).map_or_else(|| hearken(&[]), Command::new);
    // The configuration is the file's alone.
    program.args(["serve", "--config"]).arg(config(directory)).env_clear();
    let log = File::options().create(true).read(true).append(true).open(directory.path().join("log"))?;
    Process::start(&mut program, log, SERVES)
}

fn config(directory: &TempDir) -> PathBuf {
    directory.path().join("hearken.toml")
}
