//! Calls that are repeated until they are answered: how often, and what the user sees in the meantime.

use std::cell::Cell;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::format::time;
use super::progress::{Progress, State};
use crate::client::{Patience, Problem, Sent, Server, Status, Task};
use crate::random::random_text;

/// How long a submit that the server could not take is repeated, uploads not counted, and how long an answer is
/// retried.
const BOUND: Duration = Duration::from_secs(120);
/// Interval of the updates during an upload.
const LOOK: Duration = Duration::from_millis(100);
/// Interval of the updates during a pause.
const COUNT: Duration = Duration::from_secs(1);
/// Smallest body that is shown as an upload, in bytes.
const WORTH_SHOWING: u64 = 2048;
/// Interval of the requests whether a task still waits, as long as its stream is silent.
const ASK: Duration = Duration::from_secs(1);

/// A call that was given up.
#[derive(Debug)]
pub(super) struct GivenUp {
    /// The problem of the last try.
    pub(super) problem: Problem,
    /// How long the call was tried; none if it was refused permanently.
    pub(super) tried: Option<Duration>,
}

/// The tries of one call.
struct Tries<'a> {
    progress: &'a Progress,
    started: Instant,
    patience: Patience,
    repeated: bool,
}

impl<'a> Tries<'a> {
    fn begin(progress: &'a Progress) -> Self {
        Self { progress, started: Instant::now(), patience: Patience::of(BOUND), repeated: false }
    }

    /// Waits until the next try, or returns the problem if there is none.
    async fn again(&mut self, problem: Problem, passing: bool) -> Result<(), GivenUp> {
        let pause = if passing { self.patience.pause(problem.retry_after()) } else { None };
        let Some(pause) = pause else {
            let tried = (passing && self.repeated).then(|| self.started.elapsed());
            return Err(GivenUp { problem, tried });
        };
        self.repeated = true;
        self.progress.note(format_args!("not accepted yet: {problem}; again in {}", time(pause)));
        let end = Instant::now() + pause;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.progress.show(State::Waiting(left));
            sleep(left.min(COUNT)).await;
        }
    }
}

/// Returns the models that the key may use. A broken connection is retried; a server that was never reached is not.
pub(super) async fn models(server: &Server, progress: &Progress) -> Result<Vec<String>, GivenUp> {
    let mut tries = Tries::begin(progress);
    let mut was_there = false;
    loop {
        progress.show(State::Connecting);
        let problem = match server.models().await {
            Ok(models) => return Ok(models),
            Err(problem) => problem,
        };
        was_there |= !matches!(problem, Problem::Unreachable(_));
        let passing = problem.may_pass() && was_there;
        tries.again(problem, passing).await?;
    }
}

/// Sends a submit until it is accepted, or refused permanently. Once it is no longer `wanted`, it is sent again only if
/// it may have been accepted, because the reply contains its id.
pub(super) async fn send(
    server: &Server,
    progress: &Progress,
    body: Bytes,
    sent: &Sent,
    wanted: &Cell<bool>,
) -> Result<Task, GivenUp> {
    // The key marks every repetition as the same task.
    let idempotency_key = format!("submit-{}", random_text(24));
    let total = body.len() as u64;
    let mut tries = Tries::begin(progress);
    loop {
        let doubtful = sent.may_be_taken();
        // A request without audio is too small to be noticed as an upload.
        let worth_showing = total >= WORTH_SHOWING;
        progress.show(if worth_showing { State::Uploading(0, total) } else { State::Connecting });
        let call = server.submit(body.clone(), &idempotency_key, sent.clone());
        tokio::pin!(call);
        let (mut moved, mut looked) = (0, Instant::now());
        let problem = loop {
            tokio::select! {
                reply = &mut call => match reply {
                    Ok(task) => return Ok(task),
                    Err(problem) => break problem,
                },
                () = sleep(LOOK), if worth_showing => {
                    progress.show(State::Uploading(sent.bytes(), total));
                    if sent.bytes() != moved {
                        tries.patience.spare(looked.elapsed());
                    }
                    (moved, looked) = (sent.bytes(), Instant::now());
                }
            }
        };
        // A lost reply may have accepted the task.
        if !doubtful && !matches!(problem, Problem::Cut(_)) {
            sent.was_refused();
        }
        let passing = problem.may_pass() && problem.code() != Some("internal_error");
        tries.again(problem, passing && (wanted.get() || sent.may_be_taken())).await?;
    }
}

/// Checks, while a task's stream is silent, whether the task still waits. The result is only shown.
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

/// Returns a task once it has ended, however long that takes.
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
