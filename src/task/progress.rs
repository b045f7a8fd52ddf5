//! The progress of a task, in percent. The progress that clients see never falls, even if another process resumes the
//! task.

/// Progress of a task that has begun to run and has no text yet.
const STARTED: u8 = 5;
/// Progress when the first text has arrived.
const ANSWERING: u8 = 20;
/// The most progress that is shown before the end, in percent.
pub const LAST_PROGRESS: u8 = 99;
/// Pieces of text after which progress is half way between the first piece and the end.
const HALF_WAY: f64 = 50.0;
/// Step of the progress that is shown and stored, in percent, for tasks whose progress another process cannot compute
/// from the chunks. Each step is a write to the store, and a few steps are enough.
const STEP: u8 = 10;

/// A task's progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    percent: u8,
    /// The step that was given to the store last. It is shown once the store has recorded it.
    due: u8,
    /// Pieces of text that have arrived.
    pieces: usize,
    source: ProgressSource,
}

/// The data from which the next process computes the task's progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProgressSource {
    /// The chunks of the stream, which are in the journal.
    Chunks,
    /// The steps that are recorded in the store.
    Steps,
}

impl Progress {
    /// Returns the progress of a task from the percentage in the store and, if it has a stream, from the number of its
    /// chunks.
    #[must_use]
    pub fn new(recorded_percent: u8, chunks: Option<usize>) -> Self {
        // The first chunk carries the role, each other chunk carries a piece of text.
        let pieces = chunks.unwrap_or(0).saturating_sub(1);
        let known = if chunks.is_some_and(|chunks| chunks > 0) { answering(pieces) } else { 0 };
        let source = if chunks.is_some() { ProgressSource::Chunks } else { ProgressSource::Steps };
        let percent = recorded_percent.max(known);
        Self { percent, due: percent, pieces, source }
    }

    /// Returns true if a run has begun, in this process or an earlier one. From then on the task is `processing`.
    #[must_use]
    pub fn has_begun(self) -> bool {
        self.percent > 0
    }

    /// Returns the progress in percent.
    #[must_use]
    pub fn percent(self) -> u8 {
        self.percent
    }

    /// Records that a run begins.
    pub fn begin(&mut self) {
        self.percent = self.percent.max(STARTED);
    }

    /// Counts a piece of text that has arrived. Returns the step that the store must record, if there is a new one.
    pub fn piece(&mut self) -> Option<u8> {
        self.pieces += 1;
        let percent = answering(self.pieces);
        match self.source {
            ProgressSource::Chunks => {
                self.percent = self.percent.max(percent);
                None
            }
            ProgressSource::Steps => self.reach(percent),
        }
    }

    /// Takes the progress that the upstream reports. Returns the step that the store must record, if there is a new
    /// one.
    pub fn reach(&mut self, percent: u8) -> Option<u8> {
        let percent = percent.min(LAST_PROGRESS);
        let step = percent - percent % STEP;
        if step <= self.percent.max(self.due) {
            return None;
        }
        self.due = step;
        Some(step)
    }

    /// Returns the progress of a task that ends, in percent. It includes the last step given to the store, because
    /// clients may see that step before they see the end.
    #[must_use]
    pub fn at_end(self) -> u8 {
        self.percent.max(self.due)
    }

    /// Shows a step that is durable now. Another process will not show less.
    pub fn recorded(&mut self, step: u8) {
        self.percent = self.percent.max(step);
    }
}

/// Returns the progress after this many pieces of text. The total is unknown, so progress comes ever closer to the end
/// and never reaches it.
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
        fn progress_never_falls_or_reaches_100_even_over_a_crash(
            journalled: bool,
            events in prop::collection::vec(prop::option::of(0u8..=200), 0..200),
            crash: prop::sample::Index,
        ) {
            let mut progress = Progress::new(0, journalled.then_some(0));
            progress.begin();
            let (mut shown, mut recorded_percent, mut chunks) = (progress.percent(), 0, 0);
            let crash = crash.index(events.len() + 1);
            for (number, event) in events.into_iter().enumerate() {
                if number == crash {
                    progress = Progress::new(recorded_percent, journalled.then_some(chunks));
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
                    recorded_percent = step;
                    progress.recorded(step);
                }
                prop_assert!(progress.percent() >= shown && progress.percent() < 100);
                shown = progress.percent();
            }
        }
    }

    #[test]
    fn the_store_gets_few_steps_of_progress() {
        let mut progress = Progress::new(0, None);
        let steps: Vec<u8> = (0..10_000).filter_map(|_| progress.piece()).collect();
        assert_eq!(steps, [20, 30, 40, 50, 60, 70, 80, 90]);
    }
}
