//! The span of a request that changes something: a submit or a cancel. Reads have no span, because there are thousands
//! of them. A request without a known key has no span, either, because clients without a key could fill the queue, and
//! spans of tasks would be lost.

use std::cell::Cell;
use std::rc::Rc;

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::Traces;
use super::otlp::{Parent, fail, number, span, text};
use crate::task::Timestamp;
use crate::wire::trace_context::TraceContext;

/// The facts about a request that its span records.
#[derive(Debug)]
pub struct RequestFacts {
    /// The method, such as `POST`.
    pub method: String,
    /// `https`, or `http`.
    pub scheme: &'static str,
    /// The path with names for its parts.
    pub route: String,
    /// The path without the query, cut if it is long.
    pub path: String,
}

/// A flag that states whether the client's key is known. A request without a known key has no span.
#[derive(Debug, Clone, Default)]
pub struct Recognition(Rc<Cell<bool>>);

impl Recognition {
    /// Records that the client's key is known.
    pub fn recognised(&self) {
        self.0.set(true);
    }
}

/// The span of a request in progress. If it is dropped before the answer, it records that the client has disconnected.
#[derive(Debug)]
pub struct RequestSpan {
    traces: Traces,
    facts: RequestFacts,
    place: TraceContext,
    caller: Option<TraceContext>,
    started: Timestamp,
    recognition: Recognition,
    is_finished: bool,
}

impl Traces {
    /// Begins the span of a request at this [place](Traces::place), with the client's span as its parent. Returns
    /// `None` if the request is not recorded.
    #[must_use]
    pub fn request(
        &self,
        place: Option<&TraceContext>,
        caller: Option<&TraceContext>,
        facts: impl FnOnce() -> RequestFacts,
    ) -> Option<RequestSpan> {
        self.recorder(place)?;
        Some(RequestSpan {
            traces: self.clone(),
            facts: facts(),
            place: place?.clone(),
            caller: caller.cloned(),
            started: Timestamp::now(),
            recognition: Recognition::default(),
            is_finished: false,
        })
    }
}

impl RequestSpan {
    /// Returns the flag that must be set when the client's key is known.
    #[must_use]
    pub fn recognition(&self) -> Recognition {
        self.recognition.clone()
    }

    /// Ends the span: the head of the response is sent.
    pub fn answered(mut self, status: u16) {
        self.finish(Some(status));
    }

    fn finish(&mut self, status: Option<u16>) {
        self.is_finished = true;
        if !self.recognition.0.get() {
            return;
        }
        let Some(recorder) = self.traces.recorder(Some(&self.place)) else { return };
        let RequestFacts { method, scheme, route, path } = &self.facts;
        let name = format!("{method} {route}");
        let parent = self.caller.as_ref().map_or(Parent::None, |caller| Parent::Remote(caller.span_id));
        let mut span = span(&self.place, parent, SpanKind::Server, name, (self.started, Timestamp::now()));
        span.attributes = vec![
            text("http.request.method", method),
            text("http.route", route),
            text("url.scheme", *scheme),
            text("url.path", path),
        ];
        span.attributes.extend(status.map(|status| number("http.response.status_code", status.into())));
        match status {
            // In a server's span only 5xx are errors; 4xx are the client's errors.
            Some(500..) => fail(&mut span, &status.unwrap_or_default().to_string()),
            Some(_) => {}
            None => fail(&mut span, "client_left"),
        }
        recorder.queue.push(vec![span]);
    }
}

impl Drop for RequestSpan {
    fn drop(&mut self) {
        if !self.is_finished {
            self.finish(None);
        }
    }
}
