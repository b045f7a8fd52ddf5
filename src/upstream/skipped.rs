//! What is skipped of an answer because it is no part of one.

/// Counts the events of one call that are skipped, and writes one line about them to the log when the call ends.
#[derive(Debug, Default)]
pub(super) struct Skipped {
    count: u64,
    first: Option<&'static str>,
}

impl Skipped {
    /// Skips an event. `what` names its kind and quotes nothing of it.
    pub(super) fn add(&mut self, what: &'static str) {
        self.count += 1;
        self.first.get_or_insert(what);
    }

    /// Returns true if an event was skipped.
    #[must_use]
    pub(super) fn any(&self) -> bool {
        self.count > 0
    }
}

impl Drop for Skipped {
    fn drop(&mut self) {
        if let Some(first) = self.first {
            tracing::info!(
                events = self.count,
                first,
                "the upstream sent events that are no part of an answer; they were skipped"
            );
        }
    }
}
