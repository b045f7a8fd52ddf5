//! What the operations of the document share: parameters, headers, and how refusals are told.

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

/// What may go wrong for everybody who sends a key.
pub(super) const KEYED: [ErrorCode; 2] = [ErrorCode::InvalidApiKey, ErrorCode::InternalError];

/// The failures of every operation that needs the store.
pub(super) const STORED: [ErrorCode; 2] = [ErrorCode::StorageFull, ErrorCode::StorageUnavailable];

/// An operation with what all of them have.
pub(super) fn operation(id: &str, tag: &str, summary: &str, description: &str) -> OperationBuilder {
    OperationBuilder::new()
        .operation_id(Some(id))
        .tag(tag)
        .summary(Some(summary))
        .description(Some(description))
        .parameter_ref(Ref::new(format!("#/components/parameters/{REQUEST_ID}")))
}

/// The same for nobody in particular: no key is needed.
pub(super) fn open_operation(id: &str, tag: &str, summary: &str, description: &str) -> OperationBuilder {
    let description = format!("{description} `HEAD` is answered as well, without the body.");
    operation(id, tag, summary, &description).securities(Some([]))
}

/// The same in its caller's trace; `what` belongs to that.
pub(super) fn traced(operation: OperationBuilder, what: &str) -> OperationBuilder {
    let parent = format!("W3C Trace Context: {what} to this trace. One that is malformed is ignored.");
    operation.parameter(header_parameter(TRACEPARENT, &parent, text())).parameter(header_parameter(
        TRACESTATE,
        "What belongs to `traceparent`.",
        text(),
    ))
}

/// The parameters that operations refer to.
pub(super) fn shared_parameters() -> [(&'static str, Parameter); 2] {
    let request_id = "Yours to choose, 1 to 128 of `A-Za-z0-9._-`: it comes back with the response and stands in \
                      the server's log. In place of any other one the server makes its own.";
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

/// The id in the path, as every operation on one task takes it.
pub(super) fn task_id() -> Ref {
    Ref::new("#/components/parameters/task_id")
}

/// An optional query parameter.
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

/// An optional request header.
pub(super) fn header_parameter(
    name: &str,
    description: &str,
    schema: impl Into<RefOr<Schema>>,
) -> ParameterBuilder {
    query_parameter(name, description, schema).parameter_in(ParameterIn::Header)
}

/// Any text.
pub(super) fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// A whole number of at least this.
pub(super) fn whole_number(least: usize) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(least))
}

/// The headers that responses refer to. What follows a dot tells apart those of one name.
pub(super) fn shared_headers() -> [(&'static str, Header); 17] {
    let always = |description: &str, schema: ObjectBuilder| {
        // utoipa knows no `required` of headers; an extension is written as it is called.
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
            optional("The path of the task of an asynchronous submit.", text().format(Some(uri_reference))).build(),
        ),
        ("X-Task-Id", always("The `id` of the task.", text())),
        (
            "X-Task-Id.failed",
            optional("The `id` of the task of a synchronous call, where it is the task that failed.", text()).build(),
        ),
        (
            "Idempotent-Replayed",
            optional("The reply is about the task of an earlier submit with this key.", only("true")).build(),
        ),
        (
            "Retry-After",
            optional("When a repeat makes sense, in seconds.", whole_number(1).maximum(Some(86_400))).build(),
        ),
        (
            "x-should-retry",
            optional(
                "`false` where a repeat may pay for the same work again, or will fail again. OpenAI's packages \
                 heed it.",
                only("false"),
            )
            .build(),
        ),
        ("WWW-Authenticate", always("How to authorize.", only("Bearer"))),
        ("Cache-Control", always("What caches may do with it.", text())),
        ("Cache-Control.stream", optional("Of a stream: what caches may do with it.", text()).build()),
        ("X-Accel-Buffering", always("Tells nginx to pass on what comes as it comes.", only("no"))),
        (
            "X-Accel-Buffering.stream",
            optional("Of a stream: tells nginx to pass on what comes as it comes.", only("no")).build(),
        ),
        ("Content-Security-Policy", always("What the page may load: nothing from elsewhere.", text())),
        ("X-Content-Type-Options", always("It is what its type says.", only("nosniff"))),
        ("Referrer-Policy", always("What other sites learn of the page: nothing.", only("no-referrer"))),
        ("Permissions-Policy", always("The page may ask for the microphone.", text())),
        ("ETag", always("Names this version of the content, for `If-None-Match`.", text())),
    ]
}

fn optional(description: &str, schema: ObjectBuilder) -> HeaderBuilder {
    HeaderBuilder::new().description(Some(description)).schema(Some(schema))
}

/// A response with these shared headers, beside those that every response has.
pub(super) fn response(description: &str, headers: &[&str]) -> ResponseBuilder {
    headers.iter().chain(&[REQUEST_ID]).fold(
        ResponseBuilder::new().description(description),
        |response, header| {
            let name = header.split_once('.').map_or(*header, |(name, _)| name);
            response.header_ref(name, Ref::new(format!("#/components/headers/{header}")))
        },
    )
}

/// JSON of a schema, with an example.
pub(super) fn json_of(schema: &str, example: Value) -> (&'static str, Content) {
    (JSON, ContentBuilder::new().schema(Some(Ref::from_schema_name(schema))).example(Some(example)).build())
}

/// Adds a response with JSON.
pub(super) fn json_response(response: ResponseBuilder, (mime, content): (&str, Content)) -> Response {
    response.content(mime, content).build()
}

/// Adds a response for each status that these codes have, and says in it which of them it may be.
pub(super) fn failing(
    operation: OperationBuilder,
    codes: impl IntoIterator<Item = ErrorCode>,
) -> OperationBuilder {
    failing_with(operation, codes, |_| &[])
}

/// The same, with more headers by status.
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

/// What an example of `invalid_param` names: the operation's first query parameter, or a field of its body.
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

/// What an error looks like.
fn error(code: ErrorCode, param: &str) -> Value {
    let mut failure = Failure::new(code, code.meaning());
    if code == ErrorCode::InvalidParam {
        failure.param = Some(param.to_owned().into());
    }
    json!(ErrorBody { error: HttpError::of_request(&failure) })
}
