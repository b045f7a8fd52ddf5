//! Requests about the tasks that the server knows.

use std::collections::HashSet;
use std::net::SocketAddr;

use hearken::task::TaskId;
use serde::Deserialize;

use super::Outcome;
use super::kit::client::{Connection, ReplyRef};
use super::request::{list, subscription, wait_for};

/// The minutes after which a task counts as hanging.
const PATIENCE_MINUTES: usize = 5;

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    data: Vec<Listed<'a>>,
    has_more: bool,
}

#[derive(Deserialize)]
struct Listed<'a> {
    id: &'a str,
    status: &'a str,
}

/// Returns the task that a reply acknowledges.
pub(crate) fn acknowledged(reply: &ReplyRef<'_>) -> Outcome<TaskId> {
    let id = reply.body.strip_prefix(br#"{"id":""#).and_then(|rest| rest.split(|byte| *byte == b'"').next());
    let id =
        id.and_then(|id| std::str::from_utf8(id).ok()?.parse().ok()).filter(|_| reply.head.status == 200);
    id.ok_or_else(|| unexpected(reply))
}

/// Waits until a task completes; any other end is an error.
pub(crate) fn completed(connection: &mut Connection, id: &TaskId) -> Outcome<()> {
    for _ in 0..PATIENCE_MINUTES {
        let reply = connection.exchange(&wait_for(id))?;
        let task: Listed<'_> = serde_json::from_slice(reply.body)?;
        match task.status {
            "completed" => return Ok(()),
            "pending" | "processing" => {}
            _ => return Err(unexpected(&reply)),
        }
    }
    Err(format!("{id} has not ended in {PATIENCE_MINUTES} minutes").into())
}

/// Returns the whole stream of a task that has ended, as a subscriber reads it.
pub(crate) fn stream_of(server: SocketAddr, id: &TaskId) -> Outcome<String> {
    let mut connection = Connection::open(server)?;
    let reply = connection.exchange(&subscription(id))?;
    let stream = String::from_utf8(reply.body.to_vec())?;
    if reply.head.status == 200 { Ok(stream) } else { Err(format!("{id} has no stream: {stream}").into()) }
}

/// Returns all tasks that have not ended, page by page.
pub(crate) fn listed(server: SocketAddr) -> Outcome<HashSet<TaskId>> {
    let mut connection = Connection::open(server)?;
    let mut known = HashSet::new();
    let mut last: Option<String> = None;
    loop {
        let reply = connection.exchange(&list(last.as_deref()))?;
        if reply.head.status != 200 {
            return Err(unexpected(&reply));
        }
        let page: Page<'_> = serde_json::from_slice(reply.body)?;
        last = page.data.last().map(|task| task.id.to_owned());
        for task in page.data.iter().filter(|task| matches!(task.status, "pending" | "processing")) {
            known.insert(task.id.parse().map_err(|_| format!("{:?} is not the id of a task", task.id))?);
        }
        if !page.has_more {
            return Ok(known);
        }
    }
}

/// Returns an error about an unexpected reply.
pub(crate) fn unexpected(reply: &ReplyRef<'_>) -> super::Error {
    format!("an unexpected reply: {} {}", reply.head.status, String::from_utf8_lossy(reply.body)).into()
}
