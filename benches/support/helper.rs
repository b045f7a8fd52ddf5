//! Parts of a benchmark that run as processes of their own, so that each has a core, and an account of its CPU, of its
//! own. A helper is this very program, started again with a part to play: nothing else has to be built.
//!
//! Director and helper talk in lines of JSON: the first one that a helper hears is its part, each one that it says is a
//! result. A helper whose director is gone ends.

use std::io::{BufRead, BufReader, Write, stdin, stdout};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Outcome;
use super::proc::cpu_time;

/// The argument that makes this program a helper.
const HELPER: &str = "--helper";

/// A running helper, seen from its director; it is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Helper {
    child: Child,
    tell: ChildStdin,
    hear: BufReader<ChildStdout>,
}

impl Helper {
    /// Starts one that plays this part.
    pub(crate) fn start(part: &impl Serialize) -> Outcome<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(HELPER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(tell), Some(hear)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("a helper has no pipes".into());
        };
        let mut helper = Self { child, tell, hear: BufReader::new(hear) };
        helper.tell(part)?;
        Ok(helper)
    }

    /// The number of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// CPU time that it has used.
    pub(crate) fn cpu_time(&self) -> Outcome<std::time::Duration> {
        cpu_time(self.pid())
    }

    /// Tells it something.
    pub(crate) fn tell(&mut self, word: &impl Serialize) -> Outcome<()> {
        Ok(writeln!(self.tell, "{}", serde_json::to_string(word)?)?)
    }

    /// Tells it to go on.
    pub(crate) fn go(&mut self) -> Outcome<()> {
        self.tell(&())
    }

    /// Waits for the next thing that it says, which may be that it failed.
    pub(crate) fn hear<T: DeserializeOwned>(&mut self) -> Outcome<T> {
        let mut line = String::new();
        if self.hear.read_line(&mut line)? == 0 {
            return Err("a helper ended without a word".into());
        }
        Ok(serde_json::from_str::<Result<T, String>>(&line)??)
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // Ended before, or no longer of use.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The director, seen from a helper.
#[derive(Debug)]
pub(crate) struct Director(());

impl Director {
    /// Says something.
    pub(crate) fn say(&self, word: &impl Serialize) -> Outcome<()> {
        say(&Ok(word))
    }

    /// Waits until it is time to go on.
    pub(crate) fn wait(&self) -> Outcome<()> {
        hear()
    }
}

/// Plays a part, if this process was started as a helper.
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
        return Err("the director is gone".into());
    }
    Ok(serde_json::from_str(&line)?)
}
