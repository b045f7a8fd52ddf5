//! How far a task has come, in percent: what clients are shown never falls, also when another process goes on
//! with the task.

/// Progress of a task that runs and of which nothing else is known.
const STARTED: u8 = 5;
/// Progress when the first text has come.
const ANSWERING: u8 = 20;
/// The most progress that is shown before the end, in percent.
pub const LAST_PROGRESS: u8 = 99;
/// Pieces of text after which progress is half way from the first one to the end.
const HALF_WAY: f64 = 50.0;
/// Where another process cannot work progress out from the chunks, it is shown, and remembered, in steps of
/// so many percent: each is written to the store, and few are enough.
const STEP: u8 = 10;

/// A task's progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    percent: u8,
    /// The step that was given to the store last, and is shown once the store has it.
    due: u8,
    /// Pieces of text that have come.
    pieces: usize,
    memory: Memory,
}

/// How the next process will know how far the task has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Memory {
    /// The pieces are journalled, as the chunks of a stream.
    Chunks,
    /// It is remembered in steps.
    Steps,
}

impl Progress {
    /// Returns the progress of a task of which so much is remembered, and that has so many chunks, if it has a stream.
    #[must_use]
    pub fn new(remembered: u8, chunks: Option<usize>) -> Self {
        // The first chunk carries the role, each other a piece of text.
        let pieces = chunks.unwrap_or(0).saturating_sub(1);
        let known = if chunks.is_some_and(|chunks| chunks > 0) { answering(pieces) } else { 0 };
        let memory = if chunks.is_some() { Memory::Chunks } else { Memory::Steps };
        let percent = remembered.max(known);
        Self { percent, due: percent, pieces, memory }
    }

    /// True if a run has begun, in this process or an earlier one. From then on the task is `processing`.
    #[must_use]
    pub fn has_begun(self) -> bool {
        self.percent > 0
    }

    /// In percent.
    #[must_use]
    pub fn percent(self) -> u8 {
        self.percent
    }

    /// A run begins.
    pub fn begin(&mut self) {
        self.percent = self.percent.max(STARTED);
    }

    /// A piece of text has come. Returns what is to be recorded, if that has changed.
    pub fn piece(&mut self) -> Option<u8> {
        self.pieces += 1;
        let percent = answering(self.pieces);
        match self.memory {
            Memory::Chunks => {
                self.percent = self.percent.max(percent);
                None
            }
            Memory::Steps => self.reach(percent),
        }
    }

    /// The upstream says how far it is. Returns what is to be recorded, if that has changed.
    pub fn reach(&mut self, percent: u8) -> Option<u8> {
        let percent = percent.min(LAST_PROGRESS);
        let step = percent - percent % STEP;
        if step <= self.percent.max(self.due) {
            return None;
        }
        self.due = step;
        Some(step)
    }

    /// Returns how far a task has come that ends, in percent: what was given to the store may be shown before the end is.
    #[must_use]
    pub fn at_end(self) -> u8 {
        self.percent.max(self.due)
    }

    /// A step is durable: what is shown of it does not fall in another process.
    pub fn recorded(&mut self, step: u8) {
        self.percent = self.percent.max(step);
    }
}

/// Progress after so many pieces of text: how many there will be nobody knows, so it comes ever closer to
/// the end without reaching it.
fn answering(pieces: usize) -> u8 {
    let share = pieces as f64 / (pieces as f64 + HALF_WAY);
    (f64::from(ANSWERING) + share * f64::from(LAST_PROGRESS - ANSWERING)) as u8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn progress_never_falls_nor_arrives_also_over_a_crash(
            journalled: bool,
            events in prop::collection::vec(prop::option::of(0u8..=200), 0..200),
            crash: prop::sample::Index,
        ) {
            let mut progress = Progress::new(0, journalled.then_some(0));
            progress.begin();
            let (mut shown, mut remembered, mut chunks) = (progress.percent(), 0, 0);
            let crash = crash.index(events.len() + 1);
            for (number, event) in events.into_iter().enumerate() {
                if number == crash {
                    progress = Progress::new(remembered, journalled.then_some(chunks));
                    progress.begin();
                    prop_assert!(progress.percent() >= shown);
                }
                let step = match event {
                    None => {
                        chunks = chunks.max(1) + 1;
                        progress.piece()
                    }
                    Some(percent) => progress.reach(percent),
                };
                if let Some(step) = step {
                    prop_assert!(progress.percent() < step && progress.at_end() == step);
                    remembered = step;
                    progress.recorded(step);
                }
                prop_assert!(progress.percent() >= shown && progress.percent() < 100);
                shown = progress.percent();
            }
        }
    }

    #[test]
    fn little_is_remembered() {
        let mut progress = Progress::new(0, None);
        let steps: Vec<u8> = (0..10_000).filter_map(|_| progress.piece()).collect();
        assert_eq!(steps, [20, 30, 40, 50, 60, 70, 80, 90]);
    }
}
