//! The command line: one file per command. All texts that a command prints are made here.

mod check;
mod completions;
mod fake_upstream;
mod hidden;
mod interrupts;
mod keys;
mod login;
mod man;
mod non_empty;
mod number;
mod output;
mod sample;
mod serve;
mod submit;
mod terminal;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// Audio understanding as asynchronous tasks: submit, stream, resume.
#[derive(Debug, Parser)]
#[command(
    name = "hearken",
    version,
    after_help = "Without a command, hearken runs `hearken serve` with its defaults."
)]
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
    /// Save a server's URL and an API key for `hearken submit`
    Login(login::Arguments),
    /// Delete the URL and the API key that `hearken login` has saved
    Logout,
    /// Create, list and revoke the API keys in the data directory; a running server applies changes within a second
    Keys(keys::Arguments),
    /// Read the configuration, explain it, and report whether a server would start with it
    Check(check::Arguments),
    /// Run a fake upstream that answers, or fails as a script says, for tests and load tests
    FakeUpstream(fake_upstream::Arguments),
    /// Print the completion script for a shell
    Completions(completions::Arguments),
    /// Print a man page
    Man(man::Arguments),
}

/// Exit status when a command has failed.
const FAILED: u8 = 1;
/// Exit status for a wrong command line or configuration.
const USAGE: u8 = 2;

/// Exit status when standard output was closed: 128 plus the number of SIGPIPE, as shells report it.
const OUTPUT_CLOSED: u8 = 141;

/// Runs the program and returns its exit status.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(message) => return print_clap_message(&message),
    };
    match arguments.command.unwrap_or_else(|| Command::Serve(serve::Arguments::default())) {
        Command::Serve(arguments) => serve::run(arguments),
        Command::Submit(arguments) => submit::run(arguments),
        Command::Login(arguments) => login::run(arguments),
        Command::Logout => login::log_out(),
        Command::Keys(arguments) => keys::run(arguments),
        Command::Check(arguments) => check::run(arguments),
        Command::FakeUpstream(arguments) => fake_upstream::run(arguments),
        Command::Completions(arguments) => completions::run(&arguments, Arguments::command()),
        Command::Man(arguments) => man::run(&arguments, Arguments::command()),
    }
}

/// Prints the help or the version on standard output, or the error in the command line on standard error.
fn print_clap_message(message: &clap::Error) -> ExitCode {
    match message.print().and_then(|()| io::stdout().flush()) {
        Err(err) if !message.use_stderr() => unwritten(&err),
        _ => ExitCode::from(u8::try_from(message.exit_code()).unwrap_or(USAGE)),
    }
}

/// Writes one line of the command's result to standard output.
///
/// # Errors
/// When standard output cannot be written to: see [`unwritten`].
fn print(line: impl Display) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

/// Writes a document to standard output, and returns the exit status.
fn print_bytes(document: &[u8]) -> ExitCode {
    let mut output = io::stdout().lock();
    output
        .write_all(document)
        .and_then(|()| output.flush())
        .map_or_else(|err| unwritten(&err), |()| ExitCode::SUCCESS)
}

/// Reports why standard output cannot be written to, and returns the exit status. A closed pipe is not reported,
/// because its reader has exited.
fn unwritten(err: &io::Error) -> ExitCode {
    match err.kind() {
        io::ErrorKind::BrokenPipe => ExitCode::from(OUTPUT_CLOSED),
        _ => complain(format_args!("standard output cannot be written to: {err}"), FAILED),
    }
}

/// Writes a line to standard output. An error is ignored: the command continues without a reader.
fn say(line: impl Display) {
    let _ = print(line);
}

/// Writes one line about a problem to standard error, and returns the exit status.
fn complain(problem: impl Display, status: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "hearken: {}", terminal::harmless(&problem.to_string()));
    ExitCode::from(status)
}
