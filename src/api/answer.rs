//! Answers a submit with its task, with the outcome of the task, or with the stream of the task.

use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, ResponseError};
use bytes::Bytes;

use super::caller::Caller;
use super::reading::idempotency_key;
use super::reply::{forbid_repeat, json, task_failed, with_share};
use super::stream;
use crate::actors::{Submitted, Tasks};
use crate::error::{ErrorCode, Failure};
use crate::fanout::SubscriptionFactory;
use crate::memory::Held;
use crate::net::Pieces;
use crate::task::{Delivery, FrameReader, Snapshot, State, TaskId};
use crate::wire::path;

/// The header that marks a reply about a task that an earlier submit with the same key started.
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// The header that names the task that a reply is about.
const TASK_ID: HeaderName = HeaderName::from_static("x-task-id");

/// The values that are needed to answer a submit.
#[derive(Debug, Clone, Copy)]
pub(super) struct AnswerContext<'a> {
    /// The request of the submit.
    pub request: &'a HttpRequest,
    /// The caller that sent the request.
    pub caller: &'a Caller,
    /// The tasks of the server.
    pub tasks: &'a Tasks,
    /// Makes the subscriptions to streams.
    pub subscriptions: &'a SubscriptionFactory,
}

impl AnswerContext<'_> {
    /// Answers in the way that the caller requested.
    ///
    /// # Errors
    /// The error that the caller gets instead, such as `queue_full` if there is no memory for the answer.
    pub(super) async fn answer(self, submitted: Submitted) -> Result<HttpResponse, Failure> {
        let (id, is_replayed) = (submitted.id().clone(), submitted.is_replayed());
        self.request.extensions_mut().insert(id.clone());
        let mut response = match submitted.delivery() {
            Delivery::Asynchronous => self.task(submitted.state().await?).await?,
            Delivery::Blocking => self.outcome(submitted, &id).await?,
            Delivery::Streaming(format) => self.stream(submitted.log().await?.in_format(format), &id).await?,
        };
        let headers = response.headers_mut();
        if let Ok(value) = HeaderValue::from_str(id.as_str()) {
            headers.insert(TASK_ID, value);
        }
        if is_replayed {
            headers.insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
        }
        Ok(response)
    }

    /// Answers with the task as it is now.
    async fn task(self, task: Held<Snapshot>) -> Result<HttpResponse, Failure> {
        let Held { value: snapshot, share } = task;
        let mut response = HttpResponse::Ok();
        response.insert_header((header::LOCATION, path::task(&snapshot.id)));
        let object = snapshot.object();
        json(response, &object, snapshot.weight(), share, self.tasks.responses(), self.caller.hash).await
    }

    /// Waits until the task has ended, and answers with its outcome.
    async fn outcome(self, submitted: Submitted, id: &TaskId) -> Result<HttpResponse, Failure> {
        let answer = async {
            let task = self.caller.unless_revoked(submitted.outcome()).await??;
            self.ended(task).await
        };
        match answer.await {
            Err(crowded) if crowded.code == ErrorCode::QueueFull => {
                let reason = "The task has completed, and too many large answers are being sent";
                Ok(answered_later(id, crowded, reason))
            }
            // The call gets an error, and the task continues without it.
            Err(failure)
                if matches!(failure.code, ErrorCode::StorageFull | ErrorCode::StorageUnavailable) =>
            {
                Ok(task_failed(&failure))
            }
            answer => answer,
        }
    }

    /// Waits for the first chunk, and answers with the stream. A failure before the first chunk is an HTTP error.
    async fn stream(self, mut log: FrameReader, id: &TaskId) -> Result<HttpResponse, Failure> {
        let mark = self.caller.unless_revoked(log.log_mut().reached_or_stalled(0)).await?;
        if mark.stalled && mark.len == 0 {
            return Ok(task_failed(&self.tasks.unrecorded(id)));
        }
        // The next start of the service runs the task. A repeat without an `Idempotency-Key` would start a second task.
        if mark.parked && !matches!(idempotency_key(self.request), Ok(Some(_))) {
            let reason = "The service is restarting, and will run the task after the restart";
            return Ok(answered_later(id, Failure::shutting_down(), reason));
        }
        // If the log has only one entry, the entry is the terminal frame of a failure.
        if mark.is_final() && mark.len <= 1 {
            return self.ended(self.tasks.describe(id, self.caller.hash).await?).await;
        }
        Ok(stream::response(self.request, self.subscriptions, self.caller, id.clone(), log, 0))
    }

    /// Answers with the outcome of a task. If the task has no outcome, the next start of the service runs it.
    async fn ended(self, task: Held<Snapshot>) -> Result<HttpResponse, Failure> {
        let Held { value: snapshot, share } = task;
        Ok(match snapshot.state {
            State::Completed(completion) => {
                let bytes = Bytes::from_owner(completion);
                let bytes = with_share(bytes, share, self.tasks.responses(), self.caller.hash).await?;
                HttpResponse::Ok().content_type(header::ContentType::json()).body(Pieces::of(bytes))
            }
            State::Failed { failure, .. } => task_failed(&failure),
            State::Pending | State::Processing { .. } => Failure::shutting_down().error_response(),
        })
    }
}

/// Returns the reply to a call that does not get the answer of its task, although the task has one or will have one. It
/// forbids a repeat, which would cause the costs of a second answer.
fn answered_later(id: &TaskId, failure: Failure, reason: &str) -> HttpResponse {
    let message = format!("{reason}; GET {} returns the answer", path::task(id));
    let mut response = Failure { message: message.into(), ..failure }.error_response();
    forbid_repeat(&mut response);
    response
}
