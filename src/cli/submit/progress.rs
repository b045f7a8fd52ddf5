//! What standard error shows while a task is waited for: one line that changes on a terminal, a line at each change
//! anywhere else.

use std::cell::Cell;
use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use rustix::termios::tcgetwinsize;

use super::format::size;
use crate::cli::terminal::harmless;

/// How often the line on a terminal moves.
const TICK: Duration = Duration::from_millis(120);

/// What the line holds besides the message, in columns: the wheel, and a time up to `9999 s`.
const BESIDE: usize = 10;

/// Where a task is, as its user sees it.
#[derive(Debug, Clone, Copy)]
pub(super) enum State {
    /// The server is asked what there is.
    Connecting,
    /// Bytes of the request that have gone, of all.
    Uploading(u64, u64),
    /// The server could not take it; it is asked again when this has passed.
    Waiting(Duration),
    /// The task waits.
    Queued,
    /// The model is at work, and has said nothing.
    Thinking,
    /// Text comes: so many chunks and characters so far, and characters a second.
    Streaming { chunks: u64, characters: u64, rate: u64 },
}

impl State {
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

/// The display. Others may write to the terminal only after [`Progress::make_way`].
#[derive(Debug)]
pub(super) struct Progress {
    kind: Kind,
    shown: Cell<Option<&'static str>>,
}

#[derive(Debug)]
enum Kind {
    Silent,
    Lines,
    Line(ProgressBar),
}

impl Progress {
    /// A display that fits what standard error is.
    pub(super) fn new(quiet: bool) -> Self {
        let kind = match (quiet, is_terminal()) {
            (true, _) => Kind::Silent,
            (false, false) => Kind::Lines,
            (false, true) => Kind::Line(line()),
        };
        Self { kind, shown: Cell::new(None) }
    }

    /// Returns true if progress is shown.
    pub(super) fn is_seen(&self) -> bool {
        !matches!(self.kind, Kind::Silent)
    }

    /// Shows where the task is.
    pub(super) fn show(&self, state: State) {
        if matches!((&self.kind, state), (Kind::Lines, State::Connecting | State::Waiting(_))) {
            // What a line is worth of it has been told.
            return;
        }
        let changed = self.shown.replace(Some(state.name())) != Some(state.name());
        match &self.kind {
            Kind::Silent => {}
            Kind::Lines => match state {
                State::Uploading(_, total) if changed => self.note(format_args!("uploading {}", size(total))),
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

    /// Writes a line that stays, unless nothing is to be seen.
    pub(super) fn note(&self, line: impl Display) {
        if self.is_seen() {
            self.say(line);
        }
    }

    /// Writes a line that stays, in any case. Whoever read it may have gone.
    pub(super) fn say(&self, line: impl Display) {
        // Much of what is told is a server's words.
        let line = harmless(&line.to_string());
        let write = || {
            let _ = writeln!(std::io::stderr(), "{line}");
        };
        match &self.kind {
            Kind::Line(bar) => bar.suspend(write),
            Kind::Silent | Kind::Lines => write(),
        }
    }

    /// The line that changes goes: something else is written to the terminal.
    pub(super) fn make_way(&self) {
        if let Kind::Line(bar) = &self.kind
            && !bar.is_finished()
        {
            bar.finish_and_clear();
        }
    }

    /// The line is there again: the terminal is its own.
    pub(super) fn come_back(&self) {
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

/// How many columns there are for what is shown, besides the time.
fn columns() -> usize {
    let all = tcgetwinsize(std::io::stderr()).map_or(0, |size| size.ws_col);
    if all == 0 { usize::MAX } else { usize::from(all).saturating_sub(BESIDE) }
}

/// As much of it as so many columns hold: a line that wraps would not change any more. What comes first says most.
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
    // The template is known to be one; a display is no reason to fail.
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
    fn a_narrow_terminal_is_shown_what_it_has_room_for() {
        let state = State::Streaming { chunks: 10, characters: 207, rate: 82 };
        let message = format!("{}{}", state.name(), state.details());
        assert_eq!(shortened(&message, 70), "streaming 10 chunks, 207 characters, 82/s");
        assert_eq!(shortened(&message, 40), "streaming 10 chunks, 207 characters");
        assert_eq!(shortened(&message, 30), "streaming 10 chunks");
        assert_eq!(shortened(&message, 3), "streaming 10 chunks");
    }
}
