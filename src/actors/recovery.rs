//! Recovers the tasks that earlier processes left unfinished, before the server accepts new ones.

use std::sync::Arc;

use actix::Addr;

use super::registry::{Recover, RecoveryPlan, Registry};
use crate::audio::{KeptAudio, base64_len};
use crate::channel::{Channels, Wanted, choose};
use crate::error::Failure;
use crate::keys::{Allowance, KeyLimits, Keyring};
use crate::store::{Journalled, Store, StoreError, Unfinished};
use crate::task::{TaskId, interrupted_damaged_stream};

/// How many tasks were recovered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecoveryCounts {
    /// Tasks that run, again or for the first time.
    pub run: usize,
    /// Tasks that end without another run: a client saw a part of their answer, or they cannot run.
    pub end: usize,
}

/// Recovers all unfinished tasks of the store, oldest first: each runs or ends.
///
/// # Errors
/// When the store cannot be read.
pub async fn recover_tasks(
    registry: &Addr<Registry>,
    store: &Store,
    channels: &Channels,
    keys: &Keyring,
) -> Result<RecoveryCounts, StoreError> {
    let mut counts = RecoveryCounts::default();
    let mut last = None;
    loop {
        let page = store.unfinished(last).await?;
        let Some(task) = page.last().map(|left| &left.task) else { return Ok(counts) };
        last = Some((task.created, task.id.clone()));
        for left in page {
            let key = keys.by_hash(&left.task.owner);
            // A task of a revoked key still runs, without the key's limits.
            let unlimited = || Arc::new(Allowance::new(KeyLimits::default()));
            let allowance = key.as_ref().map_or_else(unlimited, |key| Arc::clone(&key.allowance));
            let key_name = key.map(|key| key.name.clone()).unwrap_or_default();
            let plan = match plan(&left, channels, allowance) {
                Ok(plan) => plan,
                Err(failure) => {
                    let Journalled { entries, is_whole } = chunks(store, &left.task.id).await;
                    let failure = if is_whole { failure } else { interrupted_damaged_stream() };
                    RecoveryPlan::End { failure, chunks: entries }
                }
            };
            match &plan {
                RecoveryPlan::Run { .. } => counts.run += 1,
                RecoveryPlan::End { .. } => counts.end += 1,
            }
            registry.send(Recover { left, key_name, plan }).await.map_err(|_| StoreError::Stopped)?;
        }
    }
}

/// Returns the readable part of the task's stream. An unreadable journal counts as empty and damaged, so that it does
/// not keep other tasks from running.
async fn chunks(store: &Store, id: &TaskId) -> Journalled {
    let journalled = store.chunks(id.clone()).await.unwrap_or_else(|err| {
        tracing::error!(
            task_id = %id,
            %err,
            "the chunks of an interrupted task cannot be read: the task ends without them"
        );
        Journalled { entries: Vec::new(), is_whole: false }
    });
    if !journalled.is_whole {
        let kept = journalled.entries.len();
        tracing::error!(
            task_id = %id,
            kept,
            "the journal of an interrupted task is damaged: its stream ends after the chunks before the \
             damage"
        );
    }
    journalled
}

fn plan(left: &Unfinished, channels: &Channels, allowance: Arc<Allowance>) -> Result<RecoveryPlan, Failure> {
    left.facts.may_run()?;
    let audio = left.audio.clone();
    let known = audio.iter().filter_map(|audio| match audio {
        KeptAudio::Url(_) => None,
        KeptAudio::Blob { container, bytes, .. } => Some((*container, base64_len(*bytes))),
    });
    let candidates = choose(channels, &Wanted::of(&left.task.question, known.collect()), &mut rand::rng())?;
    Ok(RecoveryPlan::Run { audio, candidates, allowance })
}
