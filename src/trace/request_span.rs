//! The span of a request that changes something: a submit, a cancel. Reading makes none: who polls or subscribes does so
//! by the thousand.

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::Traces;
use super::otlp::{Parent, fail, number, span, text};
use crate::task::Timestamp;
use crate::wire::trace_context::TraceContext;

/// What is told of a request.
#[derive(Debug)]
pub struct RequestFacts {
    /// `POST`
    pub method: String,
    /// `http` or `https`
    pub scheme: String,
    /// Without the query.
    pub path: String,
}

/// A request under way. Dropped before its end, it says that nobody waited for that.
#[derive(Debug)]
pub struct RequestSpan {
    traces: Traces,
    facts: RequestFacts,
    place: TraceContext,
    caller: Option<TraceContext>,
    started: Timestamp,
    is_told: bool,
}

impl Traces {
    /// A request begins that stands at this [place](Traces::place), below its caller. `None` where it is not recorded.
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
            is_told: false,
        })
    }
}

impl RequestSpan {
    /// The head of the response goes out. `route` is the path with names for its parts, where there is one.
    pub fn answered(mut self, status: u16, route: Option<&str>) {
        self.tell(Some(status), route);
    }

    fn tell(&mut self, status: Option<u16>, route: Option<&str>) {
        self.is_told = true;
        let Some(recorder) = self.traces.recorder(Some(&self.place)) else { return };
        let RequestFacts { method, scheme, path } = &self.facts;
        let name = route.map_or_else(|| method.clone(), |route| format!("{method} {route}"));
        let parent = self.caller.as_ref().map_or(Parent::None, |caller| Parent::Theirs(caller.span_id));
        let mut span = span(&self.place, parent, SpanKind::Server, name, (self.started, Timestamp::now()));
        span.attributes =
            vec![text("http.request.method", method), text("url.path", path), text("url.scheme", scheme)];
        span.attributes.extend(route.map(|route| text("http.route", route)));
        span.attributes.extend(status.map(|status| number("http.response.status_code", status.into())));
        match status {
            // Of a server's span these are errors; what a client does wrong is the client's.
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
            self.tell(None, None);
        }
    }
}
