//! `hearken login` and `hearken logout`: the server and the key that `hearken submit` uses by default.

use std::fmt::Display;
use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::hidden::Hidden;
use super::interrupts::{Interrupt, Interrupts};
use super::submit::explained;
use super::terminal::harmless;
use super::{FAILED, USAGE, complain, filled, say};
use crate::client::{BaseUrl, Login, Problem, Profile, Said, Server};
use crate::secret::Secret;

/// Longest line that is read as a key, in bytes.
const MAX_KEY_BYTES: u64 = 4096;

/// How long a new key is tried: a running server knows it within a second.
const MADE: Duration = Duration::from_secs(2);
/// Pause between two tries.
const TRY: Duration = Duration::from_millis(300);

/// The text below the options in `--help`.
const HELP: &str = "\
Asks for the key without showing it, tries it at the server, and saves it with the server's URL in
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
    #[arg(long, value_name = "BASE", value_parser = filled::text)]
    url: Option<String>,
    /// Read the key from standard input instead of asking for it
    #[arg(long)]
    key_stdin: bool,
    /// Model for submits that name none [default: none]
    #[arg(long, short, value_name = "M", value_parser = filled::text)]
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
        .ok_or_else(|| misused(&"there is no place for the login file; set HOME or XDG_CONFIG_HOME"))?;
    // A user who logs in again means the same server. A broken file is about to be replaced.
    let before = Login::read(&path).ok().flatten();
    let flags = Said { url, key: None };
    let environment = Said::by_environment().map_err(|err| misused(&err))?;
    let url = Profile::server(&flags, &environment, before.as_ref()).map_err(|err| misused(&err))?;
    // Commands use the path from any directory. The certificate's issuer does not change with the key.
    let ca = ca.map(std::path::absolute).transpose().map_err(|err| misused(&format_args!("--ca: {err}")))?;
    let mut interrupts = Interrupts::listen()
        .map_err(|err| complain(format_args!("signals cannot be taken: {err}"), FAILED))?;
    let interrupted = |interrupt: Interrupt| ExitCode::from(interrupt.status());
    let key = interrupts.unless(ask(&url, key_stdin)).await.map_err(interrupted)?;
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
async fn models(server: &Server) -> Result<Vec<String>, Problem> {
    let started = Instant::now();
    loop {
        match server.models().await {
            Err(Problem::Refused(refusal)) if refusal.status == 401 && started.elapsed() < MADE => {
                sleep(TRY).await;
            }
            reply => return reply,
        }
    }
}

/// Deletes the login file.
pub(super) fn forget() -> ExitCode {
    let Some(path) = Login::path() else { return ExitCode::SUCCESS };
    match Login::forget(&path) {
        Ok(true) => say(format_args!("Logged out; {} was deleted.", path.display())),
        Ok(false) => say("You were not logged in."),
        Err(err) => return complain(err, FAILED),
    }
    ExitCode::SUCCESS
}

/// Reads the key from the user.
async fn ask(url: &BaseUrl, from_input: bool) -> Result<Secret, String> {
    let unread = |err: io::Error| format!("the key cannot be read: {err}");
    let hidden = if from_input {
        None
    } else if !io::stdin().is_terminal() {
        return Err("standard input is not a terminal; pass the key with --key-stdin".to_owned());
    } else if !io::stderr().is_terminal() {
        return Err("standard error is not a terminal; pass the key with --key-stdin".to_owned());
    } else {
        let hidden = Hidden::begin().map_err(unread)?;
        write!(io::stderr(), "API key for {url}: ").map_err(unread)?;
        Some(hidden)
    };
    let text = line().await.map_err(unread)?;
    drop(hidden);
    if text.trim().is_empty() {
        Err("no key was given; type or paste it".to_owned())
    } else {
        Ok(Secret::new(text))
    }
}

/// Reads a line of standard input on a thread of its own, so that the caller can stop waiting.
async fn line() -> io::Result<String> {
    let (tell, told) = oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = io::stdin().lock().take(MAX_KEY_BYTES).read_line(&mut line);
        // After a signal, no task waits for the line.
        let _ = tell.send(read.map(|_| line));
    });
    told.await.map_err(io::Error::other)?
}
