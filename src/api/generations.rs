//! `POST /v1/llm/generations`, which submits a task: asynchronous, blocking or streaming.

use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};

use super::answer::AnswerContext;
use super::body::{read_json, refuse};
use super::caller::Caller;
use super::reading::{SubmitSettings, idempotency_key, read};
use crate::actors::Tasks;
use crate::error::Failure;
use crate::fanout::SubscriptionFactory;
use crate::task::Submission;
use crate::wire::trace_context::TraceContext;

/// Handles a submit.
///
/// # Errors
/// Any error that the OpenAPI document lists for a submit.
pub(super) async fn submit(
    request: HttpRequest,
    caller: Result<Caller, Failure>,
    payload: web::Payload,
    settings: web::Data<SubmitSettings>,
    subscriptions: web::Data<SubscriptionFactory>,
    tasks: web::Data<Tasks>,
) -> Result<HttpResponse, Failure> {
    // Without a valid key, the body is received and thrown away, so that the client can read the error.
    let read_head = caller.and_then(|caller| Ok((caller, idempotency_key(&request)?)));
    let (caller, key) = match read_head {
        Ok(head) => head,
        Err(failure) => return Ok(refuse(&request, &failure, payload).await),
    };
    let body = read_json(&request, payload, settings.max_body_bytes, &settings.memory);
    let body = match caller.unless_revoked(body).await? {
        Ok(body) => body,
        Err(response) => return Ok(response),
    };
    let (submission, idempotency) = read(body, key, &settings, Submission::parse).await?;
    let trace = request.extensions().get::<TraceContext>().cloned();
    let submitted = tasks.submit(&caller, submission, idempotency, trace).await?;
    let context =
        AnswerContext { request: &request, caller: &caller, tasks: &tasks, subscriptions: &subscriptions };
    context.answer(submitted).await
}
