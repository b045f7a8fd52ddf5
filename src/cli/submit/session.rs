//! One task on the command line: how it is sent, followed and cancelled, and what the user is told about it.

use std::cell::Cell;
use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::timeout;

use super::calls::{self, GivenUp};
use super::format::{time, word};
use super::paper::Paper;
use super::progress::{Progress, State};
use crate::cli::interrupts::{Interrupt, Interrupts};
use crate::cli::output;
use crate::client::{Audio, Problem, Question, Sent, Server, Status, Task};

/// How long the command waits after Ctrl-C for the task's id and its cancellation.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(10);

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// It succeeded.
    Completed,
    /// An error ended it. The error was shown.
    Failed,
    /// The command line left a question open. The question was shown.
    Unclear,
    /// A signal ended it.
    Interrupted(Interrupt),
    /// Standard output has no reader any more.
    Unread,
}

/// The role of this process in the task: only the owner cancels it when it exits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The process that submitted it.
    Owner,
    /// A process that only joined.
    Guest,
}

/// What one task needs.
#[derive(Debug)]
pub(super) struct Session<'a> {
    pub(super) server: &'a Server,
    pub(super) progress: &'a Progress,
    pub(super) paper: Paper<'a>,
    pub(super) interrupts: Interrupts,
    /// True if the task's JSON is shown instead of its text.
    pub(super) json: bool,
    /// True if reasoning is shown, if there is any.
    pub(super) reasoning: bool,
    pub(super) role: Role,
    /// The options that lead to the same server, for lines that the user can type.
    pub(super) options: String,
    pub(super) started: Instant,
}

impl Session<'_> {
    /// Submits a task, and follows it until it ends; with `detached` only until it is accepted. If the question names
    /// no model, the only available one is used; `typed` is the command line without the model. `piped` is the line for
    /// audio that only this machine's network can reach.
    pub(super) async fn submit(
        mut self,
        audio: Audio,
        typed: &str,
        piped: Option<&str>,
        mut question: Question,
        detached: bool,
    ) -> Ending {
        let models = match self.models().await {
            Ok(models) => models,
            Err(ending) => return ending,
        };
        if question.model.is_empty() {
            question.model = match models.as_slice() {
                [only] => only.clone(),
                models => return self.ask_for_model(models, typed),
            };
        }
        let body = match question.about(audio) {
            Ok(body) => body,
            Err(err) => {
                self.progress.make_way();
                self.complain(&err.to_string());
                return Ending::Unclear;
            }
        };
        let task = match self.send(body, &models, piped).await {
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
                Ending::Failed => self.say_resume(&task.id, 0),
                Ending::Unread => self.cancel_unread(&task.id).await,
                _ => {}
            }
            return ending;
        }
        self.progress.note(format_args!("task {}", task.id));
        self.follow(&task, 0).await
    }

    /// Follows a task from the chunk with this number on.
    pub(super) async fn resume(mut self, id: &str, offset: u64) -> Ending {
        self.progress.show(State::Connecting);
        match self.interrupts.unless(self.server.task(id)).await {
            Ok(Ok(task)) => self.follow(&task, offset).await,
            Ok(Err(problem)) => self.refused(&problem).await,
            Err(interrupt) => Ending::Interrupted(interrupt),
        }
    }

    /// Cancels a task.
    pub(super) async fn cancel(mut self, id: &str) -> Ending {
        match self.interrupts.unless(self.server.cancel(id)).await {
            Ok(Ok(task)) => {
                self.say_cancelled(&task);
                if self.json { self.printed(&task.json).await } else { Ending::Completed }
            }
            Ok(Err(problem)) => self.refused(&problem).await,
            Err(interrupt) => Ending::Interrupted(interrupt),
        }
    }

    /// Sends a submit until it is accepted; `models` are those that the key may use.
    async fn send(&mut self, body: Bytes, models: &[String], piped: Option<&str>) -> Result<Task, Ending> {
        let (sent, wanted) = (Sent::default(), Cell::new(true));
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
                if let (Some("invalid_audio_url"), Some(piped)) = (given_up.problem.code(), piped) {
                    self.say(&format!(
                        "Servers fetch from public hosts only. Send the audio from here instead:\n  {piped}"
                    ));
                }
                if sent.may_be_taken() {
                    self.say_doubt();
                }
                return Err(ending);
            }
            Err(interrupt) => interrupt,
        };
        if sent.may_be_taken() {
            // There may be a task already, whose id is not known yet.
            wanted.set(false);
            self.say(
                "interrupted; waiting for the task's id, to cancel it (interrupt again to exit at once)",
            );
            if let Ok(Ok(Ok(task))) = self.interrupts.unless(timeout(LAST_WORDS, sending)).await {
                return Err(self.leave(&task.id, interrupt).await);
            }
        }
        if sent.may_be_taken() {
            self.say_doubt();
        } else {
            self.say("interrupted; nothing was submitted");
        }
        Err(Ending::Interrupted(interrupt))
    }

    /// Reports a call that failed.
    pub(super) async fn refused(&mut self, problem: &Problem) -> Ending {
        let told = super::explained(problem, self.server.url());
        self.tell(problem, &told).await
    }

    /// Reports a call that was given up after some tries.
    pub(super) async fn given_up(&mut self, GivenUp { problem, tried }: &GivenUp) -> Ending {
        let told = super::explained(problem, self.server.url());
        match tried {
            Some(tried) => self.tell(problem, &format!("{told}; gave up after {}", time(*tried))).await,
            None => self.tell(problem, &told).await,
        }
    }

    async fn tell(&mut self, problem: &Problem, told: &str) -> Ending {
        self.progress.make_way();
        self.complain(told);
        if let Problem::Refused(refusal) = problem
            && self.json
        {
            let _ = self.paper.line(&refusal.json).await;
        }
        Ending::Failed
    }

    /// Cancels a task whose reader has seen enough, as with `| head`. Nothing is printed; cancelling saves the cost.
    pub(super) async fn cancel_unread(&mut self, id: &str) {
        let cancelling = timeout(LAST_WORDS, self.server.cancel(id));
        let _ = self.interrupts.unless(cancelling).await;
    }

    /// Cancels the task before the command exits.
    pub(super) async fn leave(&mut self, id: &str, interrupt: Interrupt) -> Ending {
        self.progress.make_way();
        self.say(&format!("cancelling {id} (interrupt again to exit at once)"));
        let cancelling = timeout(LAST_WORDS, self.server.cancel(id));
        match self.interrupts.unless(cancelling).await {
            Ok(Ok(Ok(task))) => {
                self.say_cancelled(&task);
                if self.json {
                    let _ = timeout(LAST_WORDS, self.paper.line(&task.json)).await;
                }
            }
            Ok(Ok(Err(_)) | Err(_)) | Err(_) => {
                self.say("the task could not be cancelled, and may go on");
                self.say_resume(id, 0);
            }
        }
        Ending::Interrupted(interrupt)
    }

    fn say_cancelled(&self, task: &Task) {
        match (&task.error, task.status) {
            (Some(error), _) if error.code == "task_cancelled" => self.say("cancelled"),
            (_, Status::Completed) => self.say("the task had completed before"),
            (_, Status::Failed) => self.say("the task had failed before"),
            (_, Status::Pending | Status::Processing) => self.say("the task is being cancelled"),
        }
    }

    fn say_doubt(&self) {
        let url = self.server.url();
        self.say(&format!("the server may have accepted a task: look under Tasks at {url}/"));
    }

    /// Prints the command that continues reading.
    pub(super) fn say_resume(&self, id: &str, offset: u64) {
        let offset = if offset > 0 { format!(" --offset {offset}") } else { String::new() };
        self.say(&format!("continue with: hearken submit --resume {}{offset}{}", word(id), self.options));
    }

    /// Prints the only line of the command's output.
    async fn printed(&mut self, line: &str) -> Ending {
        self.progress.make_way();
        match self.paper.line(line).await {
            Ok(()) => Ending::Completed,
            Err(err) if self.paper.has_lost_its_reader(&err) => Ending::Unread,
            Err(err) => {
                self.unwritten(&err);
                Ending::Failed
            }
        }
    }

    /// Reports why standard output could not be written to.
    pub(super) fn unwritten(&self, err: &io::Error) {
        self.complain(&format!("standard output: {err}"));
    }

    pub(super) fn note(&mut self, line: &str) {
        if self.progress.is_seen() {
            self.paper.make_room();
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
