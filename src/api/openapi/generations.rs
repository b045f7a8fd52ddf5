//! The operations submit and stream in the document.

use serde_json::json;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::link::{Link, LinkBuilder};
use utoipa::openapi::path::{HttpMethod, PathItem};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{OneOfBuilder, SchemaType, Type};
use utoipa::openapi::{
    Content, ContentBuilder, Object, ObjectBuilder, Ref, Required, ResponseBuilder, Schema,
};

use super::parts::{
    KEYED, failing, failing_with, header_parameter, operation, query_parameter, response, task_id, text,
    traced, whole_number,
};
use super::{Tag, examples};
use crate::error::ErrorCode;
use crate::task::{
    DEFAULT_PROMPT, IdempotencyKey, MAX_MODEL_CHARACTERS, MAX_PROMPT_CHARACTERS,
    MAX_SYSTEM_PROMPT_CHARACTERS, TEMPERATURES,
};
use crate::wire::schema::words;

const EVENT_STREAM: &str = "text/event-stream";
const JSON: &str = "application/json";

/// The beginning of every valid `audio_url`. A regular expression cannot express the whole rule.
const AUDIO_URL: &str = r"^(?:[Hh][Tt][Tt][Pp][Ss]?://[^/\s]|[Dd][Aa][Tt][Aa]:[^,]*;[Bb][Aa][Ss][Ee]64\s*,)";

/// `POST /v1/llm/generations`
pub(crate) fn submit() -> PathItem {
    let description = "Sends audio with a prompt to a model. `sync` and `stream` choose the reply:\n\n\
        | `sync` | `stream` | the reply |\n|---|---|---|\n\
        | false | false | the task, at once; query it at `GET /v1/tasks/{task_id}` |\n\
        | false | true | the same, and its chunks can be subscribed to at `stream.url` |\n\
        | true | false | the ChatCompletion, when the task has ended; if the client disconnects, the task is cancelled |\n\
        | true | true | the stream of chunks; after a disconnect it can be resumed at `stream.url` |\n\n\
        The format is recognised from the bytes: wav, mp3, aiff, aac, ogg, flac or m4a. A synchronous call fails \
        with the status of its task's error, unless part of the answer was sent before.";
    let key = "Makes the submit repeatable: for a day, a repeat with the same key and the same body returns the first \
        task in its current state, and starts no new one. 1 to 255 printable ASCII characters, with or without \
        quotation marks around them.";
    let body =
        ContentBuilder::new().schema(Some(Ref::from_schema_name("SubmitRequest"))).examples_from_iter([
            (
                "url",
                ExampleBuilder::new().summary("A URL, answered as a stream").value(Some(examples::submit())),
            ),
            (
                "inline",
                ExampleBuilder::new()
                    .summary("Inline audio, answered when the task has ended")
                    .value(Some(examples::inline_submit())),
            ),
        ]);
    let operation = operation("submitGeneration", Tag::Generations.name(), "Submit audio", description)
        .parameter(header_parameter("Idempotency-Key", key, text().pattern(Some(IdempotencyKey::PATTERN))));
    let operation = traced(operation, "the task, and each call of an upstream that it makes, belong")
        .request_body(Some(
            RequestBodyBuilder::new().required(Some(Required::True)).content(JSON, body.build()).build(),
        ))
        .response("200", answer());
    // A synchronous call may return any error that its task may have.
    let codes = ErrorCode::ALL.iter().copied().filter(|code| {
        !matches!(code, ErrorCode::NotFound | ErrorCode::MethodNotAllowed | ErrorCode::StreamNotEnabled)
    });
    let operation = failing_with(operation, codes, |status| match status {
        409 | 500.. => &["X-Task-Id.failed", "Idempotent-Replayed", "x-should-retry"],
        422 => &["X-Task-Id.failed", "Idempotent-Replayed"],
        _ => &[],
    });
    PathItem::new(HttpMethod::Post, operation)
}

fn answer() -> ResponseBuilder {
    let either =
        OneOfBuilder::new().item(Ref::from_schema_name("Task")).item(Ref::from_schema_name("ChatCompletion"));
    let json = ContentBuilder::new().schema(Some(either)).examples_from_iter([
        ("asynchronous", ExampleBuilder::new().summary("`sync` false").value(Some(examples::pending()))),
        (
            "synchronous",
            ExampleBuilder::new().summary("`sync` true, `stream` false").value(Some(examples::completion())),
        ),
    ]);
    let description =
        "Asynchronous: the durable task, with `Location`. Synchronous: the answer, whole or as a stream.";
    let headers =
        ["X-Task-Id", "Location", "Idempotent-Replayed", "Cache-Control.stream", "X-Accel-Buffering.stream"];
    ["getTask", "streamGeneration", "cancelTask"]
        .into_iter()
        .fold(response(description, &headers), |response, operation| {
            response.link(operation, of_this_task(operation))
        })
        .content(JSON, json.build())
        .content(EVENT_STREAM, frames())
}

/// Links the reply to an asynchronous submit to another operation on its task.
fn of_this_task(operation: &str) -> Link {
    LinkBuilder::new().operation_id(operation).parameter("task_id", "$response.header.X-Task-Id").build()
}

/// `GET /v1/llm/generations/{task_id}/stream`
pub(crate) fn stream() -> PathItem {
    let description = "The frames of a task that was submitted with `\"stream\": true`, before, during and after its \
        run, for any number of subscribers. The response begins at once and ends after the frame `done` or `error`; a \
        comment line keeps the connection alive while there is no data.";
    let description = format!("{description}\n\n```\n{}```", examples::stream());
    let offset = "The number of the first chunk to send. If that chunk does not exist yet, the response waits for it; if \
        the task has ended without it, the response is only the terminal frame.";
    let last = "The `id` of the last frame that was read, as a browser's `EventSource` sends it: the stream continues \
        after it. It takes precedence over `offset`; a value that is not a number is ignored.";
    let operation = operation(
        "streamGeneration",
        Tag::Generations.name(),
        "Subscribe to chunks",
        &description,
    )
    .parameter_ref(task_id())
    .parameter(query_parameter("offset", offset, whole_number(0).default(Some(json!(0)))))
    .parameter(header_parameter("Last-Event-ID", last, text()))
    .response(
        "200",
        response("The frames.", &["Cache-Control", "X-Accel-Buffering"]).content(EVENT_STREAM, frames()),
    )
    .response(
        "204",
        response(
            "`Last-Event-ID` is at or past the end of the stream: no frame follows, so do not reconnect.",
            &[],
        ),
    );
    let codes = [
        ErrorCode::TaskNotFound,
        ErrorCode::StreamNotEnabled,
        ErrorCode::StreamExpired,
        ErrorCode::InvalidParam,
        ErrorCode::ShuttingDown,
        ErrorCode::StorageFull,
        ErrorCode::StorageUnavailable,
    ];
    PathItem::new(HttpMethod::Get, failing(operation, KEYED.into_iter().chain(codes)))
}

/// Returns the content of a stream: the schema of one event. OpenAPI 3.1 cannot describe an event stream, and tools
/// expect this schema.
fn frames() -> Content {
    ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("StreamFrame")))
        .examples_from_iter(
            examples::frames().map(|(name, summary, value)| {
                (name, ExampleBuilder::new().summary(summary).value(Some(value)))
            }),
        )
        .build()
}

/// Returns the schema of one frame of a stream.
pub(super) fn frame() -> Schema {
    let frame = |event: &'static str, description: &str, data: ObjectBuilder| {
        let id = text().pattern(Some("^[0-9]+$")).description(Some("The number of the chunk, from 0 on."));
        let retry = whole_number(0).description(Some("Milliseconds; only in the first frame of a response."));
        let frame = ObjectBuilder::new()
            .description(Some(description))
            .property("event", words([event]))
            .property("id", id)
            .property("retry", retry)
            .property("data", data);
        ["event", "id", "data"].into_iter().fold(frame, ObjectBuilder::required)
    };
    let json =
        |schema: &str| text().content_media_type(JSON).content_schema(Some(Ref::from_schema_name(schema)));
    OneOfBuilder::new()
        .description(Some("One event of a stream. A stream has only these three kinds."))
        .item(frame("chunk", "A part of the answer.", json("ChatCompletionChunk")))
        .item(frame("done", "The end of a completed task.", words(["[DONE]"]).into()))
        .item(frame("error", "The end of a failed task.", json("FailedTask")))
        .build()
        .into()
}

/// Returns the schema of the data of an `error` frame.
pub(super) fn failed_task() -> Object {
    ObjectBuilder::new()
        .description(Some("The data of an `error` frame: the task's error."))
        .property("error", Ref::from_schema_name("TaskError"))
        .required("error")
        .build()
}

/// Returns the schema of a submit's body, with the constants that validate it.
pub(super) fn submit_request() -> Object {
    let or_null = |kind| ObjectBuilder::new().schema_type(SchemaType::from_iter([kind, Type::Null]));
    // The keyword `default` would make a field required in the types of some generators (openapi-typescript), so the
    // descriptions name the default instead.
    let flag = |description: &str| {
        or_null(Type::Boolean).description(Some(format!("{description} Without it: `false`.")))
    };
    ObjectBuilder::new()
        .description(Some("An explicit null is the same as absence; unknown fields are ignored."))
        .property(
            "model",
            text()
                .description(Some("Served by a channel; `GET /v1/models` lists the models."))
                .min_length(Some(1))
                .max_length(Some(MAX_MODEL_CHARACTERS)),
        )
        .required("model")
        .property(
            "audio_url",
            text()
                .description(Some(
                    "`data:audio/<type>;base64,<payload>`, or an `http://` or `https://` URL at a public address, \
                     which the server downloads.",
                ))
                .min_length(Some(1))
                .pattern(Some(AUDIO_URL)),
        )
        .required("audio_url")
        .property(
            "prompt",
            or_null(Type::String)
                .description(Some(format!("What to do with the audio. Without it: `{DEFAULT_PROMPT}`.")))
                .min_length(Some(1))
                .max_length(Some(MAX_PROMPT_CHARACTERS)),
        )
        .property("sync", flag("If true, the reply is the answer, and is sent when it is there."))
        .property("stream", flag("If true, clients can subscribe to the chunks. With `sync`, the chunks are the reply."))
        .property(
            "max_tokens",
            or_null(Type::Integer)
                .description(Some("Most tokens of the answer; without it, the upstream's own limit."))
                .minimum(Some(1usize))
                .maximum(Some(u64::MAX)),
        )
        .property(
            "temperature",
            or_null(Type::Number)
                .description(Some("Without it, the upstream's own default."))
                .minimum(Some(*TEMPERATURES.start()))
                .maximum(Some(*TEMPERATURES.end())),
        )
        .property(
            "system_prompt",
            or_null(Type::String)
                .description(Some("Instructions that come before the prompt."))
                .max_length(Some(MAX_SYSTEM_PROMPT_CHARACTERS)),
        )
        .property("reasoning", flag("If true, the answer includes the model's reasoning, if the model provides it."))
        .build()
}
