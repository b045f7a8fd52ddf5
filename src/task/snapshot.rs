//! The state of a task at one moment, and its view as the task object of the HTTP interface.

use serde::Serialize;

use super::completion::Completion;
use super::id::TaskId;
use super::outcome::{Completed, Outcome};
use super::request::Request;
use super::timeline::Timeline;
use crate::error::Failure;
use crate::wire::error::TaskError;
use crate::wire::path;
use crate::wire::task::{StreamLink, TaskObject, TaskView};

/// A task at one moment, as a client can see it.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The task's id.
    pub id: TaskId,
    /// The model as the client named it.
    pub model: String,
    /// The time of acceptance, in Unix seconds.
    pub created: u64,
    /// True if clients can subscribe to the task's chunks.
    pub stream: bool,
    /// The task's state.
    pub state: State,
    /// The moments of the task's life.
    pub timeline: Timeline,
}

/// The optional parts of a task's view, in addition to its ten fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Include {
    /// The moments of the task's life.
    pub timeline: bool,
    /// The segments of the task's answer.
    pub segments: bool,
    /// The request of the task.
    pub request: bool,
}

/// The state of a task, with its result.
#[derive(Debug, Clone)]
pub enum State {
    /// The task is accepted and does not run yet.
    Pending,
    /// The task runs.
    Processing {
        /// The progress in percent, 0 to 99.
        progress: u8,
    },
    /// The task ended with this answer.
    Completed(Completion),
    /// The task ended without a complete answer.
    Failed {
        /// Why the task failed.
        failure: Failure,
        /// The progress when the task ended, in percent, 0 to 99.
        progress: u8,
    },
}

/// The four words for a task's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words say it")]
pub enum Status {
    Pending,
    Processing,
    Completed,
    Failed,
}

impl Status {
    /// All states, in the order of a task's life.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Processing, Self::Completed, Self::Failed];

    /// Returns the word that clients read.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }
}

impl State {
    /// Returns the word for this state.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::Pending => Status::Pending,
            Self::Processing { .. } => Status::Processing,
            Self::Completed(_) => Status::Completed,
            Self::Failed { .. } => Status::Failed,
        }
    }

    /// Returns how the task ended; `None` if it has not ended.
    ///
    /// # Errors
    /// Returns an error of serde_json for a stored answer that hearken did not write.
    pub fn outcome(&self) -> serde_json::Result<Option<Outcome>> {
        Ok(match self {
            Self::Pending | Self::Processing { .. } => None,
            Self::Completed(completion) => {
                Some(Outcome::Completed(Completed::of(completion.clone())?.into()))
            }
            Self::Failed { failure, .. } => Some(Outcome::Failed(failure.clone())),
        })
    }

    /// Returns true if the task has ended.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Completed(_) | Self::Failed { .. })
    }
}

impl Snapshot {
    /// Returns the size of the task's result and segments, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.completion().map_or(0, Completion::weight)
    }

    fn completion(&self) -> Option<&Completion> {
        match &self.state {
            State::Completed(completion) => Some(completion),
            State::Pending | State::Processing { .. } | State::Failed { .. } => None,
        }
    }

    /// Returns the task object of the contract with the optional parts that `include` selects. The caller reads the
    /// request separately.
    #[must_use]
    pub fn view<'a>(&'a self, include: Include, request: Option<&'a Request>) -> impl Serialize {
        TaskView {
            task: self.object(),
            timeline: include.timeline.then_some(&self.timeline),
            segments: include.segments.then(|| self.completion().and_then(Completion::segments)),
            request: request.map(Request::object),
        }
    }

    /// Returns the task object of the contract.
    #[must_use]
    pub fn object(&self) -> TaskObject<'_> {
        let (progress, results, error) = match &self.state {
            State::Pending => (0, None, None),
            State::Processing { progress } => (*progress, None, None),
            State::Completed(completion) => (100, Some([completion.chat()]), None),
            State::Failed { failure, progress } => (*progress, None, Some(TaskError::from(failure))),
        };
        TaskObject {
            id: self.id.as_str(),
            object: "llm.generation.task",
            kind: "llm",
            model: &self.model,
            status: self.state.status().as_str(),
            progress,
            created: self.created,
            stream: self.stream.then(|| StreamLink { url: path::stream(&self.id) }),
            results,
            error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pending_task_reads_as_the_contract_shows_it() {
        let snapshot = Snapshot {
            id: "task-llm-1776874565-yq3szvcu".parse().unwrap(),
            model: "gemini-2.5-pro".into(),
            created: 1_776_874_565,
            stream: true,
            state: State::Pending,
            timeline: Timeline::begun(crate::task::Timestamp(1_776_874_565_123)),
        };
        assert_eq!(
            serde_json::to_string(&snapshot.object()).unwrap(),
            r#"{"id":"task-llm-1776874565-yq3szvcu","object":"llm.generation.task","type":"llm","model":"gemini-2.5-pro","status":"pending","progress":0,"created":1776874565,"stream":{"url":"/v1/llm/generations/task-llm-1776874565-yq3szvcu/stream"},"results":null,"error":null}"#
        );
    }

    #[test]
    fn the_timeline_is_added_on_request_and_the_result_is_unchanged() {
        let completion = Completion::stored(r#"{"b": 1,  "a":2}"#.into(), None).unwrap();
        let snapshot = Snapshot {
            id: "task-llm-1-yq3szvcu".parse().unwrap(),
            model: "m".into(),
            created: 1,
            stream: false,
            state: State::Completed(completion),
            timeline: Timeline::begun(crate::task::Timestamp(1_000)),
        };
        let json =
            serde_json::to_string(&snapshot.view(Include { timeline: true, ..Include::default() }, None))
                .unwrap();
        assert!(
            json.contains(r#""results":[{"b": 1,  "a":2}],"error":null,"timeline":{"queued_at_ms":1000,"#),
            "{json}"
        );
    }
}
