//! The script of the fake upstream for a task. It is sent in the task's prompt, so that the plan, the upstream and the
//! oracle know the same without communication.

use serde::{Deserialize, Serialize};

/// What the upstream does for one task, the same in each of its runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Script {
    /// The task's name in this simulation.
    pub(crate) token: String,
    /// [`checksum`] of the audio that must arrive.
    pub(crate) audio: u64,
    /// True if the first call of each process is refused with a short retry delay. Such a call costs nothing and is not
    /// counted.
    pub(crate) stumbles: bool,
    /// What comes before the head of the answer.
    pub(crate) before: Pause,
    /// How many events with text there are.
    pub(crate) pieces: u32,
    /// The time between two events, in milliseconds.
    pub(crate) pause_ms: u64,
    /// The piece before which it waits until it is released.
    pub(crate) holds_at: Option<u32>,
    pub(crate) end: End,
}

/// A time in which nothing is sent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Pause {
    Millis(u64),
    UntilReleased,
}

/// How an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum End {
    /// It ends with `STOP`.
    Finish,
    /// The connection closes within the body.
    Cut,
    /// It ends with an error event.
    Fault,
    /// There are no events: the answer is an HTTP error.
    Status(u16),
}

impl Script {
    /// Returns the text of one event.
    pub(crate) fn piece(&self, number: u32) -> String {
        format!("{} says \"{number}\",\u{e9}\n", self.token)
    }

    /// Returns the whole answer's text.
    pub(crate) fn text(&self) -> String {
        (0..self.pieces).map(|number| self.piece(number)).collect()
    }

    /// Returns the error code with which the task fails, or `None` if it completes.
    pub(crate) fn failure(&self) -> Option<&'static str> {
        match self.end {
            End::Finish => None,
            End::Cut => Some("upstream_disconnected"),
            End::Status(400) => Some("upstream_rejected"),
            End::Status(429) => Some("upstream_rate_limited"),
            End::Fault | End::Status(_) => Some("upstream_error"),
        }
    }
}

/// Returns a number that distinguishes texts (FNV-1a).
pub(crate) fn checksum(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
