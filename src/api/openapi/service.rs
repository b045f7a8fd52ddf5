//! The operations of the service itself in the document: health checks, metrics, the document, the reference page.

use serde_json::json;
use utoipa::openapi::ContentBuilder;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, PathItem};
use utoipa::openapi::schema::ObjectBuilder;

use super::Tag;
use super::parts::{failing, header_parameter, json_of, json_response, open_operation, response, text};
use crate::error::ErrorCode;

/// `/healthz`
pub(crate) fn alive() -> PathItem {
    probe(
        "checkHealth",
        "Check that the server is alive",
        "Any answer shows that the process runs.",
        "ok",
        &[],
    )
}

/// `/readyz`
pub(crate) fn ready() -> PathItem {
    probe(
        "checkReadiness",
        "Check that the server accepts tasks",
        "The status is 503 while the server drains, or while its store does not work: the disk is full, the disk does \
         not answer, or the data directory was changed.",
        "ready",
        &[ErrorCode::ShuttingDown, ErrorCode::StorageFull, ErrorCode::StorageUnavailable],
    )
}

fn probe(id: &str, summary: &str, description: &str, word: &str, codes: &[ErrorCode]) -> PathItem {
    let operation = open_operation(id, Tag::Service.name(), summary, description).response(
        "200",
        json_response(response("The check succeeds.", &[]), json_of("Health", json!({ "status": word }))),
    );
    PathItem::new(
        HttpMethod::Get,
        failing(operation, codes.iter().copied().chain([ErrorCode::InternalError])),
    )
}

/// `/metrics`
pub(crate) fn metrics() -> PathItem {
    let operation = open_operation(
        "getMetrics",
        Tag::Service.name(),
        "Read the metrics",
        "The metrics in Prometheus' text format. This path exists if the configuration has `metrics.listen = \
         \"main\"`; otherwise it is 404, and a separate listener may serve the metrics.",
    );
    let sample = "# HELP hearken_tasks_submitted_total Tasks that were accepted.\n\
                  # TYPE hearken_tasks_submitted_total counter\nhearken_tasks_submitted_total 42\n";
    let example = ExampleBuilder::new().summary("A part of the text").value(Some(json!(sample))).build();
    let content = ContentBuilder::new().schema(Some(text())).examples_from_iter([("part", example)]).build();
    let operation = operation
        .response("200", response("All metrics at this moment.", &[]).content("text/plain", content));
    PathItem::new(HttpMethod::Get, failing(operation, [ErrorCode::NotFound, ErrorCode::InternalError]))
}

/// `/`
pub(crate) fn page() -> PathItem {
    let operation = open_operation(
        "getPage",
        Tag::Service.name(),
        "The page in the browser",
        "Submit audio and watch the answer arrive; it asks for an API key and loads nothing from other origins.",
    );
    cached(
        operation,
        "text/html",
        text(),
        &["Content-Security-Policy", "Referrer-Policy", "Permissions-Policy"],
    )
}

/// `/openapi.json`
pub(crate) fn document() -> PathItem {
    let operation = open_operation(
        "getOpenApi",
        Tag::Service.name(),
        "This document",
        "The OpenAPI description of this API, made from the types of the running server.",
    );
    cached(operation, "application/json", ObjectBuilder::new(), &[])
}

/// `/docs`
pub(crate) fn reference() -> PathItem {
    let operation = open_operation(
        "getReference",
        Tag::Service.name(),
        "The reference page",
        "This document as a page, to read and to try. It loads nothing from other origins.",
    );
    cached(operation, "text/html", text(), &["Content-Security-Policy", "Referrer-Policy"])
}

/// Describes an operation whose content a client caches, so that it is not sent twice.
fn cached(operation: OperationBuilder, mime: &str, schema: ObjectBuilder, headers: &[&str]) -> PathItem {
    let headers: Vec<_> =
        headers.iter().chain(&["ETag", "Cache-Control", "X-Content-Type-Options"]).copied().collect();
    let content = ContentBuilder::new().schema(Some(schema)).build();
    let known = "The `ETag` of the version that the client has.";
    let operation = operation
        .parameter(header_parameter("If-None-Match", known, text()))
        .response("200", response("The whole content.", &headers).content(mime, content))
        .response("304", response("The client's version is the current one.", &headers));
    PathItem::new(HttpMethod::Get, failing(operation, [ErrorCode::InternalError]))
}
