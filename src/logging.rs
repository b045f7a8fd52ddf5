//! The log on standard error. A request never waits for the log's reader and never fails with it; lines that are lost
//! are counted.
//!
//! Each line goes into a [queue] with a bound; one thread [writes](writer) them. When standard error takes
//! nothing (a pipe that is not read) or fails (a full disk, a reader that has gone), lines are lost, the server goes on,
//! and the log says how many lines were lost as soon as it can be written again.
//!
//! `tracing-appender` offers the same queue, but prints to standard output when the queue is full at the end of the
//! process, which panics if that is closed, and has no place for the line that tells of lost ones.

mod line;
mod queue;
mod settings;
mod writer;

use std::io;
use std::panic::PanicHookInfo;
use std::sync::mpsc::{Receiver, channel, sync_channel};
use std::time::Duration;

use serde_json::Value;
use tracing_subscriber::EnvFilter;

use crate::panics;
pub use queue::LostLines;
use queue::{MAX_LINES, Queue};
pub use settings::{LogConfig, LogFormat};
use writer::Writer;

/// How long the end of the process waits for lines that are not written yet.
const FINISH_TIME: Duration = Duration::from_secs(1);

/// The log of this process, from its start to its end.
#[derive(Debug)]
pub struct Log {
    queue: Queue,
    /// Disconnected when the writing thread has ended.
    ended: Receiver<()>,
}

impl Log {
    /// Starts the log on standard error, also for panics, except those that are [caught](panics). A second start in one process keeps the first one's
    /// subscriber.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(config: &LogConfig) -> io::Result<Self> {
        let (sender, lines) = sync_channel(MAX_LINES);
        let queue = Queue::new(sender);
        let (running, ended) = channel();
        let writer = Writer::new(io::stderr(), config.format, queue.state());
        std::thread::Builder::new().name("log".to_owned()).spawn(move || {
            writer.run(&lines);
            drop(running);
        })?;
        subscribe(config, queue.clone());
        let (format, lines) = (config.format, queue.clone());
        std::panic::set_hook(Box::new(move |info| {
            if !panics::is_guarded() {
                lines.push(panic_line(format, info).into_bytes());
            }
        }));
        Ok(Self { queue, ended })
    }

    /// Returns a handle that tells how many lines were lost.
    #[must_use]
    pub fn lost_lines(&self) -> LostLines {
        self.queue.lost_lines()
    }

    /// Waits until all lines are written, for a second at most: standard error may take nothing.
    pub fn finish(self) {
        self.queue.close();
        // Nothing is ever sent: the writing thread ends, or the time is over.
        let _ = self.ended.recv_timeout(FINISH_TIME);
    }
}

fn subscribe(config: &LogConfig, queue: Queue) {
    // It has been tried when it was read.
    let filter = EnvFilter::try_new(&config.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(queue)
        // They would be printed to standard error, which may panic.
        .log_internal_errors(false);
    let _ = match config.format {
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
        LogFormat::Text => logs.with_ansi(false).try_init(),
    };
}

/// Formats the line about a panic without `tracing`: a panic within the panic hook would end the process.
fn panic_line(format: LogFormat, info: &PanicHookInfo<'_>) -> String {
    let at = info.location().map(ToString::to_string).unwrap_or_default();
    let fields = [("panic", Value::from(info.payload_as_str().unwrap_or("?"))), ("at", Value::from(at))];
    line::line(format, "ERROR", "panicked", &fields)
}

#[cfg(test)]
mod tests;
