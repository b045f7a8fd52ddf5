//! Builds spans in OTLP's own types.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use crate::task::Timestamp;
use crate::wire::trace_context::{SpanId, TraceContext};

/// Bits in the flags of a span. The second says that the parent span is in another process, and the first says that the
/// second is valid.
const KNOWS_PARENT: u32 = 0x100;
const PARENT_IS_REMOTE: u32 = 0x200;

/// The parent of a span.
#[derive(Debug, Clone, Copy)]
pub(super) enum Parent {
    None,
    Local(SpanId),
    Remote(SpanId),
}

/// Builds a span of this place and these times, without attributes.
pub(super) fn span(
    place: &TraceContext,
    parent: Parent,
    kind: SpanKind,
    name: impl Into<String>,
    (from, until): (Timestamp, Timestamp),
) -> Span {
    let (parent, remote) = match parent {
        Parent::None => (None, 0),
        Parent::Local(id) => (Some(id), 0),
        Parent::Remote(id) => (Some(id), PARENT_IS_REMOTE),
    };
    Span {
        trace_id: place.trace_id.as_bytes().to_vec(),
        span_id: place.span_id.as_bytes().to_vec(),
        trace_state: place.tracestate().unwrap_or_default().to_owned(),
        parent_span_id: parent.map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
        flags: u32::from(place.flags.bits()) | KNOWS_PARENT | remote,
        name: name.into(),
        kind: kind.into(),
        start_time_unix_nano: nanoseconds(from),
        // The clock may have been set back between the two times.
        end_time_unix_nano: nanoseconds(until.max(from)),
        ..Span::default()
    }
}

/// Builds an event of a span.
pub(super) fn event(name: &str, at: Timestamp) -> Event {
    Event { time_unix_nano: nanoseconds(at), name: name.to_owned(), ..Event::default() }
}

/// Marks a span as failed. `why` is an error code, or another short text of a small set.
pub(super) fn fail(span: &mut Span, why: &str) {
    span.attributes.push(text("error.type", why));
    span.status = Some(Status { code: StatusCode::Error.into(), message: String::new() });
}

fn nanoseconds(at: Timestamp) -> u64 {
    at.0.saturating_mul(1_000_000)
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

pub(super) fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

pub(super) fn number(key: &str, value: u64) -> KeyValue {
    attribute(key, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)))
}

pub(super) fn fraction(key: &str, value: f64) -> KeyValue {
    attribute(key, Value::DoubleValue(value))
}

pub(super) fn flag(key: &str, value: bool) -> KeyValue {
    attribute(key, Value::BoolValue(value))
}

/// Builds a list attribute with one text.
pub(super) fn list_of(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Value::StringValue(value.to_owned())) };
    attribute(key, Value::ArrayValue(ArrayValue { values: vec![value] }))
}

/// Builds the message with the spans of a service for a collector.
pub(super) fn message(service_name: &str, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let version = env!("CARGO_PKG_VERSION");
    let attributes = vec![text("service.name", service_name), text("service.version", version)];
    let scope = InstrumentationScope {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: version.to_owned(),
        ..InstrumentationScope::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource { attributes, ..Resource::default() }),
            scope_spans: vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }],
    }
}
