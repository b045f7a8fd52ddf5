//! Makes records durable before a task goes on. A request to the store is repeated until it succeeds.

use std::time::Duration;

use crate::deadline::timeout;
use crate::store::{Ending, PATIENCE, Store, StoreError};
use crate::task::{LogHandle, Outcome, TaskId, Timeline};

/// Pause before a request to the store is repeated. It doubles each time, up to [`LONGEST_PAUSE`]. A full disk, even
/// for an hour, must not lose an answer that was paid for, nor start a call that would not be recorded.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Records that a run begins, however long that takes. The task is not shown as running before.
pub(super) async fn record_run(store: Store, id: TaskId, log: LogHandle, timeline: Timeline) {
    insist(&id, "the run of a task", &log, || store.run(id.clone(), timeline.clone())).await;
}

/// Records an end, however long that takes. It must not be announced before. Returns the outcome that the store has:
/// the earlier one, if the task had ended already.
pub(super) async fn record(store: Store, id: TaskId, log: LogHandle, ending: Ending) -> Outcome {
    let before = insist(&id, "the end of a task", &log, || async {
        let Some(before) = store.end(id.clone(), ending.clone()).await? else { return Ok(None) };
        let outcome = before.state.outcome();
        outcome.map_err(|err| StoreError::Damaged(format!("the recorded answer of {id}: {err}")))
    });
    before.await.unwrap_or(ending.outcome)
}

/// Repeats a request to the store until it succeeds.
async fn insist<T, F>(id: &TaskId, what: &str, log: &LogHandle, ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, StoreError>>,
{
    patiently(log.clone(), keep_asking(id, what, ask)).await
}

/// Waits for what must be durable before the task can go on. When that takes longer than callers wait, the log is
/// marked as stalled until the task goes on.
pub(super) async fn patiently<T>(log: LogHandle, durable: impl Future<Output = T>) -> T {
    tokio::pin!(durable);
    if let Ok(done) = timeout(PATIENCE, &mut durable).await {
        return done;
    }
    log.stall(true);
    let done = durable.await;
    log.stall(false);
    done
}

async fn keep_asking<T, F>(id: &TaskId, what: &str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut pause = PAUSE;
    loop {
        match ask().await {
            Ok(done) => return done,
            // Logged as an error only once: the store's health shows how it goes on.
            Err(err) if pause == PAUSE => {
                tracing::error!(task_id = %id, %err, "{what} cannot be recorded yet")
            }
            Err(err) => tracing::debug!(task_id = %id, %err, "{what} cannot be recorded yet"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
