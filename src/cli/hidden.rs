//! A terminal that does not show what the user types.

use std::io::{self, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Hides what is typed on the terminal of standard input until it is dropped. Every way out must drop it, or the
/// terminal stays like that.
pub(super) struct Hidden {
    before: Termios,
}

impl Hidden {
    /// Hides what is typed from now on.
    ///
    /// # Errors
    /// When standard input is not a terminal.
    pub(super) fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut hiding = before.clone();
        hiding.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &hiding)?;
        Ok(Self { before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // No other program may receive half a typed key: the input is flushed.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.before);
        // The end of the line was not shown either.
        let _ = writeln!(io::stderr());
    }
}
