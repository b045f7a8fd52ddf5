//! A first call that does not wait for the disk.
//!
//! Where all that a call needs is at hand when its task is admitted, it is put on its way while the task is written to
//! the store: only the reply has to wait for the commit. Until the task is accepted nobody knows of its actor, and
//! nothing of the call is heard. If the store refuses, the call is dropped, which closes its connection, and nothing
//! was recorded. If the process dies, the submit was never acknowledged, and a task that is durable all the same is
//! taken up at the next start like any other; the commit has counted the run.

use std::fmt;

use actix::prelude::*;
use futures_util::StreamExt;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::RecvError;

use super::{Beginning, TaskActor};
use crate::actors::dispatcher::Admission;
use crate::task::life::Life;
use crate::upstream::UpstreamStream;

/// Resolves when the task is accepted; an error says that it is not.
pub type Verdict = oneshot::Receiver<()>;

/// A call that is on its way.
pub(super) struct CallAhead(pub(super) UpstreamStream);

impl fmt::Debug for CallAhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallAhead")
    }
}

impl TaskActor {
    /// Puts the first call on its way, and begins when the task is accepted.
    pub(super) fn call_ahead(&mut self, verdict: Verdict, ctx: &mut Context<Self>) {
        let first_call = self.first_call();
        let is_sent = first_call.is_some();
        if is_sent {
            // Whoever can ask is told so: nobody can before the store has the task, and with it this run.
            self.begun = true;
            self.progress.begin();
        }
        let accepted = async move {
            match first_call {
                Some(call) => meanwhile(verdict, call).await.map(|call| Some(CallAhead(call))),
                None => verdict.await.map(|()| None),
            }
        };
        let waiting =
            accepted.into_actor(self).map(|accepted, task, ctx: &mut Context<Self>| match accepted {
                // A future may be polled once more after it was cancelled: the server stops.
                Ok(_) if task.life != Life::Waiting => {}
                Ok(call) => {
                    task.calls.go_ahead(call);
                    task.accepted(ctx);
                }
                Err(_) => {
                    task.release(ctx);
                    task.retire(ctx);
                }
            });
        self.calls.wait_ahead(ctx.spawn(waiting), is_sent);
    }

    /// Nothing where the task has to wait for its turn, or for its audio: then it calls when it begins.
    fn first_call(&self) -> Option<UpstreamStream> {
        match (&self.beginning, self.calls.held_audio()) {
            (Beginning::Turn(Admission::Now(permit)), Some(audio)) => Some(self.open_call(permit, &audio)),
            _ => None,
        }
    }
}

/// Puts a call on its way until it is known whether its task is accepted; an error where it is not. What the call
/// brings meanwhile is held, one batch at most.
async fn meanwhile(mut verdict: Verdict, call: UpstreamStream) -> Result<UpstreamStream, RecvError> {
    let mut call = call.peekable();
    let accepted = tokio::select! {
        biased;
        accepted = &mut verdict => accepted,
        _ = Pin::new(&mut call).peek() => verdict.await,
    };
    accepted.map(|()| call.boxed_local())
}
