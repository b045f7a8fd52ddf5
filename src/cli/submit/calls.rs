//! Calls that are made until they have an answer: how often, and what is shown meanwhile.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::format::time;
use super::progress::{Progress, State};
use crate::client::patience::Patience;
use crate::client::problem::Problem;
use crate::client::replies::{Status, Task};
use crate::client::server::Server;
use crate::client::upload::Sent;
use crate::task::id::random_text;

/// How long a submit is repeated that the server could not take, besides its uploads, and an answer is asked for again.
const BOUND: Duration = Duration::from_secs(120);
/// How often the display of an upload moves.
const LOOK: Duration = Duration::from_millis(100);
/// Smallest body that is an upload to its user, in bytes.
const WORTH_SHOWING: u64 = 2048;
/// How often a task of which nothing was heard is asked whether it still waits.
const ASK: Duration = Duration::from_secs(1);

/// A submit that was given up.
#[derive(Debug)]
pub(super) struct GivenUp {
    /// What became of the last try.
    pub(super) problem: Problem,
    /// Was the reply to a try lost, which may have been a task?
    pub(super) doubtful: bool,
}

/// Sends a submit until it is accepted, or refused for good.
pub(super) async fn send(
    server: &Server,
    progress: &Progress,
    body: Bytes,
    sent: &Sent,
) -> Result<Task, GivenUp> {
    // The same task, however often it has to be sent.
    let idempotency_key = format!("submit-{}", random_text(24));
    let total = body.len() as u64;
    let mut patience = Patience::of(BOUND);
    let mut doubtful = false;
    loop {
        // A request without audio in it is no upload that anybody would notice.
        if total >= WORTH_SHOWING {
            progress.show(State::Uploading(0, total));
        }
        let call = server.submit(body.clone(), &idempotency_key, sent.clone());
        tokio::pin!(call);
        let (mut moved, mut looked) = (0, Instant::now());
        let problem = loop {
            tokio::select! {
                reply = &mut call => match reply {
                    Ok(task) => return Ok(task),
                    Err(problem) => break problem,
                },
                () = sleep(LOOK), if total >= WORTH_SHOWING => {
                    progress.show(State::Uploading(sent.bytes(), total));
                    if sent.bytes() != moved {
                        patience.spare(looked.elapsed());
                    }
                    (moved, looked) = (sent.bytes(), Instant::now());
                }
            }
        };
        doubtful |= sent.bytes() == total && matches!(problem, Problem::Cut(_));
        let passing = problem.may_pass() && problem.code() != Some("internal_error");
        let Some(pause) = patience.pause(problem.retry_after()).filter(|_| passing) else {
            return Err(GivenUp { problem, doubtful });
        };
        progress.note(format_args!("not accepted yet: {problem}; again in {}", time(pause)));
        sleep(pause).await;
    }
}

/// Asks, while nothing is heard of a task, whether it still waits. What it is told is only for the eye.
pub(super) async fn watch(server: &Server, progress: &Progress, id: &str) {
    sleep(ASK).await;
    if !progress.is_seen() {
        return std::future::pending().await;
    }
    match server.task(id).await.map(|task| task.status) {
        Ok(Status::Pending) => progress.show(State::Queued),
        Ok(Status::Processing) => progress.show(State::Thinking),
        Ok(Status::Completed | Status::Failed) | Err(_) => {}
    }
}

/// A task at its end, however long that takes.
pub(super) async fn ended(server: &Server, id: &str) -> Result<Task, Problem> {
    let mut patience = Patience::of(BOUND);
    loop {
        match server.wait(id).await {
            Ok(task) if matches!(task.status, Status::Completed | Status::Failed) => return Ok(task),
            Ok(_) => patience.renew(),
            Err(problem) => {
                let pause = patience.pause(problem.retry_after()).filter(|_| problem.may_pass());
                sleep(pause.ok_or(problem)?).await;
            }
        }
    }
}
