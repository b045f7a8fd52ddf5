//! Parts that the operations of the document share: parameters, headers and error responses.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{AllOfBuilder, SchemaFormat, Type};
use utoipa::openapi::{
    Content, ContentBuilder, ObjectBuilder, Ref, RefOr, Required, Response, ResponseBuilder, Schema,
};

use crate::error::{ErrorCode, Failure};
use crate::wire::error::{ErrorBody, HttpError};
use crate::wire::schema::words;
use crate::wire::trace_context::{TRACEPARENT, TRACESTATE};

const JSON: &str = "application/json";
const REQUEST_ID: &str = "X-Request-Id";

/// Failures of every operation that needs a key.
pub(super) const KEYED: [ErrorCode; 2] = [ErrorCode::InvalidApiKey, ErrorCode::InternalError];

/// The failures of every operation that needs the store.
pub(super) const STORED: [ErrorCode; 2] = [ErrorCode::StorageFull, ErrorCode::StorageUnavailable];

/// Starts an operation with the parts that all operations have.
pub(super) fn operation(id: &str, tag: &str, summary: &str, description: &str) -> OperationBuilder {
    OperationBuilder::new()
        .operation_id(Some(id))
        .tag(tag)
        .summary(Some(summary))
        .description(Some(description))
        .parameter_ref(Ref::new(format!("#/components/parameters/{REQUEST_ID}")))
}

/// Starts an operation that needs no key.
pub(super) fn open_operation(id: &str, tag: &str, summary: &str, description: &str) -> OperationBuilder {
    let description = format!("{description} `HEAD` works, too, and has no body.");
    operation(id, tag, summary, &description).securities(Some([]))
}

/// Adds the headers of the caller's trace. `what` names what belongs to that trace.
pub(super) fn traced(operation: OperationBuilder, what: &str) -> OperationBuilder {
    let parent = format!("W3C Trace Context: {what} to this trace. A malformed value is ignored.");
    operation.parameter(header_parameter(TRACEPARENT, &parent, text())).parameter(header_parameter(
        TRACESTATE,
        "Additional data for `traceparent`.",
        text(),
    ))
}

/// Returns the parameters that operations refer to.
pub(super) fn shared_parameters() -> [(&'static str, Parameter); 2] {
    let request_id = "An id of your choice, 1 to 128 of `A-Za-z0-9._-`. The response and the server's log contain \
                      it. If it is missing or invalid, the server makes its own.";
    [
        (REQUEST_ID, header_parameter(REQUEST_ID, request_id, text()).build()),
        (
            "task_id",
            ParameterBuilder::new()
                .name("task_id")
                .parameter_in(ParameterIn::Path)
                .required(Required::True)
                .description(Some("The `id` of a task that your key submitted."))
                .schema(Some(ObjectBuilder::new().schema_type(Type::String).min_length(Some(1))))
                .example(Some(json!(super::examples::TASK_ID)))
                .build(),
        ),
    ]
}

/// Refers to the task id in the path, a parameter of every operation on one task.
pub(super) fn task_id() -> Ref {
    Ref::new("#/components/parameters/task_id")
}

/// Returns an optional query parameter.
pub(super) fn query_parameter(
    name: &str,
    description: &str,
    schema: impl Into<RefOr<Schema>>,
) -> ParameterBuilder {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(schema))
}

/// Returns an optional request header.
pub(super) fn header_parameter(
    name: &str,
    description: &str,
    schema: impl Into<RefOr<Schema>>,
) -> ParameterBuilder {
    query_parameter(name, description, schema).parameter_in(ParameterIn::Header)
}

/// Returns the schema of any text.
pub(super) fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// Returns the schema of a whole number of at least `least`.
pub(super) fn whole_number(least: usize) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(least))
}

/// Returns the headers that responses refer to. Headers of the same name differ in a suffix after a dot.
pub(super) fn shared_headers() -> [(&'static str, Header); 17] {
    let always = |description: &str, schema: ObjectBuilder| {
        // utoipa has no `required` for headers. An extension with this name has the same effect.
        let required = Extensions::from_iter([("required", true)]);
        optional(description, schema).extensions(Some(required)).build()
    };
    let uri_reference = SchemaFormat::Custom("uri-reference".to_owned());
    let only = |word: &'static str| ObjectBuilder::from(words([word]));
    [
        (
            REQUEST_ID,
            always(
                "The request's id: the client's own, or one that the server made.",
                text().pattern(Some("^[A-Za-z0-9._-]{1,128}$")),
            ),
        ),
        (
            "Location",
            optional("The path of the task of an asynchronous submit.", text().format(Some(uri_reference)))
                .build(),
        ),
        ("X-Task-Id", always("The `id` of the task.", text())),
        (
            "X-Task-Id.failed",
            optional("The `id` of the task of a synchronous call, if the task failed.", text()).build(),
        ),
        (
            "Idempotent-Replayed",
            optional("Sent if the reply is about the task of an earlier submit with this key.", only("true"))
                .build(),
        ),
        (
            "Retry-After",
            optional("Seconds after which a repeat may succeed.", whole_number(1).maximum(Some(86_400)))
                .build(),
        ),
        (
            "x-should-retry",
            optional(
                "`false` if a repeat may cause the same costs again, or will fail again. OpenAI's client libraries \
                 respect it.",
                only("false"),
            )
            .build(),
        ),
        ("WWW-Authenticate", always("How to authorize.", only("Bearer"))),
        ("Cache-Control", always("What caches may do with the response.", text())),
        ("Cache-Control.stream", optional("For a stream: what caches may do with it.", text()).build()),
        ("X-Accel-Buffering", always("Tells nginx not to buffer the response.", only("no"))),
        (
            "X-Accel-Buffering.stream",
            optional("For a stream: tells nginx not to buffer it.", only("no")).build(),
        ),
        ("Content-Security-Policy", always("What the page may load: nothing from other origins.", text())),
        ("X-Content-Type-Options", always("Tells browsers not to guess another type.", only("nosniff"))),
        (
            "Referrer-Policy",
            always("Browsers do not send the page's address to other sites.", only("no-referrer")),
        ),
        ("Permissions-Policy", always("The page may request the microphone.", text())),
        ("ETag", always("The version of the content, for `If-None-Match`.", text())),
    ]
}

fn optional(description: &str, schema: ObjectBuilder) -> HeaderBuilder {
    HeaderBuilder::new().description(Some(description)).schema(Some(schema))
}

/// Returns a response with these shared headers, in addition to those that every response has.
pub(super) fn response(description: &str, headers: &[&str]) -> ResponseBuilder {
    headers.iter().chain(&[REQUEST_ID]).fold(
        ResponseBuilder::new().description(description),
        |response, header| {
            let name = header.split_once('.').map_or(*header, |(name, _)| name);
            response.header_ref(name, Ref::new(format!("#/components/headers/{header}")))
        },
    )
}

/// Returns JSON content of a schema, with an example.
pub(super) fn json_of(schema: &str, example: Value) -> (&'static str, Content) {
    (JSON, ContentBuilder::new().schema(Some(Ref::from_schema_name(schema))).example(Some(example)).build())
}

/// Returns the response with JSON content.
pub(super) fn json_response(response: ResponseBuilder, (mime, content): (&str, Content)) -> Response {
    response.content(mime, content).build()
}

/// Adds a response for each status that these codes have. Its description lists the codes.
pub(super) fn failing(
    operation: OperationBuilder,
    codes: impl IntoIterator<Item = ErrorCode>,
) -> OperationBuilder {
    failing_with(operation, codes, |_| &[])
}

/// Adds the error responses, with more headers by status.
pub(super) fn failing_with(
    operation: OperationBuilder,
    codes: impl IntoIterator<Item = ErrorCode>,
    more_headers: impl Fn(u16) -> &'static [&'static str],
) -> OperationBuilder {
    let mut by_status: BTreeMap<u16, Vec<ErrorCode>> = BTreeMap::new();
    for code in codes {
        by_status.entry(code.status()).or_default().push(code);
    }
    let operation = operation.build();
    let param = first_param(&operation);
    by_status.into_iter().fold(operation.into(), |operation: OperationBuilder, (status, codes)| {
        operation.response(status.to_string(), refusal(status, &codes, &param, more_headers(status)))
    })
}

/// Returns the name for `param` in an example of `invalid_param`: the first query parameter, or a field of the body.
fn first_param(operation: &Operation) -> String {
    let mut of_query = operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
        RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query => Some(&parameter.name),
        RefOr::T(_) | RefOr::Ref(_) => None,
    });
    of_query.next().map_or_else(|| "model".to_owned(), Clone::clone)
}

fn refusal(status: u16, codes: &[ErrorCode], param: &str, more_headers: &[&str]) -> Response {
    let lines = codes.iter().map(|code| format!("- `{}`: {}", code.as_str(), code.meaning()));
    let headers: &[&str] = match status {
        401 => &["WWW-Authenticate"],
        422 | 429 | 502 | 503 => &["Retry-After"],
        _ => &[],
    };
    let code = words(codes.iter().map(|code| code.as_str()));
    let narrowed = ObjectBuilder::new().property("code", code);
    let error_of_these = AllOfBuilder::new().item(Ref::from_schema_name("ErrorDetails")).item(narrowed);
    let schema = ObjectBuilder::new().property("error", error_of_these).required("error");
    let examples = codes.iter().map(|code| {
        let example = ExampleBuilder::new().summary(code.meaning()).value(Some(error(*code, param)));
        (code.as_str(), example)
    });
    let content = ContentBuilder::new().schema(Some(schema)).examples_from_iter(examples).build();
    let description = lines.collect::<Vec<_>>().join("\n");
    let headers: Vec<_> = headers.iter().chain(more_headers).copied().collect();
    json_response(response(&description, &headers), (JSON, content))
}

/// Returns an example of an error.
fn error(code: ErrorCode, param: &str) -> Value {
    let mut failure = Failure::new(code, code.meaning());
    if code == ErrorCode::InvalidParam {
        failure.param = Some(param.to_owned().into());
    }
    json!(ErrorBody { error: HttpError::of_request(&failure) })
}
