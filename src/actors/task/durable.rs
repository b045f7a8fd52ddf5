//! Makes records durable before a task goes on. A request to the store is repeated until it succeeds.

use std::time::Duration;

use crate::deadline::timeout;
use crate::store::{Ending, PATIENCE, Store, StoreError};
use crate::task::{LogHandle, Outcome, TaskId, Timeline};

/// The pause before a request to the store is repeated. It doubles each time, up to [`LONGEST_PAUSE`]. Even if the disk
/// is full for an hour, no answer that was paid for is lost, and no call starts that is not recorded.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Records that a run begins, however long that takes. The task is shown as running only after that.
pub(super) async fn record_run(store: Store, id: TaskId, log: LogHandle, timeline: Timeline) {
    record_until_durable(&id, "the run of a task", &log, || store.run(id.clone(), timeline.clone())).await;
}

/// Records an end, however long that takes. The end may be announced only after that. Returns the outcome that the
/// store has: the earlier one, if the task had ended already.
pub(super) async fn record(store: Store, id: TaskId, log: LogHandle, ending: Ending) -> Outcome {
    let before = record_until_durable(&id, "the end of a task", &log, || async {
        let Some(before) = store.end(id.clone(), ending.clone()).await? else { return Ok(None) };
        let outcome = before.state.outcome();
        outcome.map_err(|err| StoreError::Damaged(format!("the recorded answer of {id}: {err}")))
    });
    before.await.unwrap_or(ending.outcome)
}

/// Repeats a request to the store until it succeeds.
async fn record_until_durable<T, F>(id: &TaskId, what: &str, log: &LogHandle, ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, StoreError>>,
{
    stall_while_waiting(log.clone(), repeat_until_recorded(id, what, ask)).await
}

/// Waits until `durable` resolves. If that takes longer than callers wait, the log is marked as stalled until then.
pub(super) async fn stall_while_waiting<T>(log: LogHandle, durable: impl Future<Output = T>) -> T {
    tokio::pin!(durable);
    if let Ok(done) = timeout(PATIENCE, &mut durable).await {
        return done;
    }
    log.stall(true);
    let done = durable.await;
    log.stall(false);
    done
}

async fn repeat_until_recorded<T, F>(id: &TaskId, what: &str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut pause = PAUSE;
    loop {
        match ask().await {
            Ok(done) => return done,
            // Only the first failure is logged as an error. The store's health reports the rest.
            Err(err) if pause == PAUSE => {
                tracing::error!(
                    task_id = %id,
                    %err,
                    "{what} cannot be recorded yet; the store is tried again until it works"
                )
            }
            Err(err) => tracing::debug!(
                task_id = %id,
                %err,
                "{what} cannot be recorded yet; the store is tried again until it works"
            ),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
