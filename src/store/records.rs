//! What the store records about tasks, and what it tells of them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use crate::audio::{AudioFacts, KeptAudio};
use crate::task::{
    Chunks, Entry, Idempotency, Kept, Outcome, RecoveryFacts, State, Task, TaskId, Timeline, Timestamp,
};

/// A task to be accepted, as it is recorded.
#[derive(Debug, Clone)]
pub struct NewRecord {
    /// The task.
    pub task: Arc<Task>,
    /// Where each of its audio will be found, in the order of the question.
    pub audio: Vec<KeptAudio>,
    /// What is told about each.
    pub audio_facts: Vec<AudioFacts>,
    /// Does it run as soon as it is recorded? That is its first run then.
    pub runs: bool,
    /// True if the caller that waits for the answer cannot ask for it again: a rerun would have no recipient.
    pub irreplaceable_caller: bool,
    /// What happened to it so far.
    pub timeline: Timeline,
    /// The key under which a repeat of this submit finds it.
    pub idempotency: Option<Idempotency>,
}

/// What became of a new record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptance {
    /// It is durable.
    Durable,
    /// Another submit with the same `Idempotency-Key` came first.
    KeyTaken,
}

/// How a task ended, for the store.
#[derive(Debug, Clone)]
pub struct Ending {
    /// The outcome.
    pub outcome: Outcome,
    /// How far a task that failed had come, 0 to 99.
    pub progress: u8,
    /// When what happened.
    pub timeline: Timeline,
    /// The chunks that were published before the end, of a task with a stream.
    pub chunks: Option<Chunks>,
}

/// A task that an earlier process did not end.
#[derive(Debug)]
pub struct Unfinished {
    /// The task.
    pub task: Task,
    /// Where each of its audio is, in the order of the question.
    pub audio: Vec<KeptAudio>,
    /// What decides whether it runs again.
    pub facts: RecoveryFacts,
    /// How far it had come.
    pub progress: u8,
    /// What happened to it.
    pub timeline: Timeline,
}

/// The chunks of a task that has not ended, as its journal has them.
#[derive(Debug, Clone, PartialEq)]
pub struct Journalled {
    /// The entries of the chunks, up to the first that is not as it was written.
    pub entries: Vec<Entry>,
    /// False if something follows them that is not as it was written.
    pub is_whole: bool,
}

/// What a stream of an ended task is made of again.
#[derive(Debug)]
pub struct Replay {
    /// Its chunks.
    pub chunks: Kept,
    /// How it ended.
    pub state: State,
    /// How long it is kept from now on.
    pub left: Duration,
    /// The turn to hold all of that in memory.
    pub(super) _turn: OwnedSemaphorePermit,
}

/// What was asked for, where its results have no more bytes than the caller has room for.
#[derive(Debug)]
pub enum Weighed<T> {
    /// It is here.
    Light(T),
    /// It was not read: its results have so many bytes.
    Heavy(usize),
}

/// What the record says about the stream of an ended task.
#[derive(Debug)]
pub struct StoredStream {
    /// Its chunks.
    pub chunks: Chunks,
    /// How it ended.
    pub state: State,
    /// When.
    pub ended: Timestamp,
}

/// What is noted about a task that runs.
#[derive(Debug)]
pub enum TaskMark {
    /// A chunk may have been seen; this has happened so far.
    Published(Timeline),
    /// This is its audio at this place.
    Downloaded(usize, AudioFacts),
}

/// What was deleted.
#[derive(Debug, Default)]
pub struct Forgotten {
    /// How many tasks.
    pub tasks: usize,
    /// Tasks whose chunks are not kept any more.
    pub streams: Vec<TaskId>,
    /// True if there may be more to delete.
    pub more: bool,
}
