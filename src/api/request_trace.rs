//! The trace of a request: the trace of its client, or a new one. Handlers find it in the request's extensions.

use actix_web::dev::ServiceRequest;
use actix_web::http::Method;
use actix_web::http::header::HeaderValue;
use actix_web::{HttpMessage, web};

use crate::trace::{RequestFacts, RequestSpan, Traces};
use crate::wire::trace_context::{TRACEPARENT, TRACESTATE, TraceContext, TraceId};

/// Most bytes of a path in a span. Every path that the server serves is shorter.
const MAX_PATH_BYTES: usize = 256;

/// The scheme that a listener serves. It comes from the listener, because a client may name any scheme. Handlers find
/// it in the application's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// The listener uses no TLS.
    Http,
    /// The listener uses TLS.
    Https,
}

impl Scheme {
    /// Returns the scheme as in a URL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// The trace of a request, as known when the request begins.
#[derive(Debug)]
pub(super) struct RequestTrace {
    /// The trace, for the log.
    pub id: Option<TraceId>,
    /// The span of the request, if it is exported.
    pub span: Option<RequestSpan>,
}

impl RequestTrace {
    /// Determines the trace of a request, and puts it into the request's extensions.
    #[must_use]
    pub(super) fn begin(request: &ServiceRequest) -> Self {
        let headers = request.headers();
        let caller = TraceContext::parse(
            headers.get_all(TRACEPARENT).map(HeaderValue::as_bytes),
            headers.get_all(TRACESTATE).map(HeaderValue::as_bytes),
        );
        let Some(traces) =
            request.app_data::<web::Data<Traces>>().filter(|_| request.method() == Method::POST)
        else {
            return Self { id: caller.map(|caller| caller.trace_id), span: None };
        };
        let place = traces.place(caller.as_ref());
        // Requests for unknown paths are not traced, because they do not come from a client of the API.
        let span = request.match_pattern().and_then(|route| {
            traces.request(place.as_ref(), caller.as_ref(), || RequestFacts {
                method: request.method().to_string(),
                scheme: request.app_data().copied().unwrap_or(Scheme::Http).as_str(),
                route,
                path: cut(request.path()).to_owned(),
            })
        });
        if let Some(span) = &span {
            request.extensions_mut().insert(span.recognition());
        }
        let id = place.as_ref().map(|place| place.trace_id);
        if let Some(place) = place {
            request.extensions_mut().insert(place);
        }
        Self { id, span }
    }
}

fn cut(path: &str) -> &str {
    path.get(..path.floor_char_boundary(MAX_PATH_BYTES)).unwrap_or_default()
}
