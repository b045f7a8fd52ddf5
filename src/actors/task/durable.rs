//! What a task waits for its store with: the beginning of a run, and its end.

use std::time::Duration;

use super::TaskAudio;
use crate::audio::Audio;
use crate::audio::data_uri::InlineAudio;
use crate::audio::source::KeptAudio;
use crate::error::{ErrorCode, Failure};
use crate::store::{Ending, Store, StoreError};
use crate::task::id::TaskId;
use crate::task::recovery::interrupted;
use crate::task::snapshot::State;
use crate::task::timeline::Timeline;

/// Pause before the store is asked again; it doubles each time, up to the longest. An answer that was paid for is
/// not given up because a disk is full for an hour, and none is asked for that would not be counted.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Records that a run begins, where that is not recorded already, and fetches the audio.
///
/// # Errors
/// Why the task cannot run.
pub(super) async fn prepare(
    store: Store,
    id: TaskId,
    timeline: Option<Timeline>,
    audio: TaskAudio,
) -> Result<Audio, Failure> {
    if let Some(timeline) = timeline {
        insist(&id, "the run of a task", || store.run(id.clone(), timeline.clone())).await;
    }
    match audio {
        TaskAudio::Held(InlineAudio { container, base64, .. }) => {
            Ok(Audio { container, text: base64.into(), duration: None })
        }
        TaskAudio::Kept(KeptAudio::Spooled { container, bytes }) => {
            match store.audio(id.clone(), bytes).await {
                Ok(text) => Ok(Audio { container, text, duration: None }),
                Err(err @ StoreError::Damaged(_)) => {
                    tracing::error!(task_id = %id, %err, "the audio of a task is lost");
                    Err(interrupted("The machine stopped before the audio of this task was on its disk"))
                }
                Err(err) => Err(err.into()),
            }
        }
        TaskAudio::Kept(KeptAudio::Url(_)) => Err(Failure::new(
            ErrorCode::AudioFetchFailed,
            "This version does not download audio: send it inline, as data:audio/<type>;base64,<payload>",
        )
        .with_param("audio_url")),
    }
}

/// Records an end, however long that takes: it must not be announced before. Returns the end that the task
/// had already, if it had one.
pub(super) async fn record(store: Store, id: TaskId, ending: Ending) -> Option<State> {
    let before = insist(&id, "the end of a task", || store.end(id.clone(), ending.clone())).await;
    before.map(|snapshot| snapshot.state)
}

/// Asks the store until it has done what it is asked.
async fn insist<T, F>(id: &TaskId, what: &str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut pause = PAUSE;
    loop {
        match ask().await {
            Ok(done) => return done,
            Err(err) => tracing::error!(task_id = %id, %err, "{what} cannot be recorded yet"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
