//! Handles queries (`GET /v1/tasks/{id}`), lists (`GET /v1/tasks`) and cancels of tasks.

use std::str::FromStr;
use std::time::Duration;

use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};

use super::caller::Caller;
use super::reply::json;
use crate::actors::Tasks;
use crate::error::Failure;
use crate::memory::Held;
use crate::task::{Include, ListQuery, Snapshot, Status, TaskId};
use crate::wire::task::TaskList;

/// Longest `wait`, in seconds.
pub(super) const MAX_WAIT: u64 = 60;
/// Default number of tasks on a page.
pub(super) const PAGE: usize = 20;
/// Most tasks on a page.
pub(super) const MAX_PAGE: usize = 100;

/// Handles a query.
///
/// # Errors
/// `task_not_found`, `invalid_param` for `wait`, or `queue_full` if there is no memory for the answer.
pub(super) async fn query(
    request: HttpRequest,
    caller: Caller,
    tasks: web::Data<Tasks>,
) -> Result<HttpResponse, Failure> {
    let id = task_id(&request)?;
    let include = include(request.query_string());
    if let Some(most) = wait(request.query_string())? {
        caller.unless_revoked(tasks.wait(&id, caller.hash, most)).await??;
    }
    let Held { value: snapshot, share } = tasks.describe_with(&id, caller.hash, include).await?;
    let asked = match include.request {
        true => Some(tasks.request(&id, caller.hash).await?),
        false => None,
    };
    let view = snapshot.view(include, asked.as_ref());
    json(HttpResponse::Ok(), &view, snapshot.weight(), share, tasks.responses(), caller.hash).await
}

/// Reads `?include=part,part`. Unknown parts are ignored.
fn include(query: &str) -> Include {
    let mut include = Include::default();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        for part in value.split(',').filter(|_| name == "include") {
            match part {
                "timeline" => include.timeline = true,
                "segments" => include.segments = true,
                "request" => include.request = true,
                _ => {}
            }
        }
    }
    include
}

/// Handles a list.
///
/// # Errors
/// `invalid_param` for `limit`, `after` or `status`, or `queue_full` if there is no memory for the answer.
pub(super) async fn list(
    request: HttpRequest,
    caller: Caller,
    tasks: web::Data<Tasks>,
) -> Result<HttpResponse, Failure> {
    let Held { value: page, share } = tasks.list(caller.hash, list_query(request.query_string())?).await?;
    // A page is read without segments.
    let include = Include { segments: false, ..include(request.query_string()) };
    let views = page.tasks.iter().map(|task| task.view(include, None)).collect();
    let results = page.tasks.iter().map(Snapshot::weight).sum();
    let list = TaskList::new(views, page.has_more);
    json(HttpResponse::Ok(), &list, results, share, tasks.responses(), caller.hash).await
}

fn list_query(query: &str) -> Result<ListQuery, Failure> {
    let mut wanted = ListQuery { limit: PAGE, after: None, status: None };
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "limit" => {
                wanted.limit =
                    whole_number(&value).filter(|limit| (1..=MAX_PAGE).contains(limit)).ok_or_else(|| {
                        Failure::invalid_param(
                            "limit",
                            format!("limit must be a whole number from 1 to {MAX_PAGE}"),
                        )
                    })?;
            }
            "after" => {
                let id = value.parse().map_err(|_| {
                    Failure::invalid_param(
                        "after",
                        "after must be the id of the last task of the previous page",
                    )
                })?;
                wanted.after = Some(id);
            }
            "status" => {
                let status = Status::ALL.into_iter().find(|status| status.as_str() == value);
                wanted.status = Some(status.ok_or_else(|| {
                    let words = Status::ALL.map(Status::as_str).join(", ");
                    Failure::invalid_param("status", format!("status must be one of {words}"))
                })?);
            }
            // Unknown parameters are ignored, because clients of similar services may send some.
            _ => {}
        }
    }
    Ok(wanted)
}

/// Parses a number that consists only of digits.
fn whole_number<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Handles a cancel.
///
/// # Errors
/// `task_not_found`, or `queue_full` if there is no memory for the answer.
pub(super) async fn cancel(
    request: HttpRequest,
    caller: Caller,
    tasks: web::Data<Tasks>,
) -> Result<HttpResponse, Failure> {
    let id = task_id(&request)?;
    let Held { value: snapshot, share } = tasks.cancel(&id, caller.hash).await?;
    json(HttpResponse::Ok(), &snapshot.object(), snapshot.weight(), share, tasks.responses(), caller.hash)
        .await
}

/// Reads the task's id in the path. The request's log line names the id. A text that is not an id is an unknown task.
///
/// # Errors
/// `task_not_found`.
pub(super) fn task_id(request: &HttpRequest) -> Result<TaskId, Failure> {
    let id: Option<TaskId> = request.match_info().get("task_id").and_then(|id| id.parse().ok());
    let id = id.ok_or_else(Failure::task_not_found)?;
    request.extensions_mut().insert(id.clone());
    Ok(id)
}

/// Reads `?wait=N`. Unknown parameters are ignored.
fn wait(query: &str) -> Result<Option<Duration>, Failure> {
    let wait = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "wait");
    let Some((_, text)) = wait else { return Ok(None) };
    match whole_number(&text) {
        Some(seconds) if seconds <= MAX_WAIT => Ok(Some(Duration::from_secs(seconds))),
        _ => Err(Failure::invalid_param(
            "wait",
            format!("wait must be a whole number of seconds from 0 to {MAX_WAIT}"),
        )),
    }
}
