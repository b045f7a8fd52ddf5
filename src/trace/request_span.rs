//! The span of a request that changes something: a submit, a cancel. Reads have no span, because clients poll and
//! subscribe by the thousand. A request without a known key has none either: clients without a key could crowd out the
//! spans of tasks.

use std::cell::Cell;
use std::rc::Rc;

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::Traces;
use super::otlp::{Parent, fail, number, span, text};
use crate::task::Timestamp;
use crate::wire::trace_context::TraceContext;

/// What a span records of a request.
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

/// Set once the sender's key is known. A request without a known key has no span.
#[derive(Debug, Clone, Default)]
pub struct Recognition(Rc<Cell<bool>>);

impl Recognition {
    /// Records that the sender's key is known.
    pub fn recognised(&self) {
        self.0.set(true);
    }
}

/// The span of a request in progress. If it is dropped before the answer, the span records that the client has left.
#[derive(Debug)]
pub struct RequestSpan {
    traces: Traces,
    facts: RequestFacts,
    place: TraceContext,
    caller: Option<TraceContext>,
    started: Timestamp,
    recognition: Recognition,
    is_told: bool,
}

impl Traces {
    /// Begins the span of a request at this [place](Traces::place), below its caller. `None` if the request is not
    /// recorded.
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
            is_told: false,
        })
    }
}

impl RequestSpan {
    /// Returns the flag to set once the sender's key is known.
    #[must_use]
    pub fn recognition(&self) -> Recognition {
        self.recognition.clone()
    }

    /// Ends the span when the head of the response is sent.
    pub fn answered(mut self, status: u16) {
        self.tell(Some(status));
    }

    fn tell(&mut self, status: Option<u16>) {
        self.is_told = true;
        if !self.recognition.0.get() {
            return;
        }
        let Some(recorder) = self.traces.recorder(Some(&self.place)) else { return };
        let RequestFacts { method, scheme, route, path } = &self.facts;
        let name = format!("{method} {route}");
        let parent = self.caller.as_ref().map_or(Parent::None, |caller| Parent::Theirs(caller.span_id));
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
        if !self.is_told {
            self.tell(None);
        }
    }
}
