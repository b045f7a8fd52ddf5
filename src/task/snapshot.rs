//! A task at one moment, as the living actor or the store tells it, and its view as the wire's task object.

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

/// What a client can learn about a task.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Its id.
    pub id: TaskId,
    /// The model as the client named it.
    pub model: String,
    /// Unix seconds.
    pub created: u64,
    /// True if its chunks can be subscribed to.
    pub stream: bool,
    /// How far it is.
    pub state: State,
    /// When what happened to it.
    pub timeline: Timeline,
}

/// What is told of a task beside its ten fields, where it is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Include {
    /// When what happened.
    pub timeline: bool,
    /// The segments of its answer.
    pub segments: bool,
    /// What was asked.
    pub request: bool,
}

/// How far a task is, and what came of it.
#[derive(Debug, Clone)]
pub enum State {
    /// Accepted, not running.
    Pending,
    /// Running.
    Processing {
        /// 0 to 99.
        progress: u8,
    },
    /// Ended with this answer.
    Completed(Completion),
    /// Ended without.
    Failed {
        /// Why.
        failure: Failure,
        /// How far it had come, 0 to 99.
        progress: u8,
    },
}

/// The four words for how far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words say it")]
pub enum Status {
    Pending,
    Processing,
    Completed,
    Failed,
}

impl Status {
    /// All of them, in the order of a task's life.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Processing, Self::Completed, Self::Failed];

    /// The word on the wire.
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
    /// The word for it.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::Pending => Status::Pending,
            Self::Processing { .. } => Status::Processing,
            Self::Completed(_) => Status::Completed,
            Self::Failed { .. } => Status::Failed,
        }
    }

    /// Returns how the task ended; `None` where it has not.
    ///
    /// # Errors
    /// Those of serde_json, for a stored answer that hearken did not write.
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
    /// Returns the bytes of its result and of its segments.
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

    /// Returns the task object of the contract with what is included. The request is read apart.
    #[must_use]
    pub fn view<'a>(&'a self, include: Include, request: Option<&'a Request>) -> impl Serialize {
        TaskView {
            task: self.object(),
            timeline: include.timeline.then_some(&self.timeline),
            segments: include.segments.then(|| self.completion().and_then(Completion::segments)),
            request: request.map(Request::object),
        }
    }

    /// The task object of the contract.
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
    fn the_timeline_is_added_on_request_and_the_result_stays_as_it_was_stored() {
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
