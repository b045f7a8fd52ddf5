//! The way of a submit from its admission to the actor of a task that is durable.

use std::sync::Arc;

use actix::prelude::Request;

use super::launch::{Launched, Site};
use crate::actors::dispatcher::{Admission, Admit, Dispatcher};
use crate::actors::task::{TaskAudio, TaskParts, Work};
use crate::actors::{HELD_BYTES, NewTask};
use crate::audio::source::AudioSource;
use crate::error::{ErrorCode, Failure};
use crate::store::{Acceptance, NewRecord};
use crate::task::Timestamp;
use crate::task::timeline::Timeline;

/// Makes a task durable, once it is admitted, and gives it an actor.
///
/// # Errors
/// Why it is not accepted: then nothing is left of it.
pub(super) async fn accept(
    new: NewTask,
    admitted: Request<Dispatcher, Admit>,
    site: Site,
) -> Result<Launched, Failure> {
    let admission = admitted.await.map_err(|_| Failure::shutting_down())??;
    // Last: a submit that is refused uses up nothing of its key's rate.
    new.allowance.spend()?;
    let NewTask { task, audio, candidates, presence, idempotency, key_name, allowance } = new;
    let task = Arc::new(task);
    let runs_at = match &admission {
        Admission::Now(permit) => Some(Arc::clone(permit.channel())),
        Admission::Line(_) => None,
    };
    let kept = audio.kept();
    let (base64, audio) = match audio {
        // What has to wait does so on the disk, and what is large is sent from there.
        AudioSource::Inline(audio) if runs_at.is_some() && audio.base64.len() <= HELD_BYTES => {
            (Some(audio.base64.clone()), TaskAudio::Held(audio))
        }
        AudioSource::Inline(audio) => (Some(audio.base64), TaskAudio::Kept(kept.clone())),
        AudioSource::Url(_) => (None, TaskAudio::Kept(kept.clone())),
    };
    let mut timeline = Timeline::begun(task.created);
    if let Some(channel) = runs_at.as_ref().filter(|_| audio.is_at_hand()) {
        timeline.attempt(&channel.name, Timestamp::now());
    }
    let leashed = presence.is_some() && idempotency.is_none();
    let record = NewRecord {
        task: Arc::clone(&task),
        audio: kept,
        runs: runs_at.is_some(),
        leashed,
        timeline: timeline.clone(),
        idempotency,
    };
    match site.settings.store.accept(record, base64).await? {
        Acceptance::Durable => {
            let most_running = allowance.limits().max_running_tasks;
            let recorded = runs_at.is_some();
            let work = Work { audio, candidates, most_running, admission, recorded };
            let parts = TaskParts::accepted(task, key_name, presence, leashed, timeline, work);
            Ok(site.launch(parts))
        }
        Acceptance::KeyTaken => Err(key_taken()),
    }
}

fn key_taken() -> Failure {
    Failure::new(
        ErrorCode::IdempotencyConflict,
        "A submit with this Idempotency-Key is being accepted at this moment; send it again",
    )
}
