//! What a task's actor is made of, before there is one: the accepted task, or what a crash left over.

use std::sync::Arc;
use std::time::Duration;

use crate::actors::{NewTask, Presence};
use crate::audio::source::AudioSource;
use crate::channel::Channel;
use crate::channel::slots::{Slot, Turn};
use crate::store::Store;
use crate::task::Task;
use crate::task::answer::Answer;
use crate::task::chunk_log::{ChunkLog, LogReader};
use crate::task::id::random_text;
use crate::wire::completion::CompletionHead;

/// What all tasks of a server share.
#[derive(Debug, Clone)]
pub struct TaskSettings {
    /// Where ends become durable.
    pub store: Store,
    /// How long the chunks stay readable after the end.
    pub chunk_retention: Duration,
    /// Most bytes of text and frames that one task may hold.
    pub max_answer_bytes: usize,
}

/// How a task gets its slot.
#[derive(Debug)]
pub enum Admission {
    /// It has one.
    Now(Slot),
    /// It waits for one.
    Line {
        /// Its place in the channel's line.
        turn: Turn,
        /// Its place among all that wait, given back when it runs.
        place: Slot,
    },
}

/// What an actor is made of, on whichever thread it will live.
#[derive(Debug)]
pub struct TaskParts {
    pub(super) task: Arc<Task>,
    pub(super) key_name: String,
    pub(super) answer: Answer,
    pub(super) work: Option<Work>,
    pub(super) presence: Option<Presence>,
}

/// What is still to be done for a task.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) audio: AudioSource,
    pub(super) channel: Arc<Channel>,
    pub(super) admission: Admission,
}

impl TaskParts {
    /// A task that was just accepted.
    #[must_use]
    pub fn accepted(new: NewTask, admission: Admission) -> Self {
        let answer = Answer::new(completion_head(&new.task), new.task.stream);
        let work =
            new.candidates.into_iter().next().map(|channel| Work { audio: new.audio, channel, admission });
        Self { task: Arc::new(new.task), key_name: new.key_name, answer, work, presence: new.presence }
    }

    /// A task whose actor panicked: nothing is left to do but to end it.
    #[must_use]
    pub fn crashed(task: Arc<Task>, log: &LogReader) -> Self {
        let answer = Answer::wreck(completion_head(&task), task.stream, ChunkLog::take_over(log));
        Self { task, key_name: String::new(), answer, work: None, presence: None }
    }

    /// The task.
    #[must_use]
    pub fn task(&self) -> Arc<Task> {
        Arc::clone(&self.task)
    }

    /// A reader of its chunks.
    #[must_use]
    pub fn log_reader(&self) -> LogReader {
        self.answer.log().reader()
    }
}

fn completion_head(task: &Task) -> CompletionHead {
    CompletionHead {
        id: format!("chatcmpl-{}", random_text(24)),
        created: task.created.seconds(),
        model: task.question.model.clone(),
    }
}
