//! A terminal that does not show what is typed.

use std::io::{self, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// While it is there, the terminal of standard input shows nothing of what is typed. Whatever ends the typing has to drop
/// it, or the terminal stays so.
pub(super) struct Hidden {
    before: Termios,
}

impl Hidden {
    /// Hides what is typed from now on.
    ///
    /// # Errors
    /// When standard input is no terminal.
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
        // Half a key that was typed is nobody else's either: it is flushed.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.before);
        // Nor was the end of the line shown.
        let _ = writeln!(io::stderr());
    }
}
