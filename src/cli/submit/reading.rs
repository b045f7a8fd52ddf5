//! Reads a task to its end, or to that of its reader.

use std::io;

use tokio::time::timeout;

use super::calls;
use super::format::time;
use super::progress::State;
use super::session::{Ending, LAST_WORDS, Role, Session};
use super::tally::Tally;
use crate::cli::interrupts::{Interrupt, Interrupts};
use crate::client::{Chunk, Following, Heard, Problem, Status, Task, TaskError};

/// Why a task is left before its end.
enum Leaving {
    By(Interrupt),
    /// Standard output does not take what is written.
    Unwritten(io::Error),
}

impl Session<'_> {
    /// Reads a task to its end, or to that of its reader.
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
                self.say("left; the task goes on");
                self.say_resume(&task.id, following.next_chunk());
                Ending::Interrupted(interrupt)
            }
            (Err(Leaving::Unwritten(err)), _) if !self.paper.has_lost_its_reader(&err) => {
                self.unwritten(&err);
                if !self.has_ended(&task.id).await {
                    self.say("the task was not cancelled");
                }
                // How much of the last text was written is not known.
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
                Ok(Heard::Ended) => return self.past(task, following.next_chunk(), &tally).await,
                Ok(Heard::NoStream) => return self.whole(task, offset, &mut tally).await,
                Ok(Heard::Done) => return self.completed(&task.id, &tally).await,
                Ok(Heard::Failed(error)) => return self.failed(&task.id, &error).await,
                Err(problem) => {
                    self.paper.make_room();
                    let ending = self.refused(&problem).await;
                    // It is there, whatever has answered in its place.
                    if problem.may_pass() || matches!(problem, Problem::Strange(_)) {
                        self.say_resume(&task.id, following.next_chunk());
                    }
                    return Ok(ending);
                }
            }
        }
    }

    /// What is heard next, unless a signal comes before, or the last reader leaves.
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

    /// Ends as a task did that has no chunk with this number.
    async fn past(&mut self, task: &Task, chunk: u64, tally: &Tally) -> Result<Ending, Leaving> {
        self.note(&format!("there is no chunk {chunk}: the task has ended before it"));
        match self.ended(&task.id).await? {
            Ok(Task { error: Some(error), .. }) => self.failed(&task.id, &error).await,
            Ok(_) => self.completed(&task.id, tally).await,
            Err(problem) => Ok(self.refused(&problem).await),
        }
    }

    /// Asks for the whole answer of a task whose stream cannot be had, and writes what is missing of it.
    async fn whole(&mut self, task: &Task, offset: u64, tally: &mut Tally) -> Result<Ending, Leaving> {
        self.note("there is no stream of it any more: asking for the whole answer");
        let task = match self.ended(&task.id).await? {
            Ok(task) => task,
            Err(problem) => return Ok(self.refused(&problem).await),
        };
        if let Some(error) = &task.error {
            return self.failed(&task.id, error).await;
        }
        if let Some(completion) = task.completion() {
            if offset > 0 && tally.bytes() > 0 && !self.json {
                // Where in it the text stands that was written is not known: after that, it would be doubled.
                self.paper.make_room();
                self.complain("the rest is no longer kept as chunks, but the answer is as a whole");
                self.say_resume(&task.id, 0);
                return Ok(Ending::Failed);
            }
            if offset > 0 {
                self.note("where its chunks ended is not known any more: this is the answer from its start");
            }
            if self.reasoning && tally.is_empty() {
                self.paper.reasoning(completion.reasoning());
            }
            if !self.json {
                // What was written is how it begins, unless it was joined in the middle.
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
            (Some(true), Role::Owner) => "; the same command has a chance",
            (Some(true), Role::Guest) => "; submitted again, the same audio has a chance",
            (Some(false) | None, _) => "",
        };
        self.say(&format!("task {id} failed after {}{again}", time(self.started.elapsed())));
        Ok(ending)
    }

    /// Completes what is on standard output; without that, nothing has ended well.
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

    /// The task at its end, unless a signal comes before, or the last reader leaves.
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

/// Writes, unless a signal comes before: whoever does not read must not keep it waiting.
async fn heeding<T>(
    interrupts: &mut Interrupts,
    writing: impl Future<Output = io::Result<T>>,
) -> Result<T, Leaving> {
    interrupts.unless(writing).await.map_err(Leaving::By)?.map_err(Leaving::Unwritten)
}
