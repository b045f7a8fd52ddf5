//! Prepares a run: loads or downloads the task's audio.

use std::sync::Arc;
use std::time::Instant;

use tracing::field::display;

use super::{TaskAudio, TaskSettings};
use crate::audio::{Audio, AudioFacts, KeptAudio, Sound, base64_len, contradicts_label};
use crate::error::{ErrorCode, Failure};
use crate::fetch::Fetched;
use crate::store::StoreError;
use crate::task::TaskId;
use crate::wire::trace_context::TraceId;

/// The input for the preparation of a run.
#[derive(Debug)]
pub(super) struct Preparation {
    pub(super) settings: Arc<TaskSettings>,
    pub(super) id: TaskId,
    /// The id of the task's trace, for the log.
    pub(super) trace_id: Option<TraceId>,
    /// Most bytes that the base64 texts of all audio may have together.
    pub(super) max_text_bytes: u64,
    pub(super) audio: Vec<TaskAudio>,
}

/// Loads or downloads the audio of a run.
///
/// # Errors
/// Why the task cannot run.
pub(super) async fn prepare(mut preparation: Preparation) -> Result<Vec<Audio>, Failure> {
    let wanted = std::mem::take(&mut preparation.audio);
    let mut left = preparation.max_text_bytes.saturating_sub(wanted.iter().map(TaskAudio::text_bytes).sum());
    let mut at_hand = Vec::with_capacity(wanted.len());
    for (place, audio) in wanted.into_iter().enumerate() {
        let downloads = !audio.is_available();
        let audio = preparation.load(place, audio, left).await?;
        if downloads {
            left = left.saturating_sub(base64_len(audio.bytes.len()));
        }
        at_hand.push(audio);
    }
    Ok(at_hand)
}

impl Preparation {
    /// Loads one audio of the task. A download may have at most `max_text_bytes` bytes as base64.
    async fn load(&self, place: usize, audio: TaskAudio, max_text_bytes: u64) -> Result<Audio, Failure> {
        let Self { settings, id, trace_id, .. } = self;
        let TaskSettings { store, fetcher, metrics, .. } = &**settings;
        match audio {
            TaskAudio::Held(audio) => Ok(audio.into()),
            TaskAudio::Kept(KeptAudio::Blob { id: blob, container, duration, .. }) => {
                match store.audio(blob).await {
                    Ok(bytes) => Ok(Audio { container, bytes, duration }),
                    Err(err @ StoreError::Damaged(_)) => {
                        tracing::error!(
                            task_id = %id,
                            %err,
                            "the audio of a task is damaged on the disk; the task fails, and no upstream gets the audio"
                        );
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
                    tracing::warn!(task_id = %id, trace_id, declared, found, "the audio's content is not of its declared type");
                }
                Ok(audio)
            }
        }
    }
}

/// Returns the failure of a task whose audio on the disk differs from what was accepted.
fn damaged_audio() -> Failure {
    Failure::new(
        ErrorCode::InternalError,
        "The audio of this task is damaged on the service's disk and was not sent to the model; submit it again",
    )
}
