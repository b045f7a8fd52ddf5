//! The operations query, list and cancel in the document.

use std::borrow::Cow;

use serde_json::json;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::path::{HttpMethod, PathItem};
use utoipa::openapi::schema::{AllOfBuilder, Schema, Type};
use utoipa::openapi::{ContentBuilder, ObjectBuilder, Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::parts::{
    KEYED, STORED, failing, json_of, json_response, operation, query_parameter, response, task_id, text,
    traced, whole_number,
};
use super::{Tag, examples};
use crate::api::tasks::{MAX_PAGE, MAX_WAIT, PAGE};
use crate::audio::Container;
use crate::error::ErrorCode;
use crate::task::{Segment, TaskId};
use crate::wire::schema::{described, words};
use crate::wire::task::status_words;

/// `GET /v1/tasks/{task_id}`
pub(crate) fn one() -> PathItem {
    let wait = "Holds the reply until the task ends or this many seconds have passed, whichever comes first.";
    let include = "`timeline` adds the times of the task's steps, `segments` the text with start and end times, \
                   `request` the request. Separate several words by commas; unknown words are ignored.";
    let sync = "Accepted for clients of similar services, as all unknown parameters are. It has no effect: the state is \
                always current.";
    let operation = operation(
        "getTask",
        Tag::Tasks.name(),
        "Query a task",
        "The task as it is now, with its result when it has one. Ended tasks are kept for a day.",
    )
    .parameter_ref(task_id())
    .parameter(
        query_parameter("wait", wait, whole_number(0).maximum(Some(MAX_WAIT))).example(Some(json!(30))),
    )
    .parameter(query_parameter("include", include, text()).example(Some(json!("timeline,segments,request"))))
    .parameter(query_parameter("sync_upstream", sync, text()))
    .response("200", {
        let example = |summary: &str, value| ExampleBuilder::new().summary(summary).value(Some(value));
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name("TaskDetails")))
            .examples_from_iter([
                ("completed", example("Completed", examples::completed())),
                ("failed", example("Failed", examples::failed())),
                (
                    "details",
                    example("With `include=timeline,segments,request`", examples::completed_with_details()),
                ),
            ])
            .build();
        json_response(response("The task.", &[]), ("application/json", content))
    });
    let codes =
        [ErrorCode::TaskNotFound, ErrorCode::InvalidParam, ErrorCode::QueueFull, ErrorCode::ShuttingDown];
    PathItem::new(HttpMethod::Get, failing(operation, KEYED.into_iter().chain(codes).chain(STORED)))
}

/// `GET /v1/tasks`
pub(crate) fn list() -> PathItem {
    let limit = whole_number(1).maximum(Some(MAX_PAGE)).default(Some(json!(PAGE)));
    let include = "`timeline` adds the times of each task's steps. Unknown words are ignored.";
    let after = "The `id` of the last task of the previous page. That task must still be kept.";
    let operation = operation(
        "listTasks",
        Tag::Tasks.name(),
        "List tasks",
        "Your key's tasks, newest first, page by page. While `has_more` is true, pass the last `id` as `after` to get \
         the next page. A page with large results may contain fewer tasks than `limit`.",
    )
    .parameter(query_parameter("limit", "Most tasks on the page.", limit))
    .parameter(query_parameter("after", after, text().pattern(Some(TaskId::PATTERN))))
    .parameter(query_parameter("status", "Only tasks in this state.", status_words()))
    .parameter(query_parameter("include", include, text()).example(Some(json!("timeline"))))
    .response("200", json_response(response("A page.", &[]), json_of("TaskList", examples::page())));
    let codes = [ErrorCode::InvalidParam, ErrorCode::QueueFull, ErrorCode::ShuttingDown];
    PathItem::new(HttpMethod::Get, failing(operation, KEYED.into_iter().chain(codes).chain(STORED)))
}

/// `POST /v1/tasks/{task_id}/cancel`
pub(crate) fn cancel() -> PathItem {
    let operation = operation(
        "cancelTask",
        Tag::Tasks.name(),
        "Cancel a task",
        "Stops the upstream call and ends the task as `failed` with the code `task_cancelled`. A task that has ended \
         stays as it is.",
    )
    .parameter_ref(task_id());
    let operation = traced(operation, "this request belongs")
        .response("200", json_response(response("The task.", &[]), json_of("Task", examples::completed())));
    let codes = [ErrorCode::TaskNotFound, ErrorCode::QueueFull, ErrorCode::ShuttingDown];
    PathItem::new(HttpMethod::Post, failing(operation, KEYED.into_iter().chain(codes).chain(STORED)))
}

/// The schema of a task with all parts that `include` adds.
pub(super) struct Details;

impl PartialSchema for Details {
    fn schema() -> RefOr<Schema> {
        let segments = Option::<Vec<Segment>>::schema();
        let added = ObjectBuilder::new()
            .property("timeline", Ref::from_schema_name("Timeline"))
            .property("segments", segments)
            .property("request", Ref::from_schema_name("TaskRequest"));
        AllOfBuilder::new()
            .description(Some("The ten fields of a task, and the parts that `include` requests."))
            .item(Ref::from_schema_name("Task"))
            .item(added)
            .into()
    }
}

impl ToSchema for Details {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("TaskDetails")
    }
}

/// The schema of a task's audio: [`AudioFacts`](crate::audio::AudioFacts) on the wire.
pub(super) struct Audio;

impl PartialSchema for Audio {
    fn schema() -> RefOr<Schema> {
        let duration = ObjectBuilder::new().schema_type(Type::Number).minimum(Some(0));
        ObjectBuilder::new()
            .description(Some(
                "Where the audio came from, and its properties. Before a download only the `url` is known.",
            ))
            .property("source", words(["inline", "url"]))
            .required("source")
            .property("url", described(text().build(), "The audio's URL, without user, password and query."))
            .property("format", Container::schema())
            .property("bytes", described(whole_number(0).build(), "Length of the file."))
            .property("duration_seconds", described(duration.build(), "The duration that the file states."))
            .into()
    }
}

impl ToSchema for Audio {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("TaskAudio")
    }
}
