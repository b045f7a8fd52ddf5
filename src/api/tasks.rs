//! `GET /v1/tasks/{id}` with `wait`, and cancel.

use std::time::Duration;

use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};

use super::caller::Caller;
use crate::actors::Tasks;
use crate::error::Failure;
use crate::task::id::TaskId;

/// Longest `wait`, in seconds.
const MAX_WAIT: u64 = 60;

/// Handles a query.
///
/// # Errors
/// `task_not_found`, or `invalid_param` for `wait`.
pub async fn query(
    request: HttpRequest,
    caller: Caller,
    path: web::Path<String>,
    tasks: web::Data<Tasks>,
) -> Result<HttpResponse, Failure> {
    let id = task_id(&path)?;
    request.extensions_mut().insert(id.clone());
    let snapshot = match wait(request.query_string())? {
        None => tasks.describe(&id, caller.hash).await?,
        Some(most) => tasks.wait(&id, caller.hash, most).await?,
    };
    let mut response = HttpResponse::Ok();
    Ok(if includes_timeline(request.query_string()) {
        response.json(snapshot.object_with_timeline())
    } else {
        response.json(snapshot.object())
    })
}

/// `?include=timeline`
fn includes_timeline(query: &str) -> bool {
    url::form_urlencoded::parse(query.as_bytes())
        .any(|(name, value)| name == "include" && value.split(',').any(|part| part == "timeline"))
}

/// Handles a cancel.
///
/// # Errors
/// `task_not_found`.
pub async fn cancel(
    request: HttpRequest,
    caller: Caller,
    path: web::Path<String>,
    tasks: web::Data<Tasks>,
) -> Result<HttpResponse, Failure> {
    let id = task_id(&path)?;
    request.extensions_mut().insert(id.clone());
    let snapshot = tasks.cancel(&id, caller.hash).await?;
    Ok(HttpResponse::Ok().json(snapshot.object()))
}

/// The task id of a path. What is no id is no task.
///
/// # Errors
/// `task_not_found`.
pub fn task_id(path: &str) -> Result<TaskId, Failure> {
    path.parse().map_err(|_| Failure::task_not_found())
}

/// `?wait=N`; other parameters are other services' and change nothing.
fn wait(query: &str) -> Result<Option<Duration>, Failure> {
    let wait = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "wait");
    let Some((_, text)) = wait else { return Ok(None) };
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(seconds) if digits && seconds <= MAX_WAIT => Ok(Some(Duration::from_secs(seconds))),
        _ => Err(Failure::invalid_param(
            "wait",
            format!("wait must be a whole number of seconds from 0 to {MAX_WAIT}"),
        )),
    }
}
