//! The output of an answer: its text on standard output as it comes, its reasoning on standard error.

use std::io::{self, IsTerminal as _, Write as _};
use std::slice;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::{AsyncWriteExt as _, Stdout};
use tokio::time::sleep;

use super::progress::{self, ProgressDisplay};
use crate::cli::terminal::{harmless, harmless_json};

const DIM: &str = "\u{1b}[2m";
const PLAIN: &str = "\u{1b}[0m";

/// Interval of the checks whether standard output still has a reader. Without them, only a write would reveal it.
const READER_CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// The output of one answer.
#[derive(Debug)]
pub(super) struct AnswerOutput<'a> {
    /// Standard output. Another thread writes to it, so that a reader that does not read delays no signal.
    out: Stdout,
    progress: &'a ProgressDisplay,
    to_terminal: bool,
    errors_to_terminal: bool,
    /// True if text and progress share a screen.
    shared: bool,
    dims: bool,
    /// The state of the text's last line, and that of the reasoning's last line.
    text: Line,
    reasoning: Line,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Fresh,
    Begun,
}

impl Line {
    fn behind(self, text: &str) -> Self {
        match text.chars().next_back() {
            None => self,
            Some('\n') => Self::Fresh,
            Some(_) => Self::Begun,
        }
    }
}

impl<'a> AnswerOutput<'a> {
    pub(super) fn new(progress: &'a ProgressDisplay) -> Self {
        let to_terminal = io::stdout().is_terminal();
        let errors_to_terminal = io::stderr().is_terminal();
        let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            out: tokio::io::stdout(),
            progress,
            to_terminal,
            errors_to_terminal,
            shared: to_terminal && errors_to_terminal,
            dims: progress::is_terminal() && colours,
            text: Line::Fresh,
            reasoning: Line::Fresh,
        }
    }

    /// Returns true if this error of standard output means that its reader has exited. For other errors, such as a full
    /// disk, the task need not be cancelled.
    pub(super) fn is_reader_gone(&self, err: &io::Error) -> bool {
        // A terminal that cannot be written to has been closed.
        self.to_terminal || err.kind() == io::ErrorKind::BrokenPipe
    }

    /// Writes text of the answer at once.
    ///
    /// # Errors
    /// When standard output cannot be written to.
    pub(super) async fn text(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.end_reasoning();
        if self.shared {
            self.progress.hide();
        } else {
            self.progress.show_again();
        }
        self.text = self.text.behind(text);
        if self.to_terminal {
            self.write(harmless(text).as_bytes()).await
        } else {
            self.write(text.as_bytes()).await
        }
    }

    /// Writes reasoning.
    pub(super) fn reasoning(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        self.progress.hide();
        self.reasoning = self.reasoning.behind(text);
        let mut errors = io::stderr();
        // An error is ignored: only the answer matters.
        let _ = if self.dims {
            write!(errors, "{DIM}{}{PLAIN}", harmless(text))
        } else if self.errors_to_terminal {
            write!(errors, "{}", harmless(text))
        } else {
            write!(errors, "{text}")
        };
        let _ = errors.flush();
    }

    /// Ends the last line of the reasoning, because other output follows.
    pub(super) fn end_reasoning(&mut self) {
        if self.reasoning == Line::Begun {
            self.reasoning = Line::Fresh;
            let _ = writeln!(io::stderr());
        }
    }

    /// Ends unfinished lines, so that standard error continues on a new line.
    pub(super) fn end_lines(&mut self) {
        self.end_reasoning();
        if self.shared && self.text == Line::Begun {
            self.text = Line::Fresh;
            let _ = writeln!(io::stderr());
        }
    }

    /// Ends the last line of the text.
    ///
    /// # Errors
    /// As [`AnswerOutput::text`].
    pub(super) async fn end(&mut self) -> io::Result<()> {
        self.end_reasoning();
        if self.text == Line::Begun {
            self.text = Line::Fresh;
            self.write(b"\n").await?;
        }
        Ok(())
    }

    /// Writes one line: an id, or JSON.
    ///
    /// # Errors
    /// As [`AnswerOutput::text`].
    pub(super) async fn line(&mut self, line: &str) -> io::Result<()> {
        self.end_reasoning();
        if self.shared {
            self.progress.hide();
        }
        let line = if self.to_terminal { harmless_json(line) } else { line.to_owned() };
        self.write(format!("{line}\n").as_bytes()).await
    }

    /// Returns once standard output has no reader any more.
    pub(super) async fn reader_exit(&self) {
        while !has_no_reader() {
            sleep(READER_CHECK_INTERVAL).await;
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes).await?;
        self.out.flush().await
    }
}

/// Returns true if every reader of standard output has exited.
fn has_no_reader() -> bool {
    let out = io::stdout();
    // No event is requested, because `poll` always reports errors and hang-ups.
    let mut polled = PollFd::new(&out, PollFlags::empty());
    let message = poll(slice::from_mut(&mut polled), Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    message.is_ok() && polled.revents().intersects(PollFlags::ERR | PollFlags::HUP)
}
