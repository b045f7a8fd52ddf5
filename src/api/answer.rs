//! Answers a submit: with its task, with the task's outcome, or with its stream.

use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, ResponseError};
use bytes::Bytes;

use super::caller::Caller;
use super::reading::idempotency_key;
use super::reply::{forbid_repeat, held, json, task_failed};
use super::stream;
use crate::actors::{Submitted, Tasks};
use crate::error::{ErrorCode, Failure};
use crate::fanout::SubscriptionFactory;
use crate::memory::Held;
use crate::net::Pieces;
use crate::task::{Delivery, FrameReader, Snapshot, State, TaskId};
use crate::wire::path;

/// Tells a client that the reply is about a task that an earlier submit with the same key started.
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Names the task that a reply is about.
const TASK_ID: HeaderName = HeaderName::from_static("x-task-id");

/// What is needed to answer a submit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answering<'a> {
    /// The request of the submit.
    pub request: &'a HttpRequest,
    /// The caller that sent it.
    pub caller: &'a Caller,
    /// The tasks of the server.
    pub tasks: &'a Tasks,
    /// Makes the subscriptions to streams.
    pub subscriptions: &'a SubscriptionFactory,
}

impl Answering<'_> {
    /// Answers in the way that the caller requested.
    ///
    /// # Errors
    /// The error that the caller gets instead, such as `queue_full` if there is no memory for the answer.
    pub(super) async fn with(self, submitted: Submitted) -> Result<HttpResponse, Failure> {
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

    /// Answers at once.
    async fn task(self, task: Held<Snapshot>) -> Result<HttpResponse, Failure> {
        let Held { value: snapshot, share } = task;
        let mut response = HttpResponse::Ok();
        response.insert_header((header::LOCATION, path::task(&snapshot.id)));
        let object = snapshot.object();
        json(response, &object, snapshot.weight(), share, self.tasks.responses(), self.caller.hash).await
    }

    /// Answers when the task has ended.
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
            // The task goes on without its caller, because the call has its answer.
            Err(failure)
                if matches!(failure.code, ErrorCode::StorageFull | ErrorCode::StorageUnavailable) =>
            {
                Ok(task_failed(&failure))
            }
            answer => answer,
        }
    }

    /// Answers with the stream once it has a chunk. Until then a failure is an HTTP error.
    async fn stream(self, mut log: FrameReader, id: &TaskId) -> Result<HttpResponse, Failure> {
        let mark = self.caller.unless_revoked(log.log_mut().reached_or_stalled(0)).await?;
        if mark.stalled && mark.len == 0 {
            return Ok(task_failed(&self.tasks.unrecorded(id)));
        }
        // The next start runs the task. Without a key, a repeat would start a second task.
        if mark.parked && !matches!(idempotency_key(self.request), Ok(Some(_))) {
            let reason = "The service is restarting, and runs the task once it is back";
            return Ok(answered_later(id, Failure::shutting_down(), reason));
        }
        // A single entry is the terminal frame of a failure.
        if mark.is_final() && mark.len <= 1 {
            return self.ended(self.tasks.describe(id, self.caller.hash).await?).await;
        }
        Ok(stream::response(self.request, self.subscriptions, self.caller, id.clone(), log, 0))
    }

    /// Answers with the end of a task. The task may also have been left to the next start.
    async fn ended(self, task: Held<Snapshot>) -> Result<HttpResponse, Failure> {
        let Held { value: snapshot, share } = task;
        Ok(match snapshot.state {
            State::Completed(completion) => {
                let bytes = Bytes::from_owner(completion);
                let bytes = held(bytes, share, self.tasks.responses(), self.caller.hash).await?;
                HttpResponse::Ok().content_type(header::ContentType::json()).body(Pieces::of(bytes))
            }
            State::Failed { failure, .. } => task_failed(&failure),
            State::Pending | State::Processing { .. } => Failure::shutting_down().error_response(),
        })
    }
}

/// Returns the reply to a call whose task has or will have an answer that this call does not get. A repeat of the call
/// would pay for a second answer.
fn answered_later(id: &TaskId, failure: Failure, reason: &str) -> HttpResponse {
    let message = format!("{reason}; GET {} has its answer", path::task(id));
    let mut response = Failure { message: message.into(), ..failure }.error_response();
    forbid_repeat(&mut response);
    response
}
