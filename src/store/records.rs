//! What the store records about tasks, and what it tells of them.

use std::sync::Arc;
use std::time::Duration;

use crate::audio::facts::AudioFacts;
use crate::audio::source::KeptAudio;
use crate::task::Task;
use crate::task::cold_log::EndedStream;
use crate::task::entry::Entry;
use crate::task::idempotency::Idempotency;
use crate::task::outcome::Outcome;
use crate::task::record::Chunks;
use crate::task::recovery::RecoveryFacts;
use crate::task::timeline::Timeline;

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
    /// Is it for a caller that waits, in whose place no other can?
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

/// The stream of an ended task, read from its journal.
#[derive(Debug, Clone)]
pub struct Replay {
    /// Its chunks and its end.
    pub stream: EndedStream,
    /// How long it is kept from now on.
    pub left: Duration,
}

/// What was asked for, where its results have no more bytes than the caller has room for.
#[derive(Debug)]
pub enum Weighed<T> {
    /// It is here.
    Light(T),
    /// It was not read: its results have so many bytes.
    Heavy(usize),
}
