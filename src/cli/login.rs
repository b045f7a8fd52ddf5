//! `hearken login` and `hearken logout`: which server and which key `hearken submit` uses by itself.

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

/// A key that has just been made is known to a running server within a second; so long, and as often, it is tried.
const MADE: Duration = Duration::from_secs(2);
const TRY: Duration = Duration::from_millis(300);

/// What `--help` says below the options.
const HELP: &str = "\
The key is asked for without being shown, tried at the server, and written with the server's URL to
$XDG_CONFIG_HOME/hearken/login.toml (~/.config/hearken/login.toml), in the clear: the file is for its user alone
(mode 0600), and is not used when others may read it. `hearken logout` removes it.

EXAMPLES
  hearken login --url https://hearken.example.org
  hearken keys create me | hearken login --key-stdin";

/// Remember a server and an API key for `hearken submit`
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    /// Base URL of the server [env: HEARKEN_URL] [default: http://127.0.0.1:8080]
    #[arg(long, value_name = "BASE", value_parser = filled::text)]
    url: Option<String>,
    /// Read the key from standard input instead of asking for it
    #[arg(long)]
    key_stdin: bool,
    /// Model to ask when a submit names none
    #[arg(long, short, value_name = "M", value_parser = filled::text)]
    model: Option<String>,
    /// Certificate authorities (PEM) to trust instead of the public ones, for https
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
        .ok_or_else(|| misused(&"there is no place for the login file: set HOME or XDG_CONFIG_HOME"))?;
    // Whoever logs in again means the same server; a broken file is about to be replaced.
    let before = Login::read(&path).ok().flatten();
    let flags = Said { url, key: None };
    let environment = Said::by_environment().map_err(|err| misused(&err))?;
    let url = Profile::server(&flags, &environment, before.as_ref()).map_err(|err| misused(&err))?;
    // It will be named from anywhere. Whom a server's certificate is from does not change with the key.
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
        complain(format_args!("{}; nothing was remembered", explained(&problem, &url)), FAILED)
    })?;
    Login { url: url.clone(), key, model: model.clone(), ca }
        .write(&path)
        .map_err(|err| complain(err, FAILED))?;
    say(format_args!("Logged in to {url}; remembered in {}.", path.display()));
    let listed = harmless(&models.join(", "));
    match model {
        Some(model) if !models.contains(&model) => {
            say(format_args!("{model} is not among the models that are listed: {listed}"));
        }
        _ => say(format_args!("This key may use: {listed}")),
    }
    Ok(())
}

/// What the key may use, once the server knows it.
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

/// Removes the login file.
pub(super) fn forget() -> ExitCode {
    let Some(path) = Login::path() else { return ExitCode::SUCCESS };
    match Login::forget(&path) {
        Ok(true) => say(format_args!("Logged out; {} is gone.", path.display())),
        Ok(false) => say("There was no login."),
        Err(err) => return complain(err, FAILED),
    }
    ExitCode::SUCCESS
}

/// The key that the user gives.
async fn ask(url: &BaseUrl, from_input: bool) -> Result<Secret, String> {
    let unread = |err: io::Error| format!("the key cannot be read: {err}");
    let hidden = if from_input {
        None
    } else if !io::stdin().is_terminal() {
        return Err("standard input is no terminal: pass the key with --key-stdin".to_owned());
    } else if !io::stderr().is_terminal() {
        return Err("standard error is no terminal: pass the key with --key-stdin".to_owned());
    } else {
        let hidden = Hidden::begin().map_err(unread)?;
        write!(io::stderr(), "API key for {url}: ").map_err(unread)?;
        Some(hidden)
    };
    let text = line().await.map_err(unread)?;
    drop(hidden);
    if text.trim().is_empty() { Err("no key was given".to_owned()) } else { Ok(Secret::new(text)) }
}

/// A line of standard input, which a thread of its own waits for: whoever no longer wants it does not wait.
async fn line() -> io::Result<String> {
    let (tell, told) = oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = io::stdin().lock().take(MAX_KEY_BYTES).read_line(&mut line);
        // Nobody waits for it after a signal.
        let _ = tell.send(read.map(|_| line));
    });
    told.await.map_err(io::Error::other)?
}
