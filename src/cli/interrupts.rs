//! SIGINT, SIGTERM and SIGHUP while the program waits for a task, or for a key to be typed.

use std::future::pending;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A signal that asks a program to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interrupt {
    /// Ctrl-C.
    Int,
    /// Sent by `kill`, a service manager or a time limit.
    Term,
    /// The terminal was closed, or its connection was lost.
    Hangup,
}

impl Interrupt {
    /// Returns the exit status of a program that this signal ended, as shells count: 128 plus the signal's number.
    pub(super) fn status(self) -> u8 {
        match self {
            Self::Hangup => 129,
            Self::Int => 130,
            Self::Term => 143,
        }
    }
}

/// A listener for the signals. While it exists, they do not end the program.
#[derive(Debug)]
pub(super) struct Interrupts {
    int: Signal,
    term: Signal,
    /// `None` if the program was started by `nohup`, which ignores this signal.
    hangup: Option<Signal>,
}

impl Interrupts {
    /// Starts to listen for the signals.
    pub(super) fn listen() -> io::Result<Self> {
        // Listening for SIGHUP would undo `nohup`.
        let about = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let hangup = if ignores_hangup(&about) { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self { int: signal(SignalKind::interrupt())?, term: signal(SignalKind::terminate())?, hangup })
    }

    /// Returns the next signal.
    pub(super) async fn next(&mut self) -> Interrupt {
        let Self { int, term, hangup } = self;
        let hangup = async {
            match hangup {
                Some(hangup) => hangup.recv().await,
                None => pending().await,
            }
        };
        tokio::select! {
            _ = int.recv() => Interrupt::Int,
            _ = term.recv() => Interrupt::Term,
            _ = hangup => Interrupt::Hangup,
        }
    }

    /// Returns the result of `work`, or the signal that arrived first.
    pub(super) async fn unless<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Interrupt> {
        tokio::select! {
            biased;
            interrupt = self.next() => Err(interrupt),
            done = work => Ok(done),
        }
    }
}

/// Returns true if a process ignores SIGHUP. `about` is Linux's description of the process. It has a set of ignored
/// signals, in which SIGHUP, the first signal, is the lowest bit.
fn ignores_hangup(about: &str) -> bool {
    let set = about.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).is_some_and(|set| set & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ignored_hangup_is_detected() {
        assert!(ignores_hangup("Name:\thearken\nSigIgn:\t0000000000001001\nSigCgt:\t0\n"));
        assert!(!ignores_hangup("Name:\thearken\nSigIgn:\t0000000000001000\nSigCgt:\t1\n"));
        assert!(!ignores_hangup(""));
    }
}
