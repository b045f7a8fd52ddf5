//! Parts of a benchmark that run as separate processes, so that each has its own core and its own CPU account. A helper
//! is this program, started again with a part: nothing else has to be built.
//!
//! Director and helper exchange lines of JSON: the first line that a helper receives is its part, and each line that it
//! sends is a result. A helper ends when its director has ended.

use std::io::{BufRead, BufReader, Write, stdin, stdout};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Outcome;
use super::proc::cpu_time;

/// The argument that makes this program a helper.
const HELPER: &str = "--helper";

/// A running helper, as its director sees it; dropping it kills the helper.
#[derive(Debug)]
pub(crate) struct Helper {
    child: Child,
    tell: ChildStdin,
    hear: BufReader<ChildStdout>,
}

impl Helper {
    /// Starts a helper with this part.
    pub(crate) fn start(part: &impl Serialize) -> Outcome<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(HELPER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(tell), Some(hear)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the pipes of a helper are missing".into());
        };
        let mut helper = Self { child, tell, hear: BufReader::new(hear) };
        helper.tell(part)?;
        Ok(helper)
    }

    /// Returns the id of the helper's process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the CPU time that the helper has used.
    pub(crate) fn cpu_time(&self) -> Outcome<std::time::Duration> {
        cpu_time(self.pid())
    }

    /// Sends a message to the helper.
    pub(crate) fn tell(&mut self, word: &impl Serialize) -> Outcome<()> {
        Ok(writeln!(self.tell, "{}", serde_json::to_string(word)?)?)
    }

    /// Tells the helper to continue.
    pub(crate) fn go(&mut self) -> Outcome<()> {
        self.tell(&())
    }

    /// Waits for the next message of the helper, which may be an error.
    pub(crate) fn hear<T: DeserializeOwned>(&mut self) -> Outcome<T> {
        let mut line = String::new();
        if self.hear.read_line(&mut line)? == 0 {
            return Err("a helper ended without a message".into());
        }
        Ok(serde_json::from_str::<Result<T, String>>(&line)??)
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // The helper has ended before, or is no longer needed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The director, as a helper sees it.
#[derive(Debug)]
pub(crate) struct Director(());

impl Director {
    /// Sends a message to the director.
    pub(crate) fn say(&self, word: &impl Serialize) -> Outcome<()> {
        say(&Ok(word))
    }

    /// Waits until the director tells the helper to continue.
    pub(crate) fn wait(&self) -> Outcome<()> {
        hear()
    }
}

/// Does the work of a helper's part, if this process was started as a helper.
pub(crate) fn played<P: DeserializeOwned>(
    play: impl FnOnce(P, &Director) -> Outcome<()>,
) -> Option<ExitCode> {
    if std::env::args().nth(1).as_deref() != Some(HELPER) {
        return None;
    }
    let played = hear().and_then(|part| play(part, &Director(())));
    let told = played.or_else(|err| say::<()>(&Err(err.to_string())));
    Some(if told.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn say<T: Serialize>(word: &Result<&T, String>) -> Outcome<()> {
    let mut stdout = stdout().lock();
    writeln!(stdout, "{}", serde_json::to_string(word)?)?;
    Ok(stdout.flush()?)
}

fn hear<T: DeserializeOwned>() -> Outcome<T> {
    let mut line = String::new();
    if stdin().lock().read_line(&mut line)? == 0 {
        return Err("the director has ended".into());
    }
    Ok(serde_json::from_str(&line)?)
}
