//! Hides what the user types on the terminal.

use std::io::{self, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Hides what is typed on the terminal of standard input until this value is dropped. If the program exits without the
/// drop, the terminal still hides it.
pub(super) struct HiddenInput {
    before: Termios,
}

impl HiddenInput {
    /// Starts to hide what is typed.
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

impl Drop for HiddenInput {
    fn drop(&mut self) {
        // The unread input is discarded, so that no other program receives a part of a key.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.before);
        // The line break that the user typed was hidden, too.
        let _ = writeln!(io::stderr());
    }
}
