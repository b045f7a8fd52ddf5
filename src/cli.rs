//! The command line: one file per command. What a command prints is made here and nowhere else.

mod check;
mod fake_upstream;
mod filled;
mod hidden;
mod interrupts;
mod keys;
mod login;
mod number;
mod output;
mod sample;
mod serve;
mod submit;
mod terminal;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Audio understanding as asynchronous tasks: submit, stream, resume.
#[derive(Debug, Parser)]
#[command(name = "hearken", version, after_help = "Without a command, hearken serves with its defaults.")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service
    Serve(serve::Arguments),
    /// Send audio to a server and print the answer as it streams
    Submit(submit::Arguments),
    /// Remember a server and an API key for `hearken submit`
    Login(login::Arguments),
    /// Forget what `hearken login` remembers
    Logout,
    /// Make, list and revoke the data directory's API keys; a running server follows within a second
    Keys(keys::Arguments),
    /// Read the configuration, say what it means, and whether a server would start
    Check(check::Arguments),
    /// Play an upstream, good or faulty, for tests and under load
    #[command(hide = true)]
    FakeUpstream(fake_upstream::Arguments),
}

/// Exit status for what cannot be done.
const FAILED: u8 = 1;
/// Exit status for a wrong command line or configuration.
const USAGE: u8 = 2;

/// Exit status when standard output was closed, as shells count a program that SIGPIPE has ended.
const UNREAD: u8 = 141;

/// Runs the program and returns its exit status.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(told) => return tell(&told),
    };
    match arguments.command.unwrap_or_else(|| Command::Serve(serve::Arguments::default())) {
        Command::Serve(arguments) => serve::run(arguments),
        Command::Submit(arguments) => submit::run(arguments),
        Command::Login(arguments) => login::run(arguments),
        Command::Logout => login::forget(),
        Command::Keys(arguments) => keys::run(arguments),
        Command::Check(arguments) => check::run(arguments),
        Command::FakeUpstream(arguments) => fake_upstream::run(arguments),
    }
}

/// Prints the help or the version on standard output, or what is wrong with the command line on standard error.
fn tell(told: &clap::Error) -> ExitCode {
    match told.print().and_then(|()| io::stdout().flush()) {
        Err(err) if !told.use_stderr() => unwritten(&err),
        _ => ExitCode::from(u8::try_from(told.exit_code()).unwrap_or(USAGE)),
    }
}

/// Writes a line to standard output that the command is there for.
///
/// # Errors
/// When nobody gets it: see [`unwritten`].
fn print(line: impl Display) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

/// Tells why standard output took no more, and gives the exit status. A reader who has left knows.
fn unwritten(err: &io::Error) -> ExitCode {
    match err.kind() {
        io::ErrorKind::BrokenPipe => ExitCode::from(UNREAD),
        _ => complain(format_args!("standard output: {err}"), FAILED),
    }
}

/// Writes a line to standard output. Whoever read it may have gone: that is no reason to stop.
fn say(line: impl Display) {
    let _ = print(line);
}

/// Writes one line to standard error that says what is wrong, and gives the exit status.
fn complain(problem: impl Display, status: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "hearken: {}", terminal::harmless(&problem.to_string()));
    ExitCode::from(status)
}
