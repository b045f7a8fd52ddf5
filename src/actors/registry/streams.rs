//! The streams of ended tasks in the registry: how long they are kept, and how one of an earlier process is reopened.

use std::time::Duration;

use actix::prelude::*;
use actix_rt::task::spawn_blocking;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::time::Instant;

use super::{Located, Registry, Reopen};
use crate::error::Failure;
use crate::secret::KeyHash;
use crate::store::Store;
use crate::task::{Answer, EndedStream, LogReader, TaskId};

/// A stream that is being read from its journal. All requests for it wait for the same read.
pub(super) type PendingReplay = Shared<BoxFuture<'static, Result<Option<Replayed>, Failure>>>;

/// A stream that was read from its journal.
#[derive(Debug, Clone)]
pub(super) struct Replayed {
    stream: EndedStream,
    /// How much longer the stream is kept.
    left: Duration,
}

/// Reads a stream from its journal on a thread for blocking work.
async fn replay(store: Store, id: TaskId, owner: KeyHash) -> Result<Option<Replayed>, Failure> {
    let Some(replay) = store.replay(id, owner).await? else { return Ok(None) };
    let left = replay.left;
    let replayed = spawn_blocking(move || {
        // The closure owns the replay and the permit in it. So the permit is held until the read is done, even if no
        // caller waits any more.
        let replay = replay;
        Answer::replay(replay.chunks, &replay.state)
    });
    let stream = replayed.await.map_err(|_| Failure::internal())?;
    Ok(stream.map(|stream| Replayed { stream, left }))
}

impl Registry {
    /// Keeps a stream readable for the given time.
    pub(super) fn keep(
        &mut self,
        id: TaskId,
        owner: KeyHash,
        stream: EndedStream,
        time: Duration,
        ctx: &mut Context<Self>,
    ) {
        self.cold.keep(id, owner, stream, Instant::now() + time);
        self.set_expiry_timer(ctx);
    }

    /// Sets one timer for all streams. A future for each would cost too much, because most kept streams are never read.
    fn set_expiry_timer(&mut self, ctx: &mut Context<Self>) {
        let Some(next) = self.cold.next_expiry() else { return };
        match self.expiry {
            Some((awaited, _)) if awaited <= next => return,
            Some((_, waiting)) => drop(ctx.cancel_future(waiting)),
            None => {}
        }
        let wait = next.saturating_duration_since(Instant::now());
        let waiting = ctx.run_later(wait, |registry, ctx| {
            registry.expiry = None;
            registry.cold.forget_until(Instant::now());
            registry.set_expiry_timer(ctx);
        });
        self.expiry = Some((next, waiting));
    }
}

impl Handler<Reopen> for Registry {
    type Result = ResponseActFuture<Self, Result<Option<LogReader>, Failure>>;

    fn handle(&mut self, Reopen { id, owner }: Reopen, _: &mut Self::Context) -> Self::Result {
        if let Some(Located { log, .. }) = self.find(&id, owner) {
            return Box::pin(std::future::ready(Ok(Some(log))).into_actor(self));
        }
        let store = self.store().clone();
        let reading = self.replays.entry((id.clone(), owner)).or_insert_with(|| {
            let id = id.clone();
            replay(store, id, owner).boxed().shared()
        });
        Box::pin(reading.clone().into_actor(self).map(move |replay, registry, ctx| {
            registry.replays.remove(&(id.clone(), owner));
            let Some(Replayed { stream, left }) = replay? else { return Ok(None) };
            let log = stream.log().clone();
            registry.keep(id, owner, stream, left, ctx);
            Ok(Some(log.into()))
        }))
    }
}
