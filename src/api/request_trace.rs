//! Where a request stands in a trace: in its caller's, or in one that begins with it. Handlers find it in the request's
//! extensions.

use actix_web::dev::ServiceRequest;
use actix_web::http::Method;
use actix_web::http::header::HeaderValue;
use actix_web::{HttpMessage, web};

use crate::trace::{RequestFacts, RequestSpan, Traces};
use crate::wire::trace_context::{TRACEPARENT, TRACESTATE, TraceContext, TraceId};

/// As much of a path goes into a span, in bytes: longer than any that leads somewhere.
const MAX_PATH_BYTES: usize = 256;

/// What a listener speaks, as it knows itself; whoever sends a request can say anything. Handlers find it in the
/// application's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As a URL has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// What is known of a request's trace when it begins.
#[derive(Debug)]
pub(super) struct RequestTrace {
    /// The trace, for the log.
    pub id: Option<TraceId>,
    /// Its span, where it makes one.
    pub span: Option<RequestSpan>,
}

impl RequestTrace {
    /// Finds the request's place and puts it into its extensions.
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
        // A path that leads nowhere is a stranger's.
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
