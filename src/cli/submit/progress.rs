//! The progress on standard error while a task runs: one line that changes on a terminal, and one line per change
//! elsewhere.

use std::cell::Cell;
use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use rustix::termios::tcgetwinsize;

use super::format::size;
use crate::cli::terminal::harmless;

/// Interval of the updates of the line on a terminal.
const TICK: Duration = Duration::from_millis(120);

/// Columns that the line needs beside the message: for the spinner, and for a time up to `9999 s`.
const OTHER_COLUMNS: usize = 10;

/// The state of a task, as the user sees it.
#[derive(Debug, Clone, Copy)]
pub(super) enum ShownState {
    /// The client requests the list of models, or connects.
    Connecting,
    /// The request is being sent: the bytes sent so far, and all bytes.
    Uploading(u64, u64),
    /// The server could not accept the request; it is sent again after this time.
    Waiting(Duration),
    /// The task is queued.
    Queued,
    /// The model is running, and has sent no text.
    Thinking,
    /// Text is coming: the number of chunks and characters so far, and characters per second.
    Streaming { chunks: u64, characters: u64, rate: u64 },
}

impl ShownState {
    fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Uploading(..) => "uploading",
            Self::Waiting(_) => "waiting",
            Self::Queued => "queued",
            Self::Thinking => "thinking",
            Self::Streaming { .. } => "streaming",
        }
    }

    fn details(self) -> String {
        match self {
            Self::Uploading(sent, total) => {
                format!(" {} of {} ({} %)", size(sent), size(total), sent * 100 / total.max(1))
            }
            Self::Waiting(left) => format!(", again in {:.0} s", left.as_secs_f64().ceil()),
            Self::Streaming { chunks, characters, rate } => {
                format!(" {chunks} chunks, {characters} characters, {rate}/s")
            }
            Self::Connecting | Self::Queued | Self::Thinking => String::new(),
        }
    }
}

/// The display of the progress. Other code may write to the terminal only after [`ProgressDisplay::hide`].
#[derive(Debug)]
pub(super) struct ProgressDisplay {
    kind: Kind,
    shown: Cell<Option<&'static str>>,
}

#[derive(Debug)]
enum Kind {
    Silent,
    Lines,
    Line(ProgressBar),
}

impl ProgressDisplay {
    /// Returns the display that fits the kind of standard error.
    pub(super) fn new(quiet: bool) -> Self {
        let kind = match (quiet, is_terminal()) {
            (true, _) => Kind::Silent,
            (false, false) => Kind::Lines,
            (false, true) => Kind::Line(line()),
        };
        Self { kind, shown: Cell::new(None) }
    }

    /// Returns true if progress is shown.
    pub(super) fn is_shown(&self) -> bool {
        !matches!(self.kind, Kind::Silent)
    }

    /// Shows the state of the task.
    pub(super) fn show(&self, state: ShownState) {
        if matches!((&self.kind, state), (Kind::Lines, ShownState::Connecting | ShownState::Waiting(_))) {
            // A line of its own has already reported this.
            return;
        }
        let changed = self.shown.replace(Some(state.name())) != Some(state.name());
        match &self.kind {
            Kind::Silent => {}
            Kind::Lines => match state {
                ShownState::Uploading(_, total) if changed => {
                    self.note(format_args!("uploading {}", size(total)))
                }
                _ if changed => self.note(state.name()),
                _ => {}
            },
            Kind::Line(bar) => {
                let message = format!("{}{}", state.name(), state.details());
                bar.set_message(shortened(&message, columns()).to_owned());
                if changed {
                    bar.tick();
                }
            }
        }
    }

    /// Writes a permanent line, unless progress is hidden.
    pub(super) fn note(&self, line: impl Display) {
        if self.is_shown() {
            self.say(line);
        }
    }

    /// Writes a permanent line, even if progress is hidden. An error is ignored: the reader may have exited.
    pub(super) fn say(&self, line: impl Display) {
        // Much of this text comes from a server.
        let line = harmless(&line.to_string());
        let write = || {
            let _ = writeln!(std::io::stderr(), "{line}");
        };
        match &self.kind {
            Kind::Line(bar) => bar.suspend(write),
            Kind::Silent | Kind::Lines => write(),
        }
    }

    /// Removes the changing line, because other text is written to the terminal.
    pub(super) fn hide(&self) {
        if let Kind::Line(bar) = &self.kind
            && !bar.is_finished()
        {
            bar.finish_and_clear();
        }
    }

    /// Shows the changing line again.
    pub(super) fn show_again(&self) {
        if let Kind::Line(bar) = &self.kind
            && bar.is_finished()
        {
            bar.reset();
            bar.enable_steady_tick(TICK);
        }
    }
}

/// Returns true if standard error can show a line that changes.
pub(super) fn is_terminal() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|kind| kind != "dumb")
}

/// Returns the number of columns for the message.
fn columns() -> usize {
    let all = tcgetwinsize(std::io::stderr()).map_or(0, |size| size.ws_col);
    if all == 0 { usize::MAX } else { usize::from(all).saturating_sub(OTHER_COLUMNS) }
}

/// Returns as much of the message as fits the columns, because a line that wraps cannot be changed. The end is left out
/// first: the start matters most.
fn shortened(message: &str, columns: usize) -> &str {
    let mut shown = message;
    while shown.len() > columns
        && let Some((before, _)) = shown.rsplit_once(", ")
    {
        shown = before;
    }
    shown
}

fn line() -> ProgressBar {
    let started = Instant::now();
    let time = move |_: &ProgressState, text: &mut dyn std::fmt::Write| {
        let _ = write!(text, "{} s", started.elapsed().as_secs());
    };
    // The template is a constant and valid; the display must not stop the command even if it were not.
    let style = ProgressStyle::with_template("{spinner} {msg}  {time}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .tick_chars("|/-\\ ")
        .with_key("time", time);
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style);
    bar.enable_steady_tick(TICK);
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_shortened_to_a_narrow_terminal() {
        let state = ShownState::Streaming { chunks: 10, characters: 207, rate: 82 };
        let message = format!("{}{}", state.name(), state.details());
        assert_eq!(shortened(&message, 70), "streaming 10 chunks, 207 characters, 82/s");
        assert_eq!(shortened(&message, 40), "streaming 10 chunks, 207 characters");
        assert_eq!(shortened(&message, 30), "streaming 10 chunks");
        assert_eq!(shortened(&message, 3), "streaming 10 chunks");
    }
}
