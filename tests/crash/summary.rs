//! The results of a run, as one block of text.

use std::fmt;
use std::time::Duration;

/// All counts of a run.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) rounds: u64,
    pub(crate) kills: u64,
    pub(crate) drains: u64,
    pub(crate) restarts: u64,
    pub(crate) submitted: u64,
    pub(crate) acknowledged: u64,
    pub(crate) never_accepted: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
    pub(crate) runs_used_up: u64,
    pub(crate) caller_gone: u64,
    pub(crate) interrupted_with_chunks: u64,
    pub(crate) forgotten: u64,
    pub(crate) run_again: u64,
    pub(crate) lost: u64,
    pub(crate) two_outcomes: u64,
    pub(crate) audio_left: u64,
    pub(crate) slots_held: u64,
    pub(crate) frames_compared: u64,
    pub(crate) upstream_calls: u64,
    pub(crate) time: Duration,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = [
            ("rounds", self.rounds),
            ("kills", self.kills),
            ("drains", self.drains),
            ("restarts", self.restarts),
            ("tasks submitted", self.submitted),
            ("  acknowledged", self.acknowledged),
            ("  never accepted", self.never_accepted),
            ("  completed", self.completed),
            ("  failed by the upstream", self.failed),
            ("  cancelled", self.cancelled),
            ("  interrupted with chunks", self.interrupted_with_chunks),
            ("  interrupted, runs used up", self.runs_used_up),
            ("  interrupted, caller gone", self.caller_gone),
            ("  run again", self.run_again),
            ("  deleted in their time", self.forgotten),
            ("lost", self.lost),
            ("double outcomes", self.two_outcomes),
            ("frames compared", self.frames_compared),
            ("upstream calls", self.upstream_calls),
            ("audio files left behind", self.audio_left),
            ("slots held", self.slots_held),
        ];
        for (name, count) in lines {
            writeln!(f, "{name:<28}{count:>10}")?;
        }
        write!(f, "{:<28}{:>10.1} s", "time", self.time.as_secs_f64())
    }
}
