//! One task from the command line on: sent, joined, cancelled, and what is told of it.

use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::timeout;

use super::calls::{self, GivenUp};
use super::format::word;
use super::interrupts::{Interrupt, Interrupts};
use super::paper::Paper;
use super::progress::{Progress, State};
use super::reading::Role;
use crate::client::audio::Audio;
use crate::client::problem::Problem;
use crate::client::replies::{Status, Task};
use crate::client::request::Question;
use crate::client::server::Server;
use crate::client::upload::Sent;

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

/// What stands around one task.
#[derive(Debug)]
pub(super) struct Session<'a> {
    pub(super) server: &'a Server,
    pub(super) progress: &'a Progress,
    pub(super) paper: Paper<'a>,
    pub(super) interrupts: Interrupts,
    /// Is the task's JSON wanted instead of its text?
    pub(super) json: bool,
    /// Is reasoning shown, where there is any?
    pub(super) reasoning: bool,
    /// The options that lead to the same server, for lines that can be typed.
    pub(super) options: String,
    pub(super) started: Instant,
}

impl Session<'_> {
    /// Submits, and follows the task to its end; `detached`: leaves it as soon as it is accepted. A question without a
    /// model is asked of the only one there is; `named` is the audio as it was typed.
    pub(super) async fn submit(
        mut self,
        audio: Audio,
        named: &str,
        mut question: Question,
        detached: bool,
    ) -> Ending {
        question.model = match self.model(question.model, named).await {
            Ok(model) => model,
            Err(ending) => return ending,
        };
        let body = match question.about(audio) {
            Ok(body) => body,
            Err(err) => {
                self.progress.make_way();
                self.complain(&err.to_string());
                return Ending::Unclear;
            }
        };
        let task = match self.send(body).await {
            Ok(task) => task,
            Err(ending) => return ending,
        };
        if detached {
            let line = if self.json { &task.json } else { &task.id };
            let ending = self.printed(line).await;
            if ending == Ending::Failed {
                // Its id is told in any case: nobody else has it.
                self.say_resume(&task.id, 0);
            }
            return ending;
        }
        self.progress.note(format_args!("task {}", task.id));
        self.follow(&task, 0, Role::Owner).await
    }

    /// Joins a task, from the chunk with this number on.
    pub(super) async fn resume(mut self, id: &str, offset: u64) -> Ending {
        self.progress.show(State::Connecting);
        match self.interrupts.unless(self.server.task(id)).await {
            Ok(Ok(task)) => self.follow(&task, offset, Role::Guest).await,
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

    /// The model that is wished for, or the only one that there is. The server is asked in any case: one that is not
    /// there, or a key that it does not know, shows before a large upload and not as its cut connection.
    async fn model(&mut self, wished: String, named: &str) -> Result<String, Ending> {
        self.progress.show(State::Connecting);
        let mut models = match self.interrupts.unless(self.server.models()).await {
            Ok(Ok(models)) => models,
            Ok(Err(problem)) => return Err(self.refused(&problem).await),
            Err(interrupt) => {
                self.progress.make_way();
                self.say("interrupted; nothing was submitted");
                return Err(Ending::Interrupted(interrupt));
            }
        };
        if !wished.is_empty() {
            return Ok(wished);
        }
        if let [_] = models.as_slice() {
            return Ok(models.remove(0));
        }
        self.progress.make_way();
        match models.first() {
            None => self.complain("this key may use no model that has a name; name one with --model"),
            Some(first) => {
                self.complain("which model? This key may use:");
                models.iter().for_each(|model| self.say(&format!("  {model}")));
                let line = format!("hearken submit {} --model {}{}", word(named), word(first), self.options);
                self.say(&format!("Choose one, as in:\n  {line}"));
            }
        }
        Err(Ending::Unclear)
    }

    /// Sends a submit until it is accepted.
    async fn send(&mut self, body: Bytes) -> Result<Task, Ending> {
        let sent = Sent::default();
        let (server, progress) = (self.server, self.progress);
        let sending = calls::send(server, progress, body, &sent);
        tokio::pin!(sending);
        let interrupt = match self.interrupts.unless(&mut sending).await {
            Ok(Ok(task)) => return Ok(task),
            Ok(Err(GivenUp { problem, doubtful })) => {
                let ending = self.refused(&problem).await;
                if doubtful {
                    self.say_doubt();
                }
                return Err(ending);
            }
            Err(interrupt) => interrupt,
        };
        if !sent.ever_whole() {
            self.say("interrupted; nothing was submitted");
            return Err(Ending::Interrupted(interrupt));
        }
        // There may be a task by now, whose id is not known: it is about to be.
        self.say("interrupted; waiting for the task's id, to cancel it (once more: leave at once)");
        Err(match self.interrupts.unless(timeout(LAST_WORDS, sending)).await {
            Ok(Ok(Ok(task))) => self.leave(&task.id, interrupt).await,
            Ok(Ok(Err(_)) | Err(_)) | Err(_) => {
                self.say_doubt();
                Ending::Interrupted(interrupt)
            }
        })
    }

    /// What the user is told of a call that came to nothing.
    pub(super) async fn refused(&mut self, problem: &Problem) -> Ending {
        self.progress.make_way();
        self.complain(&super::explained(problem, self.server.url()));
        if let Problem::Refused(refusal) = problem
            && self.json
        {
            let _ = self.paper.line(&refusal.json).await;
        }
        Ending::Failed
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
