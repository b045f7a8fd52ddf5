//! One task from the command line on: sent, joined, cancelled, and what is told of it.

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

/// How long a task is given to become known, and to be cancelled, after Ctrl-C.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(10);

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// As wished.
    Completed,
    /// With an error, which was told.
    Failed,
    /// With a question that the command line has to answer, which was told.
    Unclear,
    /// By a signal.
    Interrupted(Interrupt),
    /// Nobody reads standard output any more.
    Unread,
}

/// The part of this process in the task: leaving ends the task of its owner only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The process that submitted it.
    Owner,
    /// A process that only joined.
    Guest,
}

/// What stands around one task.
#[derive(Debug)]
pub(super) struct Session<'a> {
    pub(super) server: &'a Server,
    pub(super) progress: &'a Progress,
    pub(super) paper: Paper<'a>,
    pub(super) interrupts: Interrupts,
    /// True if the task's JSON is shown instead of its text.
    pub(super) json: bool,
    /// True if reasoning is shown, where there is any.
    pub(super) reasoning: bool,
    pub(super) role: Role,
    /// The options that lead to the same server, for lines that can be typed.
    pub(super) options: String,
    pub(super) started: Instant,
}

impl Session<'_> {
    /// Submits, and follows the task to its end; `detached`: leaves it as soon as it is accepted. A question without a
    /// model is asked of the only one there is; `typed` is the line that asks it, without the model. `piped` is the line
    /// for audio whose URL only this machine's network can reach.
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
            self.complain("standard output is closed, so nothing of the answer is shown here");
            self.say_resume(&task.id, 0);
        }
        if detached {
            let line = if self.json { &task.json } else { &task.id };
            let ending = self.printed(line).await;
            match ending {
                // Its id is told in any case: nobody else has it.
                Ending::Failed => self.say_resume(&task.id, 0),
                Ending::Unread => self.cancel_unread(&task.id).await,
                _ => {}
            }
            return ending;
        }
        self.progress.note(format_args!("task {}", task.id));
        self.follow(&task, 0).await
    }

    /// Joins a task, from the chunk with this number on.
    pub(super) async fn resume(mut self, id: &str, offset: u64) -> Ending {
        self.progress.show(State::Connecting);
        match self.interrupts.unless(self.server.task(id)).await {
            Ok(Ok(task)) => self.follow(&task, offset).await,
            Ok(Err(problem)) => self.refused(&problem).await,
            Err(interrupt) => Ending::Interrupted(interrupt),
        }
    }

    /// Ends a task.
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

    /// Sends a submit until it is accepted; `models` is what the key may use.
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
            // There may be a task by now, whose id is not known: it is about to be.
            wanted.set(false);
            self.say("interrupted; waiting for the task's id, to cancel it (once more: leave at once)");
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

    /// What the user is told of a call that came to nothing.
    pub(super) async fn refused(&mut self, problem: &Problem) -> Ending {
        let told = super::explained(problem, self.server.url());
        self.tell(problem, &told).await
    }

    /// The same of one that was tried for some time.
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

    /// Cancels a task whose reader has what it wanted, as in `| head`: nothing is said, and nothing more is paid for.
    pub(super) async fn cancel_unread(&mut self, id: &str) {
        let cancelling = timeout(LAST_WORDS, self.server.cancel(id));
        let _ = self.interrupts.unless(cancelling).await;
    }

    /// Cancels a task on the way out.
    pub(super) async fn leave(&mut self, id: &str, interrupt: Interrupt) -> Ending {
        self.progress.make_way();
        self.say(&format!("cancelling {id} (once more: leave at once)"));
        let cancelling = timeout(LAST_WORDS, self.server.cancel(id));
        match self.interrupts.unless(cancelling).await {
            Ok(Ok(Ok(task))) => {
                self.say_cancelled(&task);
                if self.json {
                    let _ = timeout(LAST_WORDS, self.paper.line(&task.json)).await;
                }
            }
            Ok(Ok(Err(_)) | Err(_)) | Err(_) => {
                self.say("it could not be cancelled, and may go on");
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
        self.say(&format!("it is not known whether there is a task now: look under Tasks at {url}/"));
    }

    /// The line that goes on reading.
    pub(super) fn say_resume(&self, id: &str, offset: u64) {
        let offset = if offset > 0 { format!(" --offset {offset}") } else { String::new() };
        self.say(&format!("go on with: hearken submit --resume {}{offset}{}", word(id), self.options));
    }

    /// Prints the only line that there is.
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

    /// Tells why standard output did not take what was written.
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
