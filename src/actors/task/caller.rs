//! The caller who waits for a task's answer, if one does: who leaves may cancel it, and at a drain is not kept waiting.

use actix::prelude::*;

use super::{TaskActor, cancelled};
use crate::actors::Presence;
use crate::task::life::Life;

/// The server begins to drain: a caller who waits for a task that will not start here need not wait.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Draining;

/// The caller of a task.
#[derive(Debug)]
pub(super) struct Caller {
    /// Whose leaving cancels the task, until that is watched.
    presence: Option<Presence>,
    /// Is there one who waits?
    is_awaiting: bool,
    /// Is it one for whom nobody can stand in, so that the next start will not run the task?
    pub(super) is_leashed: bool,
    /// Waits for that caller to leave.
    pub(super) leaving: Option<SpawnHandle>,
}

impl Caller {
    pub(super) fn new(presence: Option<Presence>, is_leashed: bool) -> Self {
        Self { is_awaiting: presence.is_some(), presence, is_leashed, leaving: None }
    }
}

impl TaskActor {
    /// From here on the caller cancels the task by leaving.
    pub(super) fn watch_caller(&mut self, ctx: &mut Context<Self>) {
        if let Some(presence) = self.caller.presence.take() {
            let leaving = presence.into_actor(self).map(|_, task, ctx| {
                // Who was told that the server stops leaves as well, and that cancels nothing.
                if task.life != Life::Parked {
                    task.fail(cancelled(), ctx);
                }
            });
            self.caller.leaving = Some(ctx.spawn(leaving));
        }
    }
}

impl Handler<Draining> for TaskActor {
    type Result = ();

    fn handle(&mut self, _: Draining, ctx: &mut Self::Context) {
        if self.caller.is_awaiting && self.life == Life::Waiting {
            self.leave_to_next_start(ctx);
        }
    }
}
