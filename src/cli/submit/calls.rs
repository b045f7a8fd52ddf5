//! Calls that are repeated until they are answered: how often, and what the user sees in the meantime.

use std::cell::Cell;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::format::time;
use super::progress::{ProgressDisplay, ShownState};
use crate::client::{Backoff, CallError, Server, Status, Task, UploadProgress};
use crate::random::random_text;

/// How long a submit is repeated while the server cannot accept it; the time of uploads does not count. Requests for an
/// answer are also repeated for this long.
const RETRY_LIMIT: Duration = Duration::from_secs(120);
/// Interval of the updates during an upload.
const UPLOAD_INTERVAL: Duration = Duration::from_millis(100);
/// Interval of the updates during a pause.
const COUNTDOWN_INTERVAL: Duration = Duration::from_secs(1);
/// Smallest body that is shown as an upload, in bytes.
const MIN_SHOWN_BYTES: u64 = 2048;
/// Interval of the requests for a task's status, as long as its stream is silent.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// A call that has failed and is not repeated any more.
#[derive(Debug)]
pub(super) struct GivenUp {
    /// The problem of the last try.
    pub(super) problem: CallError,
    /// How long the call was repeated; `None` if it was not repeated.
    pub(super) tried: Option<Duration>,
}

/// The tries of one call.
struct Tries<'a> {
    progress: &'a ProgressDisplay,
    started: Instant,
    backoff: Backoff,
    repeated: bool,
}

impl<'a> Tries<'a> {
    fn begin(progress: &'a ProgressDisplay) -> Self {
        Self { progress, started: Instant::now(), backoff: Backoff::of(RETRY_LIMIT), repeated: false }
    }

    /// Waits until the next try, or returns the problem if there is none.
    async fn wait(&mut self, problem: CallError, passing: bool) -> Result<(), GivenUp> {
        let pause = if passing { self.backoff.pause(problem.retry_after()) } else { None };
        let Some(pause) = pause else {
            let tried = (passing && self.repeated).then(|| self.started.elapsed());
            return Err(GivenUp { problem, tried });
        };
        self.repeated = true;
        self.progress.note(format_args!("not accepted yet: {problem}; trying again in {}", time(pause)));
        let end = Instant::now() + pause;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.progress.show(ShownState::Waiting(left));
            sleep(left.min(COUNTDOWN_INTERVAL)).await;
        }
    }
}

/// Returns the models that the key may use. The request is repeated if the connection breaks, but not if no connection
/// was ever opened.
pub(super) async fn models(server: &Server, progress: &ProgressDisplay) -> Result<Vec<String>, GivenUp> {
    let mut tries = Tries::begin(progress);
    let mut was_reached = false;
    loop {
        progress.show(ShownState::Connecting);
        let problem = match server.models().await {
            Ok(models) => return Ok(models),
            Err(problem) => problem,
        };
        was_reached |= !matches!(problem, CallError::Unreachable(_));
        let passing = problem.may_succeed_later() && was_reached;
        tries.wait(problem, passing).await?;
    }
}

/// Sends a submit until the server accepts it, or refuses it permanently. Once the task is no longer wanted, the submit
/// is sent again only if the server may have accepted it: the reply then has the task's id.
pub(super) async fn send(
    server: &Server,
    progress: &ProgressDisplay,
    body: Bytes,
    sent: &UploadProgress,
    is_wanted: &Cell<bool>,
) -> Result<Task, GivenUp> {
    // With this key, the server recognises every repetition as the same task.
    let idempotency_key = format!("submit-{}", random_text(24));
    let total = body.len() as u64;
    let mut tries = Tries::begin(progress);
    loop {
        let doubtful = sent.may_be_accepted();
        // A request without audio is sent too fast to be shown as an upload.
        let is_shown = total >= MIN_SHOWN_BYTES;
        progress.show(if is_shown { ShownState::Uploading(0, total) } else { ShownState::Connecting });
        let call = server.submit(body.clone(), &idempotency_key, sent.clone());
        tokio::pin!(call);
        let (mut moved, mut looked) = (0, Instant::now());
        let problem = loop {
            tokio::select! {
                reply = &mut call => match reply {
                    Ok(task) => return Ok(task),
                    Err(problem) => break problem,
                },
                () = sleep(UPLOAD_INTERVAL), if is_shown => {
                    progress.show(ShownState::Uploading(sent.bytes(), total));
                    if sent.bytes() != moved {
                        tries.backoff.exclude(looked.elapsed());
                    }
                    (moved, looked) = (sent.bytes(), Instant::now());
                }
            }
        };
        // If the reply was lost, the server may have accepted the task.
        if !doubtful && !matches!(problem, CallError::Disconnected(_)) {
            sent.record_refusal();
        }
        let passing = problem.may_succeed_later() && problem.code() != Some("internal_error");
        tries.wait(problem, passing && (is_wanted.get() || sent.may_be_accepted())).await?;
    }
}

/// Checks, while a task's stream is silent, whether the task still waits. The result is only shown.
pub(super) async fn watch(server: &Server, progress: &ProgressDisplay, id: &str) {
    sleep(STATUS_INTERVAL).await;
    if !progress.is_shown() {
        return std::future::pending().await;
    }
    match server.task(id).await.map(|task| task.status) {
        Ok(Status::Pending) => progress.show(ShownState::Queued),
        Ok(Status::Processing) => progress.show(ShownState::Thinking),
        Ok(Status::Completed | Status::Failed) | Err(_) => {}
    }
}

/// Returns a task once it has ended, however long that takes.
pub(super) async fn ended(server: &Server, id: &str) -> Result<Task, CallError> {
    let mut backoff = Backoff::of(RETRY_LIMIT);
    loop {
        match server.wait(id).await {
            Ok(task) if matches!(task.status, Status::Completed | Status::Failed) => return Ok(task),
            Ok(_) => backoff.reset(),
            Err(problem) => {
                let pause = backoff.pause(problem.retry_after()).filter(|_| problem.may_succeed_later());
                sleep(pause.ok_or(problem)?).await;
            }
        }
    }
}
