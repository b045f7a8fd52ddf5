//! Drains the registry: running tasks may end; all others are left to the server's next start.

use std::convert::Infallible;
use std::time::Duration;

use actix::prelude::*;
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Drain, Registry};
use crate::actors::dispatcher::Close;
use crate::actors::task::{Draining, Stop, TaskActor};

/// How long stopped tasks may take to record their end.
const STOP_TIME: Duration = Duration::from_secs(5);

/// The stage of the server's shutdown.
#[derive(Debug)]
pub(super) enum Service {
    /// New tasks are accepted. Running tasks hold a clone of the sender; when all clones are dropped, no task runs.
    Open { running: mpsc::Sender<Infallible>, all_ended: mpsc::Receiver<Infallible> },
    /// Running tasks may end, and none begins.
    Draining,
    /// All tasks were sent a stop.
    Stopped,
}

impl Service {
    pub(super) fn open() -> Self {
        let (running, all_ended) = mpsc::channel(1);
        Self::Open { running, all_ended }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open { .. })
    }

    /// Returns the sender that a running task clones as its token; `None` if no task may begin any more.
    pub(super) fn running(&self) -> Option<mpsc::WeakSender<Infallible>> {
        match self {
            Self::Open { running, .. } => Some(running.downgrade()),
            Self::Draining | Self::Stopped => None,
        }
    }
}

impl Registry {
    /// Sends a message to all tasks. Resolves when all have received it.
    fn send_to_all<M>(&self, message: M) -> impl Future<Output = ()> + 'static + use<M>
    where
        M: Message<Result = ()> + Copy + Send + 'static,
        TaskActor: Handler<M>,
    {
        let sends: Vec<_> = self.tasks.values().map(|living| living.actor.send(message)).collect();
        join_all(sends).map(drop)
    }
}

impl Handler<Drain> for Registry {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, Drain { most }: Drain, _: &mut Self::Context) -> Self::Result {
        let mut all_ended = match std::mem::replace(&mut self.service, Service::Draining) {
            Service::Open { all_ended, .. } => all_ended,
            before @ (Service::Draining | Service::Stopped) => {
                self.service = before;
                return Box::pin(actix::fut::ready(()));
            }
        };
        let closed = self.settings.dispatcher.send(Close);
        let all_received = self.send_to_all(Draining);
        let ended = async move {
            let _ = closed.await;
            all_received.await;
            (timeout(most, all_ended.recv()).await.is_ok(), all_ended)
        };
        Box::pin(ended.into_actor(self).then(|(in_time, mut all_ended), registry: &mut Self, _| {
            if !in_time {
                tracing::warn!("the time to drain is over (drain_seconds): tasks that still run are stopped");
            }
            // Waiting tasks are left to the next start, and their readers are released.
            registry.service = Service::Stopped;
            let all_received = registry.send_to_all(Stop);
            // A store that does not work cannot record an end, so there is no reason to wait.
            let time = if registry.store().trouble().is_some() { Duration::ZERO } else { STOP_TIME };
            let stopped = async move {
                all_received.await;
                all_ended.recv().await;
            };
            let stopped = async move {
                let _ = timeout(time, stopped).await;
            };
            stopped.into_actor(registry).map(|(), registry: &mut Self, _| {
                let left = registry.tasks.values().filter(|living| !living.log.mark().ended).count();
                if left > 0 {
                    tracing::info!(tasks = left, "tasks left for the next start");
                }
            })
        }))
    }
}
