//! The log on standard error. A request never waits for the log's reader, and never fails if the log fails. Lost lines
//! are counted.
//!
//! Each line is put into a bounded [queue]; one thread [writes](writer) the lines. If standard error accepts nothing (a
//! pipe that is not read) or fails (a full disk, a reader that has ended), lines are lost and the server continues. As
//! soon as lines can be written again, a line states how many were lost.
//!
//! `tracing-appender` offers a similar queue. But if its queue is full at the end of the process, it prints to standard
//! output, and panics if standard output is closed. It also cannot write the line about lost lines.

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

/// The longest time for which the end of the process waits for unwritten lines.
const FINISH_TIME: Duration = Duration::from_secs(1);

/// The log of this process, from its start to its end.
#[derive(Debug)]
pub struct Log {
    queue: Queue,
    /// Disconnected when the writing thread has ended.
    ended: Receiver<()>,
}

impl Log {
    /// Starts the log on standard error. Panics are logged, too, except those that are [caught](panics). A second start
    /// in one process keeps the subscriber of the first one.
    ///
    /// # Errors
    /// Returns an error if the system cannot start a thread.
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

    /// Returns a handle that counts the lost lines.
    #[must_use]
    pub fn lost_lines(&self) -> LostLines {
        self.queue.lost_lines()
    }

    /// Waits until all lines are written, but at most for a second, because standard error may accept nothing.
    pub fn finish(self) {
        self.queue.close();
        // No value is ever sent. The wait ends when the writing thread ends or the time is over.
        let _ = self.ended.recv_timeout(FINISH_TIME);
    }
}

fn subscribe(config: &LogConfig, queue: Queue) {
    // The filter was checked when the settings were read.
    let filter = EnvFilter::try_new(&config.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(queue)
        // `tracing` would print its internal errors to standard error, which may panic.
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
