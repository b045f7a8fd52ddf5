//! Takes a submit from its admission to the actor of a durable task.
//!
//! The actor starts only when the store has the task. So no upstream is called for a task that a crash could lose. A
//! task that has its permit is recorded together with its run, and its actor calls the upstream at once.

use std::sync::Arc;

use actix::prelude::Request;
use bytes::Bytes;

use super::launch::{Launched, Site};
use super::messages::NewTask;
use crate::actors::HELD_BYTES;
use crate::actors::dispatcher::{Admission, Admit, Dispatcher};
use crate::actors::task::{RunRecord, TaskAudio, TaskParts, Work};
use crate::audio::{AudioFacts, AudioSource, BlobId, KeptAudio};
use crate::error::{ErrorCode, Failure};
use crate::store::{Acceptance, NewRecord, Store};
use crate::task::{Recipient, Timeline, Timestamp};

/// Waits until a task is admitted, makes it durable, and starts its actor.
///
/// # Errors
/// The reason why the task is not accepted. The [store's promises](crate::store::TaskStore::accept) define what the
/// store keeps of such a task.
pub(super) async fn accept(
    new: NewTask,
    admitted: Request<Dispatcher, Admit>,
    site: Site,
) -> Result<Launched, Failure> {
    let admission = admitted.await.map_err(|_| Failure::shutting_down())??;
    // This is the last check, so that a submit that is refused for another reason does not count against its key's
    // rate.
    new.allowance.spend()?;
    let NewTask { task, audio, candidates, caller_gone, idempotency, key_name, allowance } = new;
    let task = Arc::new(task);
    let runs_at = match &admission {
        Admission::Granted(permit) => Some(Arc::clone(permit.channel())),
        Admission::Queued(_) => None,
    };
    let kept: Vec<_> = audio.iter().map(|audio| audio.kept(|| site.settings.store.blob_id())).collect();
    let audio_facts = audio.iter().map(AudioFacts::of).collect();
    let blob = |(audio, kept): (&AudioSource, &KeptAudio)| match (audio, kept) {
        (AudioSource::Inline(audio), KeptAudio::Blob { id, .. }) => Some((*id, audio.bytes.clone())),
        _ => None,
    };
    let blobs: Vec<_> = audio.iter().zip(&kept).filter_map(blob).collect();
    let bytes: usize = blobs.iter().map(|(_, bytes)| bytes.len()).sum();
    // The audio of waiting tasks stays on the disk. Large audio is sent from there as well.
    let is_held = runs_at.is_some() && bytes <= HELD_BYTES;
    let of_task = |(audio, kept): (AudioSource, &KeptAudio)| match audio {
        AudioSource::Inline(audio) if is_held => TaskAudio::Held(audio),
        _ => TaskAudio::Kept(kept.clone()),
    };
    let audio: Vec<_> = audio.into_iter().zip(&kept).map(of_task).collect();
    let mut timeline = Timeline::begun(task.created);
    let now = Timestamp::now();
    let (run, recorded) = match &runs_at {
        Some(channel) if audio.iter().all(TaskAudio::is_available) => {
            (RunRecord::Done { call: Some(now) }, timeline.about_to_attempt(&channel.name, now))
        }
        Some(_) => {
            timeline.fetch_started = Some(now);
            (RunRecord::Done { call: None }, timeline.clone())
        }
        None => (RunRecord::Due, timeline.clone()),
    };
    let recipient = match (&caller_gone, &idempotency) {
        (None, _) => Recipient::None,
        (Some(_), Some(_)) => Recipient::Replaceable,
        (Some(_), None) => Recipient::Irreplaceable,
    };
    let most_running = allowance.limits().max_running_tasks;
    let record = NewRecord {
        task: Arc::clone(&task),
        audio: kept,
        audio_facts,
        runs: runs_at.is_some(),
        irreplaceable_caller: recipient == Recipient::Irreplaceable,
        timeline: recorded,
        idempotency,
    };
    keep(&site.settings.store, record, blobs).await?;
    let work = Work { audio, candidates, most_running, admission, record: run };
    Ok(site.launch(TaskParts::accepted(task, key_name, recipient, caller_gone, timeline, work)))
}

/// Makes a task durable.
async fn keep(store: &Store, record: NewRecord, blobs: Vec<(BlobId, Bytes)>) -> Result<(), Failure> {
    match store.accept(record, blobs).await? {
        Acceptance::Durable => Ok(()),
        Acceptance::KeyTaken => Err(Failure::new(
            ErrorCode::IdempotencyConflict,
            "A submit with this Idempotency-Key is being accepted at this moment; repeat it in a moment",
        )),
    }
}
