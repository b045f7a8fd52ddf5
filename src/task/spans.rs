//! The spans of a task: its place in the trace of its submitter.
//!
//! The ids of the spans are computed from the task. So an upstream can get the id of a span that is recorded only when
//! the task has ended, and no id has to be stored until then. A process that resumes the task computes the same ids.

use sha2::{Digest, Sha256};

use super::{Task, Timestamp};
use crate::wire::trace_context::{SpanId, TraceContext};

/// A part of a task's life that is a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanPart {
    /// The whole life of the task.
    Whole,
    /// The time until the task's run began.
    Queue,
    /// The download of the task's audio.
    Fetch,
    /// An upstream call.
    Call {
        /// The call's number, from 1.
        number: usize,
        /// When the call began. It distinguishes the calls of two processes, because each process counts from 1.
        started: Timestamp,
    },
}

impl SpanPart {
    fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Queue => "queue",
            Self::Fetch => "fetch",
            Self::Call { .. } => "call",
        }
    }
}

impl Task {
    /// Returns the place of a part of this task in the trace; `None` for a task that belongs to no trace.
    #[must_use]
    pub fn span(&self, part: SpanPart) -> Option<TraceContext> {
        let trace = self.trace.as_ref()?;
        let (number, started) = match part {
            SpanPart::Call { number, started } => (number as u64, started.0),
            SpanPart::Whole | SpanPart::Queue | SpanPart::Fetch => (0, 0),
        };
        // Several tasks may belong to one trace.
        let hash = Sha256::new()
            .chain_update(trace.trace_id.as_bytes())
            .chain_update(self.id.as_str())
            .chain_update(part.name())
            .chain_update(number.to_be_bytes())
            .chain_update(started.to_be_bytes())
            .finalize();
        let (first, _) = hash.split_first_chunk()?;
        Some(trace.below(SpanId::from_bytes(*first)?))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::secret::KeyHash;
    use crate::task::id::TaskId;
    use crate::task::submission::Question;

    fn task(trace: Option<TraceContext>) -> Task {
        let question = Question::short(String::new(), String::new(), None);
        let (id, owner) = (TaskId::generate(1), KeyHash::of("k"));
        Task { id, owner, created: Timestamp(1), stream: None, question, trace }
    }

    #[test]
    fn each_part_of_each_task_has_its_own_span_in_one_trace() {
        let trace = TraceContext::begin(true);
        let call = |number, at| SpanPart::Call { number, started: Timestamp(at) };
        let parts = [SpanPart::Whole, SpanPart::Queue, SpanPart::Fetch, call(1, 5), call(1, 6), call(2, 5)];
        let tasks = [task(Some(trace.clone())), task(Some(trace.clone()))];
        let mut ids = HashSet::from([trace.span_id]);
        for span in tasks.iter().flat_map(|task| parts.map(|part| task.span(part).unwrap())) {
            assert_eq!((span.trace_id, span.flags), (trace.trace_id, trace.flags));
            ids.insert(span.span_id);
        }
        assert_eq!(ids.len(), 13);
    }

    #[test]
    fn the_next_process_computes_the_same_span_ids() {
        let task = task(Some(TraceContext::begin(true)));
        assert_eq!(task.clone().span(SpanPart::Whole), task.span(SpanPart::Whole));
    }

    #[test]
    fn a_task_outside_of_any_trace_has_no_spans() {
        assert_eq!(task(None).span(SpanPart::Whole), None);
    }
}
