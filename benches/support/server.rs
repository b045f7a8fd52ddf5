//! The real program, as a process of its own with a data directory of its own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::Outcome;
use super::proc::cpu_time;
use super::request::KEY;

/// The environment variable that names the program to be measured.
const PROGRAM: &str = "HEARKEN_BENCH_PROGRAM";

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    process: Process,
    directory: TempDir,
    /// Takes connections, since it listens, and never says a word.
    _upstream: TcpListener,
}

#[derive(Debug)]
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts one in a new directory at a place. `settings` are lines of its configuration: its channels, and what
    /// else is not as it is by default; they are told the address of an upstream that never answers.
    pub(crate) fn start(place: &Path, settings: impl FnOnce(SocketAddr) -> String) -> Outcome<Self> {
        let directory = TempDir::with_prefix_in("bench-", place)?;
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
        Ok(Self { process: Process::start(&directory)?, directory, _upstream: upstream })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.process.address
    }

    /// The number of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// CPU time that it has used.
    pub(crate) fn cpu_time(&self) -> Outcome<Duration> {
        cpu_time(self.pid())
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> Outcome<String> {
        Ok(fs::read_to_string(self.directory.path().join("log"))?)
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(&mut self) -> Outcome<()> {
        self.process.child.kill()?;
        self.process.child.wait()?;
        Ok(())
    }

    /// Starts it again, after it was killed, over the same data.
    pub(crate) fn restart(&mut self) -> Outcome<()> {
        self.process = Process::start(&self.directory)?;
        Ok(())
    }

    /// Ends it; its data is left to the caller.
    pub(crate) fn end(mut self) -> Outcome<TempDir> {
        self.kill()?;
        Ok(self.directory)
    }
}

/// The program that is measured: the one that was built, unless [`PROGRAM`] names another.
fn program() -> Command {
    match std::env::var_os(PROGRAM) {
        Some(path) => Command::new(path),
        None => Command::new(env!("CARGO_BIN_EXE_hearken")),
    }
}

/// Brings to the disk what a round has left to do, so that it is not done in the next one.
pub(crate) fn settle(place: &Path) -> Outcome<()> {
    if Command::new("sync").arg("--file-system").arg(place).status()?.success() {
        Ok(())
    } else {
        Err("the disk cannot be brought to rest: `sync` failed".into())
    }
}

impl Process {
    fn start(directory: &TempDir) -> Outcome<Self> {
        let log = directory.path().join("log");
        let mut child = program()
            .args(["serve", "--config"])
            .arg(config(directory))
            // The configuration is the file's alone.
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::options().create(true).append(true).open(&log)?)
            .spawn()?;
        let mut line = String::new();
        let read = child.stdout.take().map(|stdout| BufReader::new(stdout).read_line(&mut line));
        let address = line.strip_prefix("hearken listening on http://").and_then(|a| a.trim().parse().ok());
        let address = read.transpose().and(Ok(address))?;
        match address {
            Some(address) => Ok(Self { child, address }),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                let said = fs::read_to_string(&log).unwrap_or_default();
                let last = said.lines().last().unwrap_or("it says nothing");
                Err(format!("the server does not start: {last}").into())
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Killed and waited for before, or no longer of use.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config(directory: &TempDir) -> PathBuf {
    directory.path().join("hearken.toml")
}
