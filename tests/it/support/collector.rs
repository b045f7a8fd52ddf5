//! A collector of spans: a real HTTP server that keeps the OTLP messages that it receives, and replies as a script
//! says.

use std::collections::HashMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message;
use serde_json::{Value, json};

use super::until;
use super::upstream::{FakeUpstream, Request, Script};

/// A running collector.
#[derive(Debug)]
pub(crate) struct Collector(FakeUpstream);

/// A span as it was received.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) service: Value,
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    /// The id of the trace. All ids are in hex. That of the parent is empty for a root span.
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) state: String,
    pub(crate) flags: u32,
    /// The time when the span began, in nanoseconds. `until` is the time when it ended.
    pub(crate) from: u64,
    pub(crate) until: u64,
    pub(crate) failed: bool,
    pub(crate) attributes: HashMap<String, Value>,
    /// The names and times of its events.
    pub(crate) events: Vec<(String, u64)>,
}

impl Collector {
    /// Starts a collector that accepts everything.
    pub(crate) fn start() -> Self {
        Self::of(Self::takes(FakeUpstream::gemini()))
    }

    /// Starts a collector that replies with this script, of which only the statuses and pauses count.
    pub(crate) fn of(script: Script) -> Self {
        Self(script.start())
    }

    /// Adds a reply that accepts a message.
    pub(crate) fn takes(script: Script) -> Script {
        script.status(200).content_type("application/x-protobuf").ends()
    }

    /// Returns the settings for the section `[traces]`.
    pub(crate) fn section(&self) -> String {
        format!("[traces]\notlp_endpoint = \"{}\"", self.endpoint())
    }

    /// Returns the collector's address, as an operator writes it.
    pub(crate) fn endpoint(&self) -> String {
        self.0.base_url().trim_end_matches("/v1beta").to_owned()
    }

    /// Waits for the message with this number, from 0.
    pub(crate) fn message(&self, number: usize) -> Request {
        self.0.request(number)
    }

    pub(crate) fn messages(&self) -> usize {
        self.0.requests()
    }

    /// Returns all spans received so far, in the order of the messages.
    pub(crate) fn spans(&self) -> Vec<Seen> {
        (0..self.0.requests()).flat_map(|number| spans(&self.0.request(number))).collect()
    }

    /// Waits until there is a span with each of these names, and returns all spans received so far.
    pub(crate) fn spans_with(&self, names: &[&str]) -> Vec<Seen> {
        until(&format!("spans {names:?} come"), || {
            let spans = self.spans();
            let has = |name: &&str| spans.iter().any(|span| span.name == *name);
            names.iter().all(has).then_some(spans)
        })
    }
}

impl Seen {
    pub(crate) fn attribute(&self, key: &str) -> Value {
        self.attributes.get(key).cloned().unwrap_or_default()
    }
}

/// Returns the spans of a message.
pub(crate) fn spans(request: &Request) -> Vec<Seen> {
    assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/v1/traces"));
    let message = ExportTraceServiceRequest::decode(request.body.as_slice()).unwrap();
    let resources = message.resource_spans.into_iter();
    let seen = resources.flat_map(|resource| {
        let attributes = attributes(&resource.resource.unwrap().attributes);
        let service = attributes["service.name"].clone();
        let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        spans.map(move |span| see(&service, &span)).collect::<Vec<_>>()
    });
    seen.collect()
}

fn see(service: &Value, span: &Span) -> Seen {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    Seen {
        service: service.clone(),
        name: span.name.clone(),
        kind: span.kind().as_str_name(),
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        state: span.trace_state.clone(),
        flags: span.flags,
        from: span.start_time_unix_nano,
        until: span.end_time_unix_nano,
        failed: span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error),
        attributes: attributes(&span.attributes),
        events: span.events.iter().map(|event| (event.name.clone(), event.time_unix_nano)).collect(),
    }
}

fn attributes(attributes: &[KeyValue]) -> HashMap<String, Value> {
    let count = attributes.len();
    let attributes: HashMap<_, _> =
        attributes.iter().map(|pair| (pair.key.clone(), value(pair.value.as_ref()))).collect();
    assert_eq!(attributes.len(), count, "no attribute comes twice");
    attributes
}

fn value(any: Option<&AnyValue>) -> Value {
    match any.and_then(|any| any.value.as_ref()) {
        Some(Any::StringValue(text)) => json!(text),
        Some(Any::BoolValue(flag)) => json!(flag),
        Some(Any::IntValue(number)) => json!(number),
        Some(Any::DoubleValue(number)) => json!(number),
        Some(Any::ArrayValue(list)) => list.values.iter().map(|item| value(Some(item))).collect(),
        other => panic!("{other:?}"),
    }
}
