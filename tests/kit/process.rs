//! A process of the program: where it listens, what it has written, and how it ended.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::Outcome;

/// A process that does not start within this time hangs.
const PATIENCE: Duration = Duration::from_secs(30);
const GLANCE: Duration = Duration::from_millis(1);
/// The text that `hearken serve` prints before its address when it listens.
pub(crate) const SERVES: &str = "hearken listening on http://";
/// The text that `hearken fake-upstream` prints before its address when it listens.
pub(crate) const PLAYS: &str = "hearken fake-upstream listening on http://";

/// A process; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    stdout: File,
    stderr: File,
}

/// Returns the program with this command line, and without the environment variables that it reads.
pub(crate) fn hearken(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hearken"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os() {
        let shown = name.to_string_lossy().to_ascii_uppercase();
        if shown.starts_with("HEARKEN_") || shown.ends_with("_API_KEY") || shown.ends_with("_PROXY") {
            command.env_remove(name);
        }
    }
    command
}

impl Process {
    /// Starts a process. Its standard error is written to this file, which can also be read.
    pub(crate) fn spawn(command: &mut Command, stderr: File) -> Outcome<Self> {
        let stdout = tempfile::tempfile()?;
        command.stdin(Stdio::null()).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
        Ok(Self { child: command.spawn()?, stdout, stderr })
    }

    /// Starts a process, and waits until it listens: its first line shows the address after `announcement`.
    pub(crate) fn start(
        command: &mut Command,
        stderr: File,
        announcement: &str,
    ) -> Outcome<(Self, SocketAddr)> {
        let mut process = Self::spawn(command, stderr)?;
        let began = Instant::now();
        loop {
            if let Some(address) = process.address(announcement)? {
                return Ok((process, address));
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("it does not start:\n{}", process.complaints()).into());
            }
            thread::sleep(GLANCE);
        }
    }

    /// Returns the address where the process listens, once it has printed the address.
    pub(crate) fn address(&mut self, announcement: &str) -> Outcome<Option<SocketAddr>> {
        let has_ended = self.child.try_wait()?.is_some();
        match self.said().split_once('\n') {
            Some((line, _)) => {
                let address = line.strip_prefix(announcement).and_then(|address| address.parse().ok());
                Ok(Some(address.ok_or_else(|| format!("the first line on standard output: {line:?}"))?))
            }
            None if has_ended => Err(format!("it does not start:\n{}", self.complaints()).into()),
            None => Ok(None),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns what the process has written to standard output so far.
    pub(crate) fn said(&self) -> String {
        text(&self.stdout)
    }

    /// Returns what the process has written to standard error so far.
    pub(crate) fn complaints(&self) -> String {
        text(&self.stderr)
    }

    /// Sends the process a signal, by the signal's name.
    pub(crate) fn signal(&self, name: &str) -> Outcome<()> {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status()?;
        if status.success() { Ok(()) } else { Err(format!("no signal {name}: {status}").into()) }
    }

    /// Returns the exit status of the process, if it has ended.
    pub(crate) fn ended(&mut self) -> Outcome<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Kills the process, if it has not ended, and waits until it has ended.
    pub(crate) fn kill(&mut self) -> Outcome<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have ended already. Then an error does not matter.
        let _ = self.kill();
    }
}

fn text(file: &File) -> String {
    let length = file.metadata().map_or(0, |file| file.len());
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    let read = file.read_at(&mut bytes, 0).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..read]).into_owned()
}
