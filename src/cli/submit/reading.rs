//! Reads a task until it ends, or until its reader exits.

use std::io;

use tokio::time::timeout;

use super::calls;
use super::format::time;
use super::progress::State;
use super::session::{Ending, LAST_WORDS, Role, Session};
use super::tally::Tally;
use crate::cli::interrupts::{Interrupt, Interrupts};
use crate::client::{Chunk, Following, Heard, Problem, Status, Task, TaskError};

/// Why the reading stops before the task has ended.
enum Leaving {
    By(Interrupt),
    /// Standard output cannot be written to.
    Unwritten(io::Error),
}

impl Session<'_> {
    /// Reads a task until it ends, or until its reader exits.
    pub(super) async fn follow(&mut self, task: &Task, offset: u64) -> Ending {
        let mut following = Following::new(self.server, &task.id, offset);
        self.progress.show(if task.status == Status::Pending { State::Queued } else { State::Thinking });
        let ending = self.listen(task, &mut following, offset).await;
        self.progress.make_way();
        self.paper.make_room();
        match (ending, self.role) {
            (Ok(ending), _) => ending,
            (Err(Leaving::By(interrupt)), Role::Owner) => self.leave(&task.id, interrupt).await,
            (Err(Leaving::By(interrupt)), Role::Guest) => {
                self.say("stopped reading; the task goes on");
                self.say_resume(&task.id, following.next_chunk());
                Ending::Interrupted(interrupt)
            }
            (Err(Leaving::Unwritten(err)), _) if !self.paper.has_lost_its_reader(&err) => {
                self.unwritten(&err);
                if !self.has_ended(&task.id).await {
                    self.say("the task was not cancelled");
                }
                // It is unknown how much of the last text was written.
                self.say_resume(&task.id, offset);
                Ending::Failed
            }
            (Err(Leaving::Unwritten(_)), Role::Owner) => {
                self.cancel_unread(&task.id).await;
                Ending::Unread
            }
            (Err(Leaving::Unwritten(_)), Role::Guest) => Ending::Unread,
        }
    }

    /// Writes the task's output until it ends.
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
                Ok(Heard::Ended) => return self.past(task, following.next_chunk(), &tally).await,
                Ok(Heard::NoStream) => return self.whole(task, offset, &mut tally).await,
                Ok(Heard::Done) => return self.completed(&task.id, &tally).await,
                Ok(Heard::Failed(error)) => return self.failed(&task.id, &error).await,
                Err(problem) => {
                    self.paper.make_room();
                    let ending = self.refused(&problem).await;
                    // The task exists, even if another server has answered in this one's place.
                    if problem.may_pass() || matches!(problem, Problem::Strange(_)) {
                        self.say_resume(&task.id, following.next_chunk());
                    }
                    return Ok(ending);
                }
            }
        }
    }

    /// Returns the next event, unless a signal arrives first, or the last reader exits.
    async fn hear(
        &mut self,
        following: &mut Following<'_>,
        id: &str,
        nothing_yet: bool,
    ) -> Result<Result<Heard, Problem>, Leaving> {
        let (hearing, deserted) = (following.hear(), self.paper.deserted());
        tokio::pin!(hearing, deserted);
        loop {
            tokio::select! {
                biased;
                interrupt = self.interrupts.next() => return Err(Leaving::By(interrupt)),
                () = &mut deserted => return Err(Leaving::Unwritten(io::ErrorKind::BrokenPipe.into())),
                heard = &mut hearing => return Ok(heard),
                () = calls::watch(self.server, self.progress, id), if nothing_yet => {}
            }
        }
    }

    /// Writes the next chunk.
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

    /// Ends like the task, which has no chunk with this number.
    async fn past(&mut self, task: &Task, chunk: u64, tally: &Tally) -> Result<Ending, Leaving> {
        self.note(&format!("there is no chunk {chunk}: the task ended before it"));
        match self.ended(&task.id).await? {
            Ok(Task { error: Some(error), .. }) => self.failed(&task.id, &error).await,
            Ok(_) => self.completed(&task.id, tally).await,
            Err(problem) => Ok(self.refused(&problem).await),
        }
    }

    /// Requests the whole answer of a task that has no stream any more, and writes the missing rest.
    async fn whole(&mut self, task: &Task, offset: u64, tally: &mut Tally) -> Result<Ending, Leaving> {
        self.note("the task has no stream any more: requesting the whole answer");
        let task = match self.ended(&task.id).await? {
            Ok(task) => task,
            Err(problem) => return Ok(self.refused(&problem).await),
        };
        if let Some(error) = &task.error {
            return self.failed(&task.id, error).await;
        }
        if let Some(completion) = task.completion() {
            if offset > 0 && tally.bytes() > 0 && !self.json {
                // The written text cannot be located in the answer, so the rest might repeat some of it.
                self.paper.make_room();
                self.complain("the rest is no longer stored as chunks; the whole answer is still stored");
                self.say_resume(&task.id, 0);
                return Ok(Ending::Failed);
            }
            if offset > 0 {
                self.note("the end of its chunks is no longer known: this is the answer from its start");
            }
            if self.reasoning && tally.is_empty() {
                self.paper.reasoning(completion.reasoning());
            }
            if !self.json {
                // The written text is the start of the answer, unless reading began in the middle.
                let written = if offset == 0 { tally.bytes() } else { 0 };
                let content = completion.content();
                let rest = content.get(written..).unwrap_or_default();
                heeding(&mut self.interrupts, self.paper.text(rest)).await?;
            }
            tally.whole(completion);
        }
        self.completed(&task.id, tally).await
    }

    async fn completed(&mut self, id: &str, tally: &Tally) -> Result<Ending, Leaving> {
        let ending = self.end(id, Ending::Completed).await?;
        if ending == Ending::Completed {
            if let Some(caveat) = tally.caveat() {
                self.say(caveat);
            }
            self.progress.note(tally.summary(self.started.elapsed()));
        }
        Ok(ending)
    }

    async fn failed(&mut self, id: &str, error: &TaskError) -> Result<Ending, Leaving> {
        let ending = self.end(id, Ending::Failed).await?;
        self.complain(&format!("{}: {}", error.code, error.message));
        let again = match (error.retryable, self.role) {
            (Some(true), Role::Owner) => "; retrying the same command may succeed",
            (Some(true), Role::Guest) => "; submitting the same audio again may succeed",
            (Some(false) | None, _) => "",
        };
        self.say(&format!("task {id} failed after {}{again}", time(self.started.elapsed())));
        Ok(ending)
    }

    /// Completes standard output. The command has failed if that fails.
    async fn end(&mut self, id: &str, ending: Ending) -> Result<Ending, Leaving> {
        if self.json {
            match self.ended(id).await? {
                Ok(task) => heeding(&mut self.interrupts, self.paper.line(&task.json)).await?,
                Err(problem) => return Ok(self.refused(&problem).await),
            }
        } else {
            heeding(&mut self.interrupts, self.paper.end()).await?;
        }
        self.progress.make_way();
        Ok(ending)
    }

    /// Returns the task once it has ended, unless a signal arrives first, or the last reader exits.
    async fn ended(&mut self, id: &str) -> Result<Result<Task, Problem>, Leaving> {
        tokio::select! {
            biased;
            interrupt = self.interrupts.next() => Err(Leaving::By(interrupt)),
            () = self.paper.deserted() => Err(Leaving::Unwritten(io::ErrorKind::BrokenPipe.into())),
            ended = calls::ended(self.server, id) => Ok(ended),
        }
    }

    /// Returns true if the task is known to have ended.
    async fn has_ended(&mut self, id: &str) -> bool {
        let asking = timeout(LAST_WORDS, self.server.task(id));
        let told = self.interrupts.unless(asking).await;
        let Ok(Ok(Ok(task))) = told else { return false };
        matches!(task.status, Status::Completed | Status::Failed)
    }
}

/// Completes a write, unless a signal arrives first: a reader that does not read must not delay the signal.
async fn heeding<T>(
    interrupts: &mut Interrupts,
    writing: impl Future<Output = io::Result<T>>,
) -> Result<T, Leaving> {
    interrupts.unless(writing).await.map_err(Leaving::By)?.map_err(Leaving::Unwritten)
}
