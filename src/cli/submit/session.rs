//! One task from the command line to its end: sent, shown, followed, cancelled.

use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::timeout;

use super::calls;
use super::format::{time, word};
use super::interrupts::{Interrupt, Interrupts};
use super::paper::Paper;
use super::progress::{Progress, State};
use super::tally::Tally;
use crate::client::audio::Audio;
use crate::client::following::{Following, Heard};
use crate::client::problem::Problem;
use crate::client::replies::{Chunk, Status, Task, TaskError};
use crate::client::request::Question;
use crate::client::server::Server;
use crate::client::upload::Sent;

/// How long a task is given to become known, and to be cancelled, after Ctrl-C.
const LAST_WORDS: Duration = Duration::from_secs(10);

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

/// Who ends the task by leaving?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Whoever submitted it.
    Owner,
    /// Nobody who only joined.
    Guest,
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
            let line = if self.json { task.json } else { task.id };
            return self.printed(&line).await.map_or(Ending::Unread, |()| Ending::Completed);
        }
        self.progress.note(format_args!("task {}", task.id));
        self.follow(&task, 0, Role::Owner).await
    }

    /// Joins a task, from the chunk with this number on.
    pub(super) async fn resume(mut self, id: &str, offset: u64) -> Ending {
        self.progress.show(State::Connecting);
        match self.server.task(id).await {
            Ok(task) => self.follow(&task, offset, Role::Guest).await,
            Err(problem) => self.refused(&problem).await,
        }
    }

    /// Ends a task.
    pub(super) async fn cancel(mut self, id: &str) -> Ending {
        match self.server.cancel(id).await {
            Ok(task) => {
                self.say_cancelled(&task);
                let line = if self.json { self.printed(&task.json).await } else { Ok(()) };
                line.map_or(Ending::Unread, |()| Ending::Completed)
            }
            Err(problem) => self.refused(&problem).await,
        }
    }

    /// The model that is wished for, or the only one that there is. The server is asked in any case: one that is not
    /// there, or a key that it does not know, shows before a large upload and not as its cut connection.
    async fn model(&mut self, wished: String, named: &str) -> Result<String, Ending> {
        self.progress.show(State::Connecting);
        let models = tokio::select! {
            models = self.server.models() => models,
            interrupt = self.interrupts.next() => {
                self.progress.make_way();
                self.say("interrupted; nothing was submitted");
                return Err(Ending::Interrupted(interrupt));
            }
        };
        let mut models = match models {
            Ok(models) => models,
            Err(problem) => return Err(self.refused(&problem).await),
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
        let interrupt = tokio::select! {
            task = &mut sending => match task {
                Ok(task) => return Ok(task),
                Err(problem) => return Err(self.refused(&problem).await),
            },
            interrupt = self.interrupts.next() => interrupt,
        };
        if !sent.ever_whole() {
            self.say("interrupted; nothing was submitted");
            return Err(Ending::Interrupted(interrupt));
        }
        // There may be a task by now, whose id is not known: it is about to be.
        self.say("interrupted; waiting for the task's id, to cancel it (once more: leave at once)");
        let known = tokio::select! {
            known = timeout(LAST_WORDS, sending) => known.ok(),
            _ = self.interrupts.next() => None,
        };
        Err(match known {
            Some(Ok(task)) => self.leave(&task.id, interrupt).await,
            Some(Err(_)) | None => {
                self.say("it is not known whether there is a task now");
                Ending::Interrupted(interrupt)
            }
        })
    }

    async fn follow(&mut self, task: &Task, offset: u64, role: Role) -> Ending {
        let mut following = Following::new(self.server, &task.id, offset);
        self.progress.show(if task.status == Status::Pending { State::Queued } else { State::Thinking });
        let ending = self.listen(task, &mut following, offset).await;
        self.progress.make_way();
        self.paper.make_room();
        match (ending, role) {
            (Ok(ending), _) => ending,
            (Err(Leaving::By(interrupt)), Role::Owner) => self.leave(&task.id, interrupt).await,
            (Err(Leaving::By(interrupt)), Role::Guest) => {
                self.say("left; the task goes on");
                self.say_resume(&task.id, following.next_chunk());
                Ending::Interrupted(interrupt)
            }
            (Err(Leaving::Unread), Role::Owner) => {
                // The reader has what it wanted, as in `| head`: nothing is said, and nothing more is paid for.
                let _ = timeout(LAST_WORDS, self.server.cancel(&task.id)).await;
                Ending::Unread
            }
            (Err(Leaving::Unread), Role::Guest) => Ending::Unread,
        }
    }

    /// Writes what is heard, to the end.
    async fn listen(
        &mut self,
        task: &Task,
        following: &mut Following<'_>,
        offset: u64,
    ) -> Result<Ending, Leaving> {
        let mut tally = Tally::default();
        loop {
            match self.hear(following, &task.id, tally.is_empty()).await? {
                Ok(Heard::Chunk(chunk)) => self.take(&chunk, &mut tally).await?,
                Ok(Heard::Lost(problem, pause)) => {
                    self.note(&format!("lost the stream: {problem}; resuming in {}", time(pause)));
                }
                Ok(Heard::Back) => self.note(&format!("resumed at chunk {}", following.next_chunk())),
                Ok(Heard::NoStream) => return self.whole(task, offset, &mut tally).await,
                Ok(Heard::Done) => return self.completed(&task.id, &tally).await,
                Ok(Heard::Failed(error)) => return self.failed(&task.id, &error).await,
                Err(problem) => {
                    self.paper.make_room();
                    let ending = self.refused(&problem).await;
                    self.say_resume(&task.id, following.next_chunk());
                    return Ok(ending);
                }
            }
        }
    }

    /// What is heard next, unless a signal comes before.
    async fn hear(
        &mut self,
        following: &mut Following<'_>,
        id: &str,
        nothing_yet: bool,
    ) -> Result<Result<Heard, Problem>, Leaving> {
        let hearing = following.hear();
        tokio::pin!(hearing);
        loop {
            tokio::select! {
                biased;
                interrupt = self.interrupts.next() => return Err(Leaving::By(interrupt)),
                heard = &mut hearing => return Ok(heard),
                () = calls::watch(self.server, self.progress, id), if nothing_yet => {}
            }
        }
    }

    /// Takes the next chunk.
    async fn take(&mut self, chunk: &Chunk, tally: &mut Tally) -> Result<(), Leaving> {
        tally.add(chunk);
        if self.reasoning {
            self.paper.reasoning(chunk.reasoning());
        }
        if !chunk.content().is_empty() {
            self.paper.end_reasoning();
        }
        self.progress.show(tally.state());
        if self.json {
            return Ok(());
        }
        heeding(&mut self.interrupts, self.paper.text(chunk.content())).await
    }

    /// Asks for the whole answer of a task whose stream cannot be had, and writes what is missing of it.
    async fn whole(&mut self, task: &Task, offset: u64, tally: &mut Tally) -> Result<Ending, Leaving> {
        self.note("there is no stream of it any more: asking for the whole answer");
        let task = tokio::select! {
            interrupt = self.interrupts.next() => return Err(Leaving::By(interrupt)),
            ended = calls::ended(self.server, &task.id) => match ended {
                Ok(task) => task,
                Err(problem) => return Ok(self.refused(&problem).await),
            },
        };
        if let Some(error) = &task.error {
            return self.failed(&task.id, error).await;
        }
        if let Some(completion) = task.completion() {
            if offset > 0 {
                self.note("where its chunks ended is not known any more: this is the answer from its start");
            }
            if self.reasoning && tally.is_empty() {
                self.paper.reasoning(completion.reasoning());
            }
            if !self.json {
                // What was written is how it begins, unless it was joined in the middle.
                let written = if offset == 0 { tally.bytes() } else { 0 };
                let rest = completion.content().get(written..).unwrap_or_default();
                heeding(&mut self.interrupts, self.paper.text(rest)).await?;
            }
            tally.whole(completion);
        }
        self.completed(&task.id, tally).await
    }

    async fn completed(&mut self, id: &str, tally: &Tally) -> Result<Ending, Leaving> {
        self.end(id).await?;
        if let Some(caveat) = tally.caveat() {
            self.say(caveat);
        }
        self.progress.note(tally.summary(self.started.elapsed()));
        Ok(Ending::Completed)
    }

    async fn failed(&mut self, id: &str, error: &TaskError) -> Result<Ending, Leaving> {
        self.end(id).await?;
        self.complain(&format!("{}: {}", error.code, error.message));
        let again = if error.retryable == Some(true) { "; the same command has a chance" } else { "" };
        self.say(&format!("task {id} failed after {}{again}", time(self.started.elapsed())));
        Ok(Ending::Failed)
    }

    /// Completes what is on standard output.
    async fn end(&mut self, id: &str) -> Result<(), Leaving> {
        if self.json {
            match self.server.task(id).await {
                Ok(task) => heeding(&mut self.interrupts, self.paper.line(&task.json)).await?,
                Err(problem) => self.complain(&super::explained(&problem, self.server.url())),
            }
        } else {
            heeding(&mut self.interrupts, self.paper.end()).await?;
        }
        self.progress.make_way();
        Ok(())
    }

    /// What the user is told of a call that came to nothing.
    async fn refused(&mut self, problem: &Problem) -> Ending {
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
    async fn leave(&mut self, id: &str, interrupt: Interrupt) -> Ending {
        self.progress.make_way();
        self.say(&format!("cancelling {id} (once more: leave at once)"));
        let cancelled = tokio::select! {
            cancelled = timeout(LAST_WORDS, self.server.cancel(id)) => cancelled.ok(),
            _ = self.interrupts.next() => None,
        };
        match cancelled {
            Some(Ok(task)) => {
                self.say_cancelled(&task);
                if self.json {
                    let _ = self.paper.line(&task.json).await;
                }
            }
            Some(Err(_)) | None => {
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

    /// The line that goes on reading.
    fn say_resume(&self, id: &str, offset: u64) {
        let offset = if offset > 0 { format!(" --offset {offset}") } else { String::new() };
        self.say(&format!("go on with: hearken submit --resume {}{offset}{}", word(id), self.options));
    }

    async fn printed(&mut self, line: &str) -> io::Result<()> {
        self.progress.make_way();
        self.paper.line(line).await
    }

    fn note(&mut self, line: &str) {
        if self.progress.is_seen() {
            self.paper.make_room();
            self.progress.note(line);
        }
    }

    fn say(&self, line: &str) {
        self.progress.say(line);
    }

    fn complain(&self, line: &str) {
        self.progress.say(format_args!("hearken: {line}"));
    }
}

/// Why a task is left before its end.
enum Leaving {
    By(Interrupt),
    Unread,
}

/// Writes, unless a signal comes before: whoever does not read must not keep it waiting.
async fn heeding<T>(
    interrupts: &mut Interrupts,
    writing: impl Future<Output = io::Result<T>>,
) -> Result<T, Leaving> {
    tokio::select! {
        written = writing => written.map_err(|_| Leaving::Unread),
        interrupt = interrupts.next() => Err(Leaving::By(interrupt)),
    }
}
