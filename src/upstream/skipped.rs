//! Counts events that are skipped because they are not part of an answer.

/// Counts the skipped events of one call, and logs one line about them when the call ends.
#[derive(Debug, Default)]
pub(super) struct Skipped {
    count: u64,
    first: Option<&'static str>,
}

impl Skipped {
    /// Counts a skipped event. `what` names its kind and quotes nothing of it.
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
                "the upstream sent events that are not part of an answer; they were skipped"
            );
        }
    }
}
