//! A task, as values: no actor, no network and no disk. The only clock is the one of [`Timestamp`].

mod answer;
mod chunk_log;
mod cold_log;
mod completion;
mod entry;
mod format;
mod id;
mod idempotency;
mod life;
mod list;
mod outcome;
mod progress;
mod record;
mod recovery;
mod request;
mod segment;
mod snapshot;
mod spans;
mod submission;
mod timeline;
mod timestamp;

use crate::secret::KeyHash;
use crate::wire::trace_context::{TraceContext, TraceId};

pub use answer::Answer;
pub use chunk_log::{ChunkLog, FrameReader, LogHandle, LogReader, Mark};
pub use cold_log::{ColdLog, EndedStream, KeptEntries, RecordSource};
pub use completion::Completion;
pub use entry::{Entry, TextKind};
pub use format::{Encoder, Format};
pub use id::TaskId;
pub use idempotency::{Fingerprint, Idempotency, IdempotencyKey};
pub use life::{Effect, Event, Life, Recipient};
pub use list::{ListQuery, Page};
pub use outcome::{Completed, Outcome};
pub use progress::{LAST_PROGRESS, Progress};
pub use record::{Chunks, RecordWriter, read_entries, scan_records};
pub use recovery::{RecoveryFacts, interrupted_damaged_stream};
pub use request::Request;
pub use segment::Segment;
pub use snapshot::{Include, Snapshot, State, Status};
pub use spans::SpanPart;
pub use submission::{
    DEFAULT_PROMPT, Delivery, MAX_MODEL_CHARACTERS, MAX_PROMPT_CHARACTERS, MAX_SYSTEM_PROMPT_CHARACTERS,
    Message, Part, Question, Role, Submission, TEMPERATURES, invalid_json,
};
pub use timeline::{Attempt, Timeline};
pub use timestamp::Timestamp;

/// Functions with which tests of other rooms make logs.
#[cfg(test)]
pub(crate) mod testing {
    pub(crate) use super::chunk_log::testing::*;
    pub(crate) use super::cold_log::testing::*;
}

/// The part of a task that never changes after the task is accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// The task's id.
    pub id: TaskId,
    /// The key that submitted the task. For every other key the task does not exist.
    pub owner: KeyHash,
    /// The time at which the task was accepted.
    pub created: Timestamp,
    /// The format of the door that submitted the task; `None` if its chunks cannot be subscribed to. Readers may use
    /// other formats, too.
    pub stream: Option<Format>,
    /// The question to the model.
    pub question: Question,
    /// The task's place in the trace of its submitter, if there is one.
    pub trace: Option<TraceContext>,
}

impl Task {
    /// Returns the id of the trace that the task belongs to, for the log.
    #[must_use]
    pub fn trace_id(&self) -> Option<TraceId> {
        self.trace.as_ref().map(|trace| trace.trace_id)
    }
}
