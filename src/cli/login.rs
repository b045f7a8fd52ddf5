//! `hearken login` and `hearken logout`: the server and the key that `hearken submit` uses by default.

use std::fmt::Display;
use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::hidden::HiddenInput;
use super::interrupts::{Interrupt, Interrupts};
use super::submit::explained;
use super::terminal::harmless;
use super::{FAILED, USAGE, complain, non_empty, say};
use crate::client::{BaseUrl, CallError, Login, Profile, ProfileInput, Server};
use crate::secret::Secret;

/// Longest line that is read as a key, in bytes.
const MAX_KEY_BYTES: u64 = 4096;

/// How long a key that the server does not know is tried. A running server knows a new key within a second.
const NEW_KEY_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause between two tries.
const RETRY_PAUSE: Duration = Duration::from_millis(300);

/// The text below the options in `--help`.
const HELP: &str = "\
Reads the key without showing it, checks it at the server, and saves it with the server's URL in
$XDG_CONFIG_HOME/hearken/login.toml (~/.config/hearken/login.toml). The file is not encrypted: only its user may read it
(mode 0600), and it is not used when others may read it. `hearken logout` deletes it.

EXAMPLES
  hearken login --url https://hearken.example.org
  hearken keys create me | hearken login --key-stdin";

/// Save a server's URL and an API key for `hearken submit`
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    /// Base URL of the server [env: HEARKEN_URL] [default: the last login's, else http://127.0.0.1:8080]
    #[arg(long, value_name = "BASE", value_parser = non_empty::text)]
    url: Option<String>,
    /// Read the key from standard input, without a question on the terminal
    #[arg(long)]
    key_stdin: bool,
    /// Model for submits that name none [default: none]
    #[arg(long, short, value_name = "M", value_parser = non_empty::text)]
    model: Option<String>,
    /// Certificate authorities (PEM file) to trust for https [default: the public ones]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

pub(super) fn run(arguments: Arguments) -> ExitCode {
    match actix_rt::System::new().block_on(log_in(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(status) => status,
    }
}

async fn log_in(arguments: Arguments) -> Result<(), ExitCode> {
    let Arguments { url, key_stdin, model, ca } = arguments;
    let misused = |problem: &dyn Display| complain(problem, USAGE);
    let path = Login::path()
        .ok_or_else(|| misused(&"no directory for the login file is known; set HOME or XDG_CONFIG_HOME"))?;
    // Without --url, a repeated login is for the same server. An invalid file is about to be replaced.
    let before = Login::read(&path).ok().flatten();
    let flags = ProfileInput { url, key: None };
    let environment = ProfileInput::from_environment().map_err(|err| misused(&err))?;
    let url = Profile::server(&flags, &environment, before.as_ref()).map_err(|err| misused(&err))?;
    // The path is made absolute, because later commands run in any directory. Without --ca, a new key for the same
    // server keeps the authorities of the old login.
    let ca = ca.map(std::path::absolute).transpose().map_err(|err| misused(&format_args!("--ca: {err}")))?;
    let mut interrupts = Interrupts::listen()
        .map_err(|err| complain(format_args!("hearken cannot listen for signals: {err}"), FAILED))?;
    let interrupted = |interrupt: Interrupt| ExitCode::from(interrupt.status());
    let key = interrupts.unless(read_key(&url, key_stdin)).await.map_err(interrupted)?;
    let key = key.map_err(|err| misused(&err))?;
    let key = Profile::checked_key(&key).map_err(|err| misused(&err))?;
    let ca = ca.or(before.filter(|before| before.url == url).and_then(|before| before.ca));
    let profile = Profile { url: url.clone(), key: key.clone(), model: model.clone(), ca: ca.clone() };
    let server = Server::of(&profile).map_err(|err| misused(&err))?;
    let models = interrupts.unless(models(&server)).await.map_err(interrupted)?.map_err(|problem| {
        complain(format_args!("{}; nothing was saved", explained(&problem, &url)), FAILED)
    })?;
    Login { url: url.clone(), key, model: model.clone(), ca }
        .write(&path)
        .map_err(|err| complain(err, FAILED))?;
    say(format_args!("Logged in to {url}; saved in {}.", path.display()));
    let listed = harmless(&models.join(", "));
    match model {
        Some(model) if !models.contains(&model) => {
            say(format_args!("{model} is not one of the listed models: {listed}"));
        }
        _ => say(format_args!("This key may use: {listed}")),
    }
    Ok(())
}

/// Returns the models that the key may use, once the server knows the key.
async fn models(server: &Server) -> Result<Vec<String>, CallError> {
    let started = Instant::now();
    loop {
        match server.models().await {
            Err(CallError::Refused(refusal))
                if refusal.status == 401 && started.elapsed() < NEW_KEY_TIMEOUT =>
            {
                sleep(RETRY_PAUSE).await;
            }
            reply => return reply,
        }
    }
}

/// Deletes the login file.
pub(super) fn log_out() -> ExitCode {
    let Some(path) = Login::path() else { return ExitCode::SUCCESS };
    match Login::delete(&path) {
        Ok(true) => say(format_args!("Logged out; {} was deleted.", path.display())),
        Ok(false) => say("You were not logged in."),
        Err(err) => return complain(err, FAILED),
    }
    ExitCode::SUCCESS
}

/// Reads the key from the user.
async fn read_key(url: &BaseUrl, from_input: bool) -> Result<Secret, String> {
    let unread = |err: io::Error| format!("the key cannot be read: {err}");
    let hidden = if from_input {
        None
    } else if !io::stdin().is_terminal() {
        return Err("standard input is not a terminal; pass the key with --key-stdin".to_owned());
    } else if !io::stderr().is_terminal() {
        return Err("standard error is not a terminal; pass the key with --key-stdin".to_owned());
    } else {
        let hidden = HiddenInput::begin().map_err(unread)?;
        write!(io::stderr(), "API key for {url}: ").map_err(unread)?;
        Some(hidden)
    };
    let text = read_line().await.map_err(unread)?;
    drop(hidden);
    if text.trim().is_empty() {
        Err("no key was given; type or paste it".to_owned())
    } else {
        Ok(Secret::new(text))
    }
}

/// Reads a line of standard input on a thread of its own, so that the caller can stop waiting.
async fn read_line() -> io::Result<String> {
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let mut read_line = String::new();
        let read = io::stdin().lock().take(MAX_KEY_BYTES).read_line(&mut read_line);
        // After a signal, the receiver no longer exists.
        let _ = sender.send(read.map(|_| read_line));
    });
    receiver.await.map_err(io::Error::other)?
}
