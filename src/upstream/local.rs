//! The embedded channel: measures the sound itself, with no network and no model.
//!
//! The work runs on a blocking thread and speaks through a bounded channel; when the task no longer listens,
//! the next word ends it.

use std::ops::ControlFlow;

use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;

use super::{Batch, Upstream, UpstreamError, UpstreamEvent, UpstreamRequest, UpstreamStream};
use crate::audio::base64_reader::Base64Reader;
use crate::inspect::{InspectError, Listener, Stop, inspect};
use crate::task::answer::TextKind;
use crate::wire::completion::{FinishReason, Usage};

/// Batches that may wait for the task; then the work waits too.
const QUEUE: usize = 16;

/// The embedded channel.
#[derive(Debug, Clone, Copy)]
pub struct Local;

impl Upstream for Local {
    fn call(&self, request: UpstreamRequest) -> UpstreamStream {
        stream::once(async move { work(request) }).flatten().boxed_local()
    }
}

fn work(request: UpstreamRequest) -> UpstreamStream {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let crashed = sender.clone();
    let worker = tokio::task::spawn_blocking(move || {
        let source = Box::new(Base64Reader::new(request.audio.text));
        let end = match inspect(source, &Stop::default(), &mut Speaker(&sender)) {
            Ok(_) => {
                Ok(vec![UpstreamEvent::Finished { reason: FinishReason::Stop, usage: Usage::default() }])
            }
            Err(InspectError::Stopped) => return,
            Err(err) => Err(UpstreamError::Unreadable(err.to_string())),
        };
        // Nobody listens any more: nothing to say.
        let _ = sender.blocking_send(end);
    });
    // A decoder that panics on a broken file must not leave the task waiting for its timeout.
    let watch = async move {
        if worker.await.is_err() {
            let _ = crashed.send(Err(UpstreamError::Unreadable(CRASHED.to_owned()))).await;
        }
    };
    let batches =
        stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    stream::select(batches.map(Some), stream::once(watch).map(|()| None))
        .filter_map(std::future::ready)
        .boxed_local()
}

const CRASHED: &str =
    "The embedded channel could not read this audio to its end; re-encode it, for example as wav";

struct Speaker<'a>(&'a mpsc::Sender<Result<Batch, UpstreamError>>);

impl Speaker<'_> {
    fn send(&self, event: UpstreamEvent) -> ControlFlow<()> {
        match self.0.blocking_send(Ok(vec![event])) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}

impl Listener for Speaker<'_> {
    fn say(&mut self, text: String) -> ControlFlow<()> {
        if text.is_empty() {
            ControlFlow::Continue(())
        } else {
            self.send(UpstreamEvent::Text(TextKind::Content, text))
        }
    }

    fn progress(&mut self, fraction: f32) -> ControlFlow<()> {
        self.send(UpstreamEvent::Progress((fraction.clamp(0.0, 1.0) * 100.0) as u8))
    }
}
