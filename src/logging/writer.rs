//! The thread that writes the lines of the log. It continues after an error of standard error.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;

use super::LogFormat;
use super::line;
use super::queue::State;

/// The interval between two reports of lost lines, while other lines are written without a pause.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Writes lines until the queue is closed.
pub(super) struct Writer<W> {
    out: W,
    format: LogFormat,
    state: Arc<State>,
    /// True if the last line was written only in part. The next line then begins with a line break.
    is_unfinished: bool,
    last_report: Instant,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(out: W, format: LogFormat, state: Arc<State>) -> Self {
        Self { out, format, state, is_unfinished: false, last_report: Instant::now() }
    }

    /// Writes the lines of the queue until it is closed and empty.
    pub(super) fn run(mut self, lines: &Receiver<Vec<u8>>) {
        loop {
            let line = match lines.try_recv() {
                Ok(line) => line,
                Err(TryRecvError::Disconnected) => return,
                Err(TryRecvError::Empty) => {
                    self.report_lost();
                    if self.state.is_closed() {
                        return;
                    }
                    let Ok(line) = lines.recv() else { return };
                    line
                }
            };
            self.state.taken(line.len());
            if !self.write(&line) {
                self.state.count_lost();
            }
            if self.last_report.elapsed() > REPORT_INTERVAL {
                self.report_lost();
            }
        }
    }

    /// Writes one line that reports the lost lines, if there are any. If this line cannot be written, the next call
    /// reports them.
    fn report_lost(&mut self) {
        self.last_report = Instant::now();
        let lost = self.state.unreported();
        if lost == 0 {
            return;
        }
        let message = "log lines were lost, because standard error was not read or could not be written to";
        if self.write(line::line(self.format, "WARN", message, &[("lines", Value::from(lost))]).as_bytes()) {
            self.state.reported(lost);
        }
    }

    /// Writes a line. Returns false if it could not be written.
    fn write(&mut self, line: &[u8]) -> bool {
        if self.is_unfinished && self.write_all(b"\n").is_ok() {
            self.is_unfinished = false;
        }
        !self.is_unfinished && self.write_all(line).is_ok()
    }

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), ErrorKind> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.out.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero),
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(err) if err.kind() == ErrorKind::Interrupted => {}
                // Another program that shares the terminal or pipe may have made it non-blocking.
                Err(err) if err.kind() == ErrorKind::WouldBlock => wait_for_room(),
                Err(err) => {
                    self.is_unfinished |= rest.len() < bytes.len();
                    return Err(err.kind());
                }
            }
        }
        Ok(())
    }
}

/// Waits until standard error accepts data, for a second at most.
fn wait_for_room() {
    let second = Timespec { tv_sec: 1, tv_nsec: 0 };
    let stderr = io::stderr();
    let mut stderr = [PollFd::new(&stderr, PollFlags::OUT)];
    if poll(&mut stderr, Some(&second)).is_err() {
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;
    use std::sync::mpsc::sync_channel;

    use super::*;
    use crate::logging::queue::Queue;

    /// A writer that follows a script. Each write accepts the number of bytes in the script, or fails. After the end of
    /// the script, each write accepts all bytes.
    #[derive(Clone, Default)]
    struct Script(Arc<Mutex<Played>>);

    /// The rest of the script, and the bytes that were written.
    type Played = (VecDeque<io::Result<usize>>, Vec<u8>);

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (script, written) = &mut *self.0.lock().unwrap();
            let taken = script.pop_front().unwrap_or(Ok(bytes.len()))?.min(bytes.len());
            written.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(script: impl IntoIterator<Item = io::Result<usize>>, lines: &[&str]) -> (Vec<String>, u64) {
        let (sender, receiver) = sync_channel(16);
        let queue = Queue::new(sender);
        lines.iter().for_each(|line| queue.push(format!("{line}\n").into_bytes()));
        queue.close();
        let out = Script::default();
        out.0.lock().unwrap().0.extend(script);
        Writer::new(out.clone(), LogFormat::Text, queue.state()).run(&receiver);
        let text = String::from_utf8(out.0.lock().unwrap().1.clone()).unwrap();
        (text.lines().map(str::to_owned).collect(), queue.lost_lines().count())
    }

    fn failure(kind: ErrorKind) -> io::Result<usize> {
        Err(kind.into())
    }

    #[test]
    fn a_line_is_written_completely_even_if_each_write_takes_little() {
        let script = [Ok(1), failure(ErrorKind::Interrupted), failure(ErrorKind::WouldBlock), Ok(2)];
        assert_eq!(written(script, &["one", "two"]), (vec!["one".to_owned(), "two".to_owned()], 0));
    }

    #[test]
    fn lost_lines_are_reported_once_the_writer_works_again() {
        let script = [failure(ErrorKind::StorageFull), failure(ErrorKind::StorageFull)];
        let (lines, lost) = written(script, &["one", "two", "three"]);
        assert_eq!((lines[0].as_str(), lines.len(), lost), ("three", 2, 2));
        assert!(lines[1].contains("log lines were lost") && lines[1].ends_with("lines=2"), "{lines:?}");
    }

    #[test]
    fn a_line_after_a_partly_written_one_begins_on_a_new_line() {
        let (lines, lost) = written([Ok(2), failure(ErrorKind::StorageFull)], &["one", "two"]);
        assert_eq!((lines[0].as_str(), lines[1].as_str(), lines.len(), lost), ("on", "two", 3, 1));
    }

    #[test]
    fn a_writer_that_always_fails_ends_with_its_queue() {
        let script = std::iter::repeat_with(|| failure(ErrorKind::BrokenPipe)).take(100);
        assert_eq!(written(script, &["one", "two"]), (Vec::new(), 2));
    }
}
