//! One task on the command line: how it is sent, read and cancelled, and what is reported to the user.

use std::cell::Cell;
use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::timeout;

use super::answer_output::AnswerOutput;
use super::calls::{self, GivenUp};
use super::format::{time, word};
use super::progress::{ProgressDisplay, ShownState};
use crate::cli::interrupts::{Interrupt, Interrupts};
use crate::cli::output;
use crate::client::{AudioInput, CallError, Server, Status, SubmitOptions, Task, UploadProgress};

/// How long the command waits after Ctrl-C for the task's id, and for its cancellation.
pub(super) const CANCEL_TIMEOUT: Duration = Duration::from_secs(10);

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CommandEnd {
    /// The command succeeded.
    Completed,
    /// An error ended the command. The error was shown.
    Failed,
    /// The command line is incomplete. What it lacks was shown.
    Unclear,
    /// A signal ended the command.
    Interrupted(Interrupt),
    /// Standard output has no reader any more.
    OutputClosed,
}

/// The role of this process in the task. Only the submitter cancels the task when it exits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TaskRole {
    /// The process that submitted the task.
    Submitter,
    /// A process that only reads the task's stream.
    Reader,
}

/// The state of a command that submits, reads or cancels one task.
#[derive(Debug)]
pub(super) struct Session<'a> {
    pub(super) server: &'a Server,
    pub(super) progress: &'a ProgressDisplay,
    pub(super) output: AnswerOutput<'a>,
    pub(super) interrupts: Interrupts,
    /// True if the task's JSON is shown instead of its text.
    pub(super) json: bool,
    /// True if the model's reasoning is shown.
    pub(super) reasoning: bool,
    pub(super) role: TaskRole,
    /// The options that lead to the same server, for lines that the user can type.
    pub(super) options: String,
    pub(super) started: Instant,
}

impl Session<'_> {
    /// Submits a task, and reads it until it ends; with `detached`, only until it is accepted. If the options name no
    /// model, the only available one is used. Messages repeat `command_line`, which has no model, and `piped_command`,
    /// which is for audio that only this machine's network can reach.
    pub(super) async fn submit(
        mut self,
        audio: AudioInput,
        command_line: &str,
        piped_command: Option<&str>,
        mut question: SubmitOptions,
        detached: bool,
    ) -> CommandEnd {
        let models = match self.models().await {
            Ok(models) => models,
            Err(ending) => return ending,
        };
        if question.model.is_empty() {
            question.model = match models.as_slice() {
                [only] => only.clone(),
                models => return self.ask_for_model(models, command_line),
            };
        }
        let body = match question.body_with(audio) {
            Ok(body) => body,
            Err(err) => {
                self.progress.hide();
                self.complain(&err.to_string());
                return CommandEnd::Unclear;
            }
        };
        let task = match self.send(body, &models, piped_command).await {
            Ok(task) => task,
            Err(ending) => return ending,
        };
        if output::is_closed() {
            self.complain("standard output is closed, so the answer is not shown here");
            self.say_resume(&task.id, 0);
        }
        if detached {
            let line = if self.json { &task.json } else { &task.id };
            let ending = self.printed(line).await;
            match ending {
                // The id is always shown: no other process has it.
                CommandEnd::Failed => self.say_resume(&task.id, 0),
                CommandEnd::OutputClosed => self.cancel_unread(&task.id).await,
                _ => {}
            }
            return ending;
        }
        self.progress.note(format_args!("task {}", task.id));
        self.follow(&task, 0).await
    }

    /// Reads a task from the chunk with this number on.
    pub(super) async fn resume(mut self, id: &str, offset: u64) -> CommandEnd {
        self.progress.show(ShownState::Connecting);
        match self.interrupts.unless(self.server.task(id)).await {
            Ok(Ok(task)) => self.follow(&task, offset).await,
            Ok(Err(problem)) => self.refused(&problem).await,
            Err(interrupt) => CommandEnd::Interrupted(interrupt),
        }
    }

    /// Cancels a task.
    pub(super) async fn cancel(mut self, id: &str) -> CommandEnd {
        match self.interrupts.unless(self.server.cancel(id)).await {
            Ok(Ok(task)) => {
                self.say_cancelled(&task);
                if self.json { self.printed(&task.json).await } else { CommandEnd::Completed }
            }
            Ok(Err(problem)) => self.refused(&problem).await,
            Err(interrupt) => CommandEnd::Interrupted(interrupt),
        }
    }

    /// Sends a submit until the server accepts it. `models` are the models that the key may use.
    async fn send(
        &mut self,
        body: Bytes,
        models: &[String],
        piped_command: Option<&str>,
    ) -> Result<Task, CommandEnd> {
        let (sent, wanted) = (UploadProgress::default(), Cell::new(true));
        let (server, progress) = (self.server, self.progress);
        let sending = calls::send(server, progress, body, &sent, &wanted);
        tokio::pin!(sending);
        let interrupt = match self.interrupts.unless(&mut sending).await {
            Ok(Ok(task)) => return Ok(task),
            Ok(Err(given_up)) => {
                let ending = self.given_up(&given_up).await;
                if matches!(given_up.problem.code(), Some("no_available_model" | "model_not_allowed")) {
                    self.say_models(models);
                }
                if let (Some("invalid_audio_url"), Some(piped_command)) =
                    (given_up.problem.code(), piped_command)
                {
                    self.say(&format!(
                        "Servers fetch from public hosts only. Send the audio from here instead:\n  {piped_command}"
                    ));
                }
                if sent.may_be_accepted() {
                    self.say_may_be_accepted();
                }
                return Err(ending);
            }
            Err(interrupt) => interrupt,
        };
        if sent.may_be_accepted() {
            // The server may have created a task. Its id is not known yet.
            wanted.set(false);
            self.say("interrupted; waiting for the task's id to cancel it (interrupt again to exit at once)");
            if let Ok(Ok(Ok(task))) = self.interrupts.unless(timeout(CANCEL_TIMEOUT, sending)).await {
                return Err(self.cancel_and_exit(&task.id, interrupt).await);
            }
        }
        if sent.may_be_accepted() {
            self.say_may_be_accepted();
        } else {
            self.say("interrupted; nothing was submitted");
        }
        Err(CommandEnd::Interrupted(interrupt))
    }

    /// Reports a call that failed.
    pub(super) async fn refused(&mut self, problem: &CallError) -> CommandEnd {
        let message = super::explained(problem, self.server.url());
        self.report(problem, &message).await
    }

    /// Reports a call that has failed and is not repeated any more.
    pub(super) async fn given_up(&mut self, GivenUp { problem, tried }: &GivenUp) -> CommandEnd {
        let message = super::explained(problem, self.server.url());
        match tried {
            Some(tried) => self.report(problem, &format!("{message}; gave up after {}", time(*tried))).await,
            None => self.report(problem, &message).await,
        }
    }

    async fn report(&mut self, problem: &CallError, message: &str) -> CommandEnd {
        self.progress.hide();
        self.complain(message);
        if let CallError::Refused(refusal) = problem
            && self.json
        {
            let _ = self.output.line(&refusal.json).await;
        }
        CommandEnd::Failed
    }

    /// Cancels a task after the reader of standard output has exited, as with `| head`. Nothing is printed; cancelling
    /// saves the cost.
    pub(super) async fn cancel_unread(&mut self, id: &str) {
        let cancelling = timeout(CANCEL_TIMEOUT, self.server.cancel(id));
        let _ = self.interrupts.unless(cancelling).await;
    }

    /// Cancels the task before the command exits.
    pub(super) async fn cancel_and_exit(&mut self, id: &str, interrupt: Interrupt) -> CommandEnd {
        self.progress.hide();
        self.say(&format!("cancelling {id} (interrupt again to exit at once)"));
        let cancelling = timeout(CANCEL_TIMEOUT, self.server.cancel(id));
        match self.interrupts.unless(cancelling).await {
            Ok(Ok(Ok(task))) => {
                self.say_cancelled(&task);
                if self.json {
                    let _ = timeout(CANCEL_TIMEOUT, self.output.line(&task.json)).await;
                }
            }
            Ok(Ok(Err(_)) | Err(_)) | Err(_) => {
                self.say("the task could not be cancelled, and may still be running");
                self.say_resume(id, 0);
            }
        }
        CommandEnd::Interrupted(interrupt)
    }

    fn say_cancelled(&self, task: &Task) {
        match (&task.error, task.status) {
            (Some(error), _) if error.code == "task_cancelled" => self.say("cancelled"),
            (_, Status::Completed) => self.say("the task had already completed"),
            (_, Status::Failed) => self.say("the task had already failed"),
            (_, Status::Pending | Status::Processing) => self.say("the task is being cancelled"),
        }
    }

    fn say_may_be_accepted(&self) {
        let url = self.server.url();
        self.say(&format!("the server may have accepted the task; look for it under Tasks at {url}/"));
    }

    /// Prints the command that continues reading.
    pub(super) fn say_resume(&self, id: &str, offset: u64) {
        let offset = if offset > 0 { format!(" --offset {offset}") } else { String::new() };
        self.say(&format!("continue with: hearken submit --resume {}{offset}{}", word(id), self.options));
    }

    /// Prints the only line of the command's output.
    async fn printed(&mut self, line: &str) -> CommandEnd {
        self.progress.hide();
        match self.output.line(line).await {
            Ok(()) => CommandEnd::Completed,
            Err(err) if self.output.is_reader_gone(&err) => CommandEnd::OutputClosed,
            Err(err) => {
                self.unwritten(&err);
                CommandEnd::Failed
            }
        }
    }

    /// Reports why standard output could not be written to.
    pub(super) fn unwritten(&self, err: &io::Error) {
        self.complain(&format!("standard output cannot be written to: {err}"));
    }

    pub(super) fn note(&mut self, line: &str) {
        if self.progress.is_shown() {
            self.output.end_lines();
            self.progress.note(line);
        }
    }

    pub(super) fn say(&self, line: &str) {
        self.progress.say(line);
    }

    pub(super) fn complain(&self, line: &str) {
        self.progress.say(format_args!("hearken: {line}"));
    }
}
