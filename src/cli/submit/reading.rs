//! Reads a task until it ends, or until its reader exits.

use std::io;

use tokio::time::timeout;

use super::calls;
use super::figures::AnswerFigures;
use super::format::time;
use super::progress::ShownState;
use super::session::{CANCEL_TIMEOUT, CommandEnd, Session, TaskRole};
use crate::cli::interrupts::{Interrupt, Interrupts};
use crate::client::{CallError, Chunk, Status, StreamEvent, StreamReader, Task, TaskError};

/// Why the command stops reading before the task has ended.
enum StopReason {
    Signal(Interrupt),
    /// Standard output cannot be written to.
    Unwritten(io::Error),
}

impl Session<'_> {
    /// Reads a task until it ends, or until its reader exits.
    pub(super) async fn follow(&mut self, task: &Task, offset: u64) -> CommandEnd {
        let mut following = StreamReader::new(self.server, &task.id, offset);
        self.progress.show(if task.status == Status::Pending {
            ShownState::Queued
        } else {
            ShownState::Thinking
        });
        let ending = self.write_until_end(task, &mut following, offset).await;
        self.progress.hide();
        self.output.end_lines();
        match (ending, self.role) {
            (Ok(ending), _) => ending,
            (Err(StopReason::Signal(interrupt)), TaskRole::Submitter) => {
                self.cancel_and_exit(&task.id, interrupt).await
            }
            (Err(StopReason::Signal(interrupt)), TaskRole::Reader) => {
                self.say("stopped reading; the task continues");
                self.say_resume(&task.id, following.next_chunk());
                CommandEnd::Interrupted(interrupt)
            }
            (Err(StopReason::Unwritten(err)), _) if !self.output.is_reader_gone(&err) => {
                self.unwritten(&err);
                if !self.has_ended(&task.id).await {
                    self.say("the task was not cancelled");
                }
                // It is unknown how much of the last text was written, so the resume starts from the same chunk again.
                self.say_resume(&task.id, offset);
                CommandEnd::Failed
            }
            (Err(StopReason::Unwritten(_)), TaskRole::Submitter) => {
                self.cancel_unread(&task.id).await;
                CommandEnd::OutputClosed
            }
            (Err(StopReason::Unwritten(_)), TaskRole::Reader) => CommandEnd::OutputClosed,
        }
    }

    /// Writes the task's output until it ends.
    async fn write_until_end(
        &mut self,
        task: &Task,
        following: &mut StreamReader<'_>,
        offset: u64,
    ) -> Result<CommandEnd, StopReason> {
        let mut figures = AnswerFigures::default();
        loop {
            match self.next_event(following, &task.id, figures.is_empty()).await? {
                Ok(StreamEvent::Chunk(chunk)) => self.write_chunk(&chunk, &mut figures).await?,
                Ok(StreamEvent::Lost(problem, pause)) => {
                    self.note(&format!("lost the stream: {problem}; resuming in {}", time(pause)));
                }
                Ok(StreamEvent::Resumed) => {
                    self.note(&format!("resumed at chunk {}", following.next_chunk()))
                }
                Ok(StreamEvent::EndedBefore) => {
                    return self.end_before_chunk(task, following.next_chunk(), &figures).await;
                }
                Ok(StreamEvent::NoStream) => return self.write_whole(task, offset, &mut figures).await,
                Ok(StreamEvent::Completed) => return self.completed(&task.id, &figures).await,
                Ok(StreamEvent::Failed(error)) => return self.failed(&task.id, &error).await,
                Err(problem) => {
                    self.output.end_lines();
                    let ending = self.refused(&problem).await;
                    // The task exists, even if the last reply came from another program than hearken.
                    if problem.may_succeed_later() || matches!(problem, CallError::NotHearken(_)) {
                        self.say_resume(&task.id, following.next_chunk());
                    }
                    return Ok(ending);
                }
            }
        }
    }

    /// Returns the next event, unless a signal arrives first, or the last reader exits.
    async fn next_event(
        &mut self,
        following: &mut StreamReader<'_>,
        id: &str,
        nothing_yet: bool,
    ) -> Result<Result<StreamEvent, CallError>, StopReason> {
        let (hearing, reader_exit) = (following.next_event(), self.output.reader_exit());
        tokio::pin!(hearing, reader_exit);
        loop {
            tokio::select! {
                biased;
                interrupt = self.interrupts.next() => return Err(StopReason::Signal(interrupt)),
                () = &mut reader_exit => return Err(StopReason::Unwritten(io::ErrorKind::BrokenPipe.into())),
                heard = &mut hearing => return Ok(heard),
                () = calls::watch(self.server, self.progress, id), if nothing_yet => {}
            }
        }
    }

    /// Writes the next chunk.
    async fn write_chunk(&mut self, chunk: &Chunk, figures: &mut AnswerFigures) -> Result<(), StopReason> {
        figures.add(chunk);
        if self.reasoning {
            self.output.reasoning(chunk.reasoning());
        }
        if !chunk.content().is_empty() {
            self.output.end_reasoning();
        }
        self.progress.show(figures.state());
        if self.json {
            return Ok(());
        }
        unless_interrupted(&mut self.interrupts, self.output.text(chunk.content())).await
    }

    /// Reports the outcome of a task that ended before the chunk with this number.
    async fn end_before_chunk(
        &mut self,
        task: &Task,
        chunk: u64,
        figures: &AnswerFigures,
    ) -> Result<CommandEnd, StopReason> {
        self.note(&format!("there is no chunk {chunk}: the task ended before it"));
        match self.ended(&task.id).await? {
            Ok(Task { error: Some(error), .. }) => self.failed(&task.id, &error).await,
            Ok(_) => self.completed(&task.id, figures).await,
            Err(problem) => Ok(self.refused(&problem).await),
        }
    }

    /// Requests the whole answer of a task that has no stream any more, and writes the part that is missing.
    async fn write_whole(
        &mut self,
        task: &Task,
        offset: u64,
        figures: &mut AnswerFigures,
    ) -> Result<CommandEnd, StopReason> {
        self.note("the task has no stream any more; requesting the whole answer");
        let task = match self.ended(&task.id).await? {
            Ok(task) => task,
            Err(problem) => return Ok(self.refused(&problem).await),
        };
        if let Some(error) = &task.error {
            return self.failed(&task.id, error).await;
        }
        if let Some(completion) = task.completion() {
            if offset > 0 && figures.bytes() > 0 && !self.json {
                // It is unknown where in the answer the written text is, so the rest might repeat some of it.
                self.output.end_lines();
                self.complain(
                    "the rest is no longer stored as chunks; only the whole answer is still stored",
                );
                self.say_resume(&task.id, 0);
                return Ok(CommandEnd::Failed);
            }
            if offset > 0 {
                self.note("the task's chunks are no longer stored; this is the whole answer from its start");
            }
            if self.reasoning && figures.is_empty() {
                self.output.reasoning(completion.reasoning());
            }
            if !self.json {
                // If reading began with the first chunk, the written text is the start of the answer.
                let written = if offset == 0 { figures.bytes() } else { 0 };
                let content = completion.content();
                let rest = content.get(written..).unwrap_or_default();
                unless_interrupted(&mut self.interrupts, self.output.text(rest)).await?;
            }
            figures.whole(completion);
        }
        self.completed(&task.id, figures).await
    }

    async fn completed(&mut self, id: &str, figures: &AnswerFigures) -> Result<CommandEnd, StopReason> {
        let ending = self.end(id, CommandEnd::Completed).await?;
        if ending == CommandEnd::Completed {
            if let Some(caveat) = figures.caveat() {
                self.say(caveat);
            }
            self.progress.note(figures.summary(self.started.elapsed()));
        }
        Ok(ending)
    }

    async fn failed(&mut self, id: &str, error: &TaskError) -> Result<CommandEnd, StopReason> {
        let ending = self.end(id, CommandEnd::Failed).await?;
        self.complain(&format!("{}: {}", error.code, error.message));
        let again = match (error.retryable, self.role) {
            (Some(true), TaskRole::Submitter) => "; retrying the same command may succeed",
            (Some(true), TaskRole::Reader) => "; submitting the same audio again may succeed",
            (Some(false) | None, _) => "",
        };
        self.say(&format!("task {id} failed after {}{again}", time(self.started.elapsed())));
        Ok(ending)
    }

    /// Writes the last part of standard output. If that fails, the command has failed.
    async fn end(&mut self, id: &str, ending: CommandEnd) -> Result<CommandEnd, StopReason> {
        if self.json {
            match self.ended(id).await? {
                Ok(task) => unless_interrupted(&mut self.interrupts, self.output.line(&task.json)).await?,
                Err(problem) => return Ok(self.refused(&problem).await),
            }
        } else {
            unless_interrupted(&mut self.interrupts, self.output.end()).await?;
        }
        self.progress.hide();
        Ok(ending)
    }

    /// Returns the task once it has ended, unless a signal arrives first, or the last reader exits.
    async fn ended(&mut self, id: &str) -> Result<Result<Task, CallError>, StopReason> {
        tokio::select! {
            biased;
            interrupt = self.interrupts.next() => Err(StopReason::Signal(interrupt)),
            () = self.output.reader_exit() => Err(StopReason::Unwritten(io::ErrorKind::BrokenPipe.into())),
            ended = calls::ended(self.server, id) => Ok(ended),
        }
    }

    /// Returns true if the task is known to have ended.
    async fn has_ended(&mut self, id: &str) -> bool {
        let asking = timeout(CANCEL_TIMEOUT, self.server.task(id));
        let message = self.interrupts.unless(asking).await;
        let Ok(Ok(Ok(task))) = message else { return false };
        matches!(task.status, Status::Completed | Status::Failed)
    }
}

/// Completes a write, unless a signal arrives first, so that a reader that does not read delays no signal.
async fn unless_interrupted<T>(
    interrupts: &mut Interrupts,
    writing: impl Future<Output = io::Result<T>>,
) -> Result<T, StopReason> {
    interrupts.unless(writing).await.map_err(StopReason::Signal)?.map_err(StopReason::Unwritten)
}
