//! SIGINT and SIGTERM while a task is waited for.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A signal that ends a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interrupt {
    /// Ctrl-C.
    Int,
    /// `kill`, a service manager, a time limit.
    Term,
}

impl Interrupt {
    /// The exit status of a program that ended for it, as shells count: 128 and the signal's number.
    pub(super) fn status(self) -> u8 {
        match self {
            Self::Int => 130,
            Self::Term => 143,
        }
    }
}

/// Takes the signals from here on: they end nothing by themselves any more.
#[derive(Debug)]
pub(super) struct Interrupts {
    int: Signal,
    term: Signal,
}

impl Interrupts {
    /// Begins to listen.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self { int: signal(SignalKind::interrupt())?, term: signal(SignalKind::terminate())? })
    }

    /// The next signal.
    pub(super) async fn next(&mut self) -> Interrupt {
        tokio::select! {
            _ = self.int.recv() => Interrupt::Int,
            _ = self.term.recv() => Interrupt::Term,
        }
    }

    /// What `work` comes to, unless a signal comes before.
    pub(super) async fn unless<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Interrupt> {
        tokio::select! {
            biased;
            interrupt = self.next() => Err(interrupt),
            done = work => Ok(done),
        }
    }
}
