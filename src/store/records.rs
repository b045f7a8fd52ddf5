//! The records that the store keeps about tasks, and the values that it returns.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use crate::audio::{AudioFacts, KeptAudio};
use crate::task::{
    Chunks, Entry, Idempotency, KeptEntries, Outcome, RecoveryFacts, State, Task, TaskId, Timeline, Timestamp,
};

/// The record of a task that is to be accepted.
#[derive(Debug, Clone)]
pub struct NewRecord {
    /// The task.
    pub task: Arc<Task>,
    /// The location of each piece of audio, in the order of the question.
    pub audio: Vec<KeptAudio>,
    /// The facts about each piece of audio.
    pub audio_facts: Vec<AudioFacts>,
    /// True if the task runs as soon as it is recorded. That counts as its first run.
    pub runs: bool,
    /// True if the waiting caller cannot request the answer again: a rerun would have no recipient.
    pub irreplaceable_caller: bool,
    /// The timeline of the task so far.
    pub timeline: Timeline,
    /// The key under which a repeated submit finds the task.
    pub idempotency: Option<Idempotency>,
}

/// The result of accepting a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptance {
    /// The task is durable.
    Durable,
    /// Another submit with the same `Idempotency-Key` came first.
    KeyTaken,
}

/// The end of a task, as the store records it.
#[derive(Debug, Clone)]
pub struct Ending {
    /// The outcome.
    pub outcome: Outcome,
    /// The progress of a failed task, 0 to 99.
    pub progress: u8,
    /// The timeline of the task.
    pub timeline: Timeline,
    /// The chunks that a task with a stream published before its end.
    pub chunks: Option<Chunks>,
}

/// A task that an earlier process did not end.
#[derive(Debug)]
pub struct Unfinished {
    /// The task.
    pub task: Task,
    /// The location of each piece of audio, in the order of the question.
    pub audio: Vec<KeptAudio>,
    /// The facts that decide whether the task runs again.
    pub facts: RecoveryFacts,
    /// The progress of the task, in percent.
    pub progress: u8,
    /// The timeline of the task.
    pub timeline: Timeline,
}

/// The chunks in the journal of a task that has not ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Journalled {
    /// The entries of the chunks, up to the first damaged entry.
    pub entries: Vec<Entry>,
    /// False if damaged bytes follow the entries.
    pub is_whole: bool,
}

/// The parts from which the stream of an ended task is replayed.
#[derive(Debug)]
pub struct Replay {
    /// The chunks of the task.
    pub chunks: KeptEntries,
    /// The final state of the task.
    pub state: State,
    /// The time that the stream is still kept.
    pub left: Duration,
    /// The permit to hold all of this in memory.
    pub(super) _permit: OwnedSemaphorePermit,
}

/// A value whose results are read only if they have at most as many bytes as the caller has room for.
#[derive(Debug)]
pub enum Weighed<T> {
    /// The value.
    Light(T),
    /// The value was not read: its results have this many bytes.
    Heavy(usize),
}

/// The record of the stream of an ended task.
#[derive(Debug)]
pub struct StoredStream {
    /// The chunks of the task.
    pub chunks: Chunks,
    /// The final state of the task.
    pub state: State,
    /// The moment when the task ended.
    pub ended: Timestamp,
}

/// A mark on a task that runs.
#[derive(Debug)]
pub enum TaskMark {
    /// A subscriber may have seen a chunk. The timeline is the one until then.
    Published(Timeline),
    /// The facts about the task's audio at this place.
    Downloaded(usize, AudioFacts),
}

/// The result of a deletion of old data.
#[derive(Debug, Default)]
pub struct Forgotten {
    /// The number of deleted tasks.
    pub tasks: usize,
    /// The tasks whose chunks are not kept any more.
    pub streams: Vec<TaskId>,
    /// True if there may be more to delete.
    pub more: bool,
}
