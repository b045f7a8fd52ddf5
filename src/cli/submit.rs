//! `hearken submit`: sends audio to a server, and prints the answer on standard output as it streams.

mod answer_output;
mod calls;
mod figures;
mod format;
mod models;
mod progress;
mod reading;
mod session;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::ArgGroup;

use self::answer_output::AnswerOutput;
pub(super) use self::format::word;
use self::progress::ProgressDisplay;
use self::session::{CommandEnd, Session, TaskRole};
use super::interrupts::Interrupts;
use super::{FAILED, OUTPUT_CLOSED, USAGE, complain, non_empty, number};
use crate::client;
use crate::client::{AudioInput, BaseUrl, CallError, Profile, ProfileInput, Server, SubmitOptions};
use crate::secret::Secret;
use crate::task::TaskId;

/// The text below the options in `--help`.
const HELP: &str = "\
SERVER AND KEY
  Options take precedence over HEARKEN_URL and HEARKEN_API_KEY, and these over what `hearken login` has saved. A saved
  key is sent only to the server that it was saved for. Other users of this machine may see a key given with --key.

OUTPUT
  Standard output gets the text as it comes, and nothing else: `hearken submit a.mp3 >a.txt`. Standard error gets the
  progress, as one line that changes on a terminal and as plain lines elsewhere, and the model's reasoning, dimmed
  unless NO_COLOR is set. If the connection is lost, hearken connects again and continues after the last text that it
  received. It gives up after five minutes without a lasting connection and without text.

INTERRUPTING
  Ctrl-C, SIGTERM or a closed terminal (SIGHUP, unless started by nohup) cancels the task; after a second signal, the
  command exits at once. The task is also cancelled if the reader of standard output exits, as with `| head`, even before
  the first text, or if --detach cannot write the task's id to its reader. With --resume the task is never cancelled.

EXIT STATUS
  0    the task has completed; with --detach: the server has accepted it
  1    the task failed or was refused, or the server cannot be reached
  2    the command line is wrong: no key, no such file, no model chosen
  130  Ctrl-C, 143 SIGTERM, 129 SIGHUP, 141 the reader of standard output has exited

EXAMPLES
  hearken submit call.mp3 --prompt 'What is said, and in what mood?'
  arecord -d 5 -f cd | hearken submit - --model gemini-2.5-flash
  hearken submit https://example.org/talk.ogg --json | jq .results[0].usage
  id=$(hearken submit talk.ogg --detach); hearken submit --resume $id";

/// Send audio to a server and print the answer as it streams
#[derive(Debug, clap::Args)]
#[command(after_help = HELP, group = ArgGroup::new("what").required(true).args(["audio", "resume", "cancel"]))]
pub(super) struct Arguments {
    /// File (its path or file:// URL), - for standard input, or an http(s) URL that the server fetches
    #[arg(value_name = "AUDIO")]
    audio: Option<OsString>,
    /// Model to use [default: the login's, or the only one that the key may use]
    #[arg(long, short, value_name = "M", value_parser = non_empty::text)]
    model: Option<String>,
    /// What the model should do with the audio [default: the server's, a transcript]
    #[arg(long, short, value_name = "P", value_parser = non_empty::text)]
    prompt: Option<String>,
    /// The model's role, and how it should answer [default: none]
    #[arg(long, value_name = "P", value_parser = non_empty::text)]
    system_prompt: Option<String>,
    /// Most tokens of the answer [default: the model's limit]
    #[arg(long, value_name = "N", value_parser = number::positive, allow_negative_numbers = true)]
    max_tokens: Option<u64>,
    /// How freely the model chooses its words, from 0 to 2 [default: the model's]
    #[arg(long, value_name = "T", value_parser = temperature, allow_negative_numbers = true)]
    temperature: Option<f64>,
    /// Request the model's reasoning, and show it on standard error
    #[arg(long)]
    reasoning: bool,
    /// Print the task's id as soon as it is accepted, and exit
    #[arg(long, conflicts_with_all = ["resume", "cancel"])]
    detach: bool,
    /// Follow a task instead of submitting one, and print all of its text
    #[arg(long, value_name = "TASK_ID", value_parser = task_id, conflicts_with_all = QUESTION)]
    resume: Option<String>,
    /// With --resume: number of the first chunk to print, from 0
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = number::whole, allow_negative_numbers = true, conflicts_with_all = ["audio", "cancel"])]
    offset: u64,
    /// Cancel a task instead of submitting one
    #[arg(long, value_name = "TASK_ID", value_parser = task_id, conflicts_with_all = QUESTION)]
    cancel: Option<String>,
    /// Print the finished task, with the whole ChatCompletion or the error, as one line of JSON instead of the text
    #[arg(long)]
    json: bool,
    /// Show no progress, only errors
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    server: ServerArguments,
}

impl Arguments {
    /// Returns a command line that submits this audio again with the same options. The user has to add the key and the
    /// model.
    fn command_line(&self, audio: &OsStr) -> String {
        let question = [
            ("prompt", self.prompt.clone()),
            ("system-prompt", self.system_prompt.clone()),
            ("max-tokens", self.max_tokens.map(|number| number.to_string())),
            ("temperature", self.temperature.map(|number| number.to_string())),
        ];
        let flags = [
            ("reasoning", self.reasoning),
            ("detach", self.detach),
            ("json", self.json),
            ("quiet", self.quiet),
        ];
        let mut line = format!("hearken submit {}", word(&audio.to_string_lossy()));
        for (option, value) in question {
            line += &value.map(|value| format!(" --{option} {}", word(&value))).unwrap_or_default();
        }
        for (flag, _) in flags.into_iter().filter(|(_, given)| *given) {
            line += &format!(" --{flag}");
        }
        line += &self.server.command_line();
        line += if self.server.key.is_some() { " --key ..." } else { "" };
        line
    }
}

impl Arguments {
    /// Returns a command line that fetches the audio on this machine and submits it. Returns `None` unless the audio's
    /// URL leads to this machine or its network, which a server refuses to fetch.
    fn piped_command(&self) -> Option<String> {
        let audio = self.audio.as_ref()?;
        let url = audio.to_str().filter(|url| client::is_local(url))?;
        let model = self.model.as_ref().map(|model| format!(" --model {}", word(model))).unwrap_or_default();
        Some(format!("curl -sSf {} | {}{model}", word(url), self.command_line(OsStr::new("-"))))
    }
}

/// The options that only a new task can have.
const QUESTION: [&str; 6] = ["model", "prompt", "system_prompt", "max_tokens", "temperature", "reasoning"];

/// The server and the key.
#[derive(Debug, clap::Args)]
pub(super) struct ServerArguments {
    /// Base URL of the server [env: HEARKEN_URL] [default: the login's, else http://127.0.0.1:8080]
    #[arg(long, value_name = "BASE", value_parser = non_empty::text)]
    url: Option<String>,
    /// API key [env: HEARKEN_API_KEY] [default: the login's]
    #[arg(long, value_name = "K")]
    key: Option<String>,
    /// Certificate authorities (PEM file) to trust for https [default: the login's, else the public ones]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl ServerArguments {
    fn profile(self) -> Result<Profile, String> {
        let said = ProfileInput { url: self.url, key: self.key.map(Secret::new) };
        let mut profile = Profile::of_process(&said).map_err(|err| err.to_string())?;
        profile.ca = self.ca.or(profile.ca);
        Ok(profile)
    }

    /// Returns the options for a line that is typed later, without the key.
    fn command_line(&self) -> String {
        let url = self.url.as_ref().map(|url| format!(" --url {}", word(url)));
        let ca = self.ca.as_ref().map(|ca| format!(" --ca {}", word(&ca.display().to_string())));
        [url, ca].into_iter().flatten().collect()
    }
}

/// The action that the command line requests.
enum SubmitAction {
    Submit {
        audio: AudioInput,
        command_line: String,
        piped_command: Option<String>,
        question: SubmitOptions,
        detached: bool,
    },
    Resume {
        id: String,
        offset: u64,
    },
    Cancel {
        id: String,
    },
}

pub(super) fn run(arguments: Arguments) -> ExitCode {
    let started = Instant::now();
    let Arguments { json, quiet, reasoning, .. } = arguments;
    let options = arguments.server.command_line();
    let (action, profile) = match action(arguments) {
        Ok(decided) => decided,
        Err(problem) => return complain(problem, USAGE),
    };
    // The runtime is dropped only when the process ends; the reason is below.
    let runner = actix_rt::System::new();
    let ending = runner.block_on(async {
        let server = Server::of(&profile).map_err(|err| complain(err, USAGE))?;
        let interrupts = Interrupts::listen()
            .map_err(|err| complain(format_args!("hearken cannot listen for signals: {err}"), FAILED))?;
        let progress = ProgressDisplay::new(quiet);
        let session = Session {
            server: &server,
            progress: &progress,
            output: AnswerOutput::new(&progress),
            interrupts,
            json,
            reasoning: reasoning || !quiet,
            role: if matches!(action, SubmitAction::Submit { .. }) {
                TaskRole::Submitter
            } else {
                TaskRole::Reader
            },
            options,
            started,
        };
        let ending = match action {
            SubmitAction::Cancel { id } => session.cancel(&id).await,
            SubmitAction::Resume { id, offset } => session.resume(&id, offset).await,
            SubmitAction::Submit { audio, command_line, piped_command, question, detached } => {
                session.submit(audio, &command_line, piped_command.as_deref(), question, detached).await
            }
        };
        progress.hide();
        Ok(ending)
    });
    match ending {
        Ok(CommandEnd::Completed) => ExitCode::SUCCESS,
        Ok(CommandEnd::Failed) => ExitCode::from(FAILED),
        Ok(CommandEnd::Unclear) => ExitCode::from(USAGE),
        Ok(CommandEnd::OutputClosed) => ExitCode::from(OUTPUT_CLOSED),
        // The thread that writes to standard output may wait for a reader forever, and the runtime would wait for it.
        Ok(CommandEnd::Interrupted(interrupt)) => std::process::exit(interrupt.status().into()),
        Err(status) => status,
    }
}

/// Returns what the command should do, and the server that should do it.
fn action(arguments: Arguments) -> Result<(SubmitAction, Profile), String> {
    let command_line =
        arguments.audio.as_ref().map(|audio| arguments.command_line(audio)).unwrap_or_default();
    let piped_command = arguments.piped_command();
    let Arguments { model, prompt, system_prompt, max_tokens, temperature, reasoning, .. } = arguments;
    let profile = arguments.server.profile()?;
    let action = match (arguments.audio, arguments.resume, arguments.cancel) {
        (Some(named), ..) => {
            let model = model.or_else(|| profile.model.clone()).unwrap_or_default();
            let question = SubmitOptions { model, prompt, system_prompt, max_tokens, temperature, reasoning };
            let audio = AudioInput::named(&named).map_err(|err| err.to_string())?;
            SubmitAction::Submit { audio, command_line, piped_command, question, detached: arguments.detach }
        }
        (None, Some(id), _) => SubmitAction::Resume { id, offset: arguments.offset },
        (None, None, id) => SubmitAction::Cancel { id: id.unwrap_or_default() },
    };
    Ok((action, profile))
}

/// Returns a problem with a server, with what to do about it.
pub(super) fn explained(problem: &CallError, url: &BaseUrl) -> String {
    match problem {
        CallError::Unreachable(why) => format!(
            "no connection to {url}: {why}; check that hearken runs there, or name another server with --url or \
             HEARKEN_URL"
        ),
        CallError::Refused(refusal) if refusal.status == 401 => format!(
            "{url} does not know this API key; create a key on its machine with `hearken keys create NAME`, then run \
             `hearken login`"
        ),
        CallError::Refused(refusal) if refusal.error.code == "not_found" && url.has_path() => format!(
            "hearken answers, but has nothing at the path of {url}; leave out the path after host and port, as in \
             http://127.0.0.1:8080"
        ),
        CallError::Disconnected(why) => format!("{url}: {why}; try again"),
        CallError::NotHearken(why) => format!("{url}: {why}"),
        CallError::Refused(_) => problem.to_string(),
    }
}

fn temperature(text: &str) -> Result<f64, &'static str> {
    let temperature = text.parse().ok().filter(|number| (0.0..=2.0).contains(number));
    temperature.ok_or("write a number from 0 to 2")
}

fn task_id(text: &str) -> Result<String, &'static str> {
    let id =
        text.trim().parse::<TaskId>().map_err(|_| "a task's id looks like task-llm-1776874565-yq3szvcu")?;
    Ok(id.to_string())
}
