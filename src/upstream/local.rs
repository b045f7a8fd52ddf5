//! The embedded channel: measures the audio itself, without a network and without a model.
//!
//! The work runs on its own threads, at most one for each slot, and sends batches through a bounded channel. When the
//! task drops its receiver, the work stops at the next packet or read. It keeps the task's slot until then.

mod settings;

use std::io;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;

use futures_util::{StreamExt, stream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

use super::{Batch, Upstream, UpstreamError, UpstreamEvent, UpstreamRequest, UpstreamStream};
use crate::inspect::{InspectError, Listener, StopFlag, inspect};
use crate::task::TextKind;
use crate::wire::completion::{FinishReason, Usage};
pub use settings::LOCAL_MODEL;

/// Most batches that may wait for the task. When so many wait, the work waits, too.
const QUEUE: usize = 16;

/// The name of the threads in a list of threads.
const THREAD_NAME: &str = "local-inspect";

/// The embedded channel.
#[derive(Debug)]
pub(super) struct Local {
    /// A runtime, of which only the thread pool is used; `None` while the channel is dropped.
    threads: Option<Runtime>,
}

impl Local {
    /// Prepares at most `most_threads` threads; each is started when it is needed.
    ///
    /// Work that waits for a thread holds its slot, so at most one job exists for each call that a slot can make.
    ///
    /// # Errors
    /// If the system refuses what a thread pool needs.
    pub(super) fn new(most_threads: usize) -> io::Result<Self> {
        let most = NonZeroUsize::new(most_threads).unwrap_or(NonZeroUsize::MIN);
        let threads = Builder::new_current_thread()
            .max_blocking_threads(most.get())
            .thread_name(THREAD_NAME)
            .build()?;
        Ok(Self { threads: Some(threads) })
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // A server that shuts down does not wait for the audio.
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

impl Upstream for Local {
    fn call(&self, request: UpstreamRequest) -> UpstreamStream {
        let threads = self.threads.as_ref().map(|threads| threads.handle().clone());
        let begin = async move {
            let (sender, receiver) = mpsc::channel(QUEUE);
            let stop = StopFlag::default();
            let leash = StopOnDrop(stop.clone());
            if let Some(threads) = threads {
                threads.spawn_blocking(move || work(request, &stop, &sender));
            }
            stream::unfold(
                WorkReceiver { receiver, _stop_on_drop: leash, is_over: false },
                WorkReceiver::next,
            )
        };
        stream::once(begin).flatten().boxed_local()
    }
}

/// Measures the audio, and sends the results to the task.
fn work(request: UpstreamRequest, stop: &StopFlag, sender: &mpsc::Sender<WorkResult>) {
    let UpstreamRequest { audio, slot, .. } = request;
    let measured = UpstreamRequest::only_audio(audio)
        .map(|audio| inspect(Box::new(audio.bytes.reader()), stop, &mut WorkSender(sender)));
    let end = match measured {
        Ok(Ok(_)) => {
            Ok(vec![UpstreamEvent::Finished { reason: FinishReason::Stop, usage: Usage::default() }])
        }
        Ok(Err(InspectError::Stopped)) => return,
        Ok(Err(err)) => Err(UpstreamError::Unreadable(err.to_string())),
        Err(err) => Err(err),
    };
    // The work is done. The slot is released before the end is sent: a task that receives the end finds the slot free
    // after it has released its own part.
    drop(slot);
    // This fails if the task has dropped its receiver.
    let _ = sender.blocking_send(end);
}

type WorkResult = Result<Batch, UpstreamError>;

/// Stops the work when its stream is dropped: at a cancel, at a timeout, or when the caller disconnects.
struct StopOnDrop(StopFlag);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// The receiving side of the work, in the task.
struct WorkReceiver {
    receiver: mpsc::Receiver<WorkResult>,
    _stop_on_drop: StopOnDrop,
    is_over: bool,
}

impl WorkReceiver {
    async fn next(mut self) -> Option<(WorkResult, Self)> {
        if self.is_over {
            return None;
        }
        // A decoder that panics on a broken file ends the work without a message.
        let crashed = || Err(UpstreamError::Unreadable(CRASHED.to_owned()));
        let said = self.receiver.recv().await.unwrap_or_else(crashed);
        self.is_over = match &said {
            Ok(batch) => matches!(batch.last(), Some(UpstreamEvent::Finished { .. })),
            Err(_) => true,
        };
        Some((said, self))
    }
}

const CRASHED: &str =
    "The embedded channel could not read this audio to its end; re-encode it, for example as wav";

struct WorkSender<'a>(&'a mpsc::Sender<WorkResult>);

impl WorkSender<'_> {
    fn send(&self, event: UpstreamEvent) -> ControlFlow<()> {
        match self.0.blocking_send(Ok(vec![event])) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}

impl Listener for WorkSender<'_> {
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
