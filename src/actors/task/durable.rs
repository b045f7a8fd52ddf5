//! What a task waits for: that the beginning of its run is recorded, its audio at hand, its end recorded.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::field::display;

use super::{TaskAudio, TaskSettings};
use crate::audio::{Audio, AudioFacts, KeptAudio, Sound, base64_len, contradicts_label};
use crate::deadline::timeout;
use crate::error::{ErrorCode, Failure};
use crate::fetch::Fetched;
use crate::store::{Ending, PATIENCE, Store, StoreError};
use crate::task::{LogHandle, Outcome, TaskId, Timeline};
use crate::wire::trace_context::TraceId;

/// Pause before the store is asked again; it doubles each time, up to the longest. An answer that was paid for is
/// not given up because a disk is full for an hour, and none is asked for that would not be counted.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The beginning of a task's run.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) settings: Arc<TaskSettings>,
    pub(super) id: TaskId,
    /// The log of the task's chunks.
    pub(super) log: LogHandle,
    /// The trace that the task belongs to, for the log.
    pub(super) trace_id: Option<TraceId>,
    /// How long the base64 texts of all audio may be together, in bytes.
    pub(super) max_text_bytes: u64,
    /// What is to be recorded, where the run is not recorded already.
    pub(super) timeline: Option<Timeline>,
    pub(super) audio: Vec<TaskAudio>,
}

/// Records that a run begins and gets hold of the audio.
///
/// # Errors
/// Why the task cannot run.
pub(super) async fn prepare(mut run: Run) -> Result<Vec<Audio>, Failure> {
    let (store, id) = (&run.settings.store, &run.id);
    if let Some(timeline) = run.timeline.take() {
        insist(id, "the run of a task", &run.log, || store.run(id.clone(), timeline.clone())).await;
    }
    let wanted = std::mem::take(&mut run.audio);
    let mut left = run.max_text_bytes.saturating_sub(wanted.iter().map(TaskAudio::text_bytes).sum());
    let mut at_hand = Vec::with_capacity(wanted.len());
    for (place, audio) in wanted.into_iter().enumerate() {
        let downloads = !audio.is_at_hand();
        let audio = run.get_hold_of(place, audio, left).await?;
        if downloads {
            left = left.saturating_sub(base64_len(audio.bytes.len()));
        }
        at_hand.push(audio);
    }
    Ok(at_hand)
}

impl Run {
    /// Gets hold of one audio of the task; a download may have so many bytes of base64.
    async fn get_hold_of(
        &self,
        place: usize,
        audio: TaskAudio,
        max_text_bytes: u64,
    ) -> Result<Audio, Failure> {
        let Self { settings, id, trace_id, .. } = self;
        let TaskSettings { store, fetcher, metrics, .. } = &**settings;
        match audio {
            TaskAudio::Held(audio) => Ok(audio.into()),
            TaskAudio::Kept(KeptAudio::Blob { id: blob, container, duration, .. }) => {
                match store.audio(blob).await {
                    Ok(bytes) => Ok(Audio { container, bytes, duration }),
                    Err(err @ StoreError::Damaged(_)) => {
                        tracing::error!(task_id = %id, %err, "the audio of a task is lost, and is not sent to any upstream");
                        Err(damaged_audio())
                    }
                    Err(err) => Err(err.into()),
                }
            }
            TaskAudio::Kept(KeptAudio::Url(url)) => {
                let began = Instant::now();
                let fetched = fetcher.fetch(store, &url, max_text_bytes).await.map_err(Failure::from);
                let result =
                    fetched.as_ref().map(|fetched| fetched.file_bytes).map_err(|failure| failure.code);
                metrics.fetched(began.elapsed(), result);
                let Fetched { audio, declared, file_bytes } = fetched?;
                let sound = Sound::new(audio.container, file_bytes, audio.duration);
                store.mark_downloaded(id.clone(), place, AudioFacts::downloaded(&url, sound));
                tracing::debug!(
                    task_id = %id,
                    trace_id = trace_id.map(display),
                    host = url.host_str(),
                    container = audio.container.name(),
                    bytes = file_bytes,
                    ms = began.elapsed().as_millis() as u64,
                    "audio downloaded"
                );
                if let Some(declared) =
                    declared.filter(|declared| contradicts_label(declared, audio.container))
                {
                    let found = audio.container.mime();
                    let trace_id = trace_id.map(display);
                    tracing::warn!(task_id = %id, trace_id, declared, found, "the audio is not what its label says");
                }
                Ok(audio)
            }
        }
    }
}

/// The failure of a task whose audio is not on the disk as it was accepted.
fn damaged_audio() -> Failure {
    Failure::new(
        ErrorCode::InternalError,
        "The audio of this task was damaged on the server's disk and was not sent to the model; submit it again",
    )
}

/// Records an end, however long that takes: it must not be announced before. Returns the outcome that the store has: the
/// first one, where the task had ended already.
pub(super) async fn record(store: Store, id: TaskId, log: LogHandle, ending: Ending) -> Outcome {
    let before = insist(&id, "the end of a task", &log, || async {
        let Some(before) = store.end(id.clone(), ending.clone()).await? else { return Ok(None) };
        let outcome = before.state.outcome();
        outcome.map_err(|err| StoreError::Damaged(format!("the recorded answer of {id}: {err}")))
    });
    before.await.unwrap_or(ending.outcome)
}

/// Asks the store until it has done what it is asked.
async fn insist<T, F>(id: &TaskId, what: &str, log: &LogHandle, ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, StoreError>>,
{
    patiently(log.clone(), keep_asking(id, what, ask)).await
}

/// Waits for what must be durable before the task can go on. When that takes longer than callers have patience, the log
/// says that the task is stalled, until it goes on.
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
            // Once: the store's health tells how it goes on.
            Err(err) if pause == PAUSE => {
                tracing::error!(task_id = %id, %err, "{what} cannot be recorded yet")
            }
            Err(err) => tracing::debug!(task_id = %id, %err, "{what} cannot be recorded yet"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
