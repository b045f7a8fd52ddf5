//! Counts the published frames that have not been sent to the subscribers yet.

/// How far a group of subscribers is behind: the published frames that have not been sent to them yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Behind {
    /// Frames that are published and not yet written, summed over all subscribers.
    pub frames: usize,
    /// Frames that have not been sent to the slowest subscriber.
    pub most: usize,
    /// Number of subscribers to which a published frame has not been sent.
    pub subscribers: usize,
}

impl Behind {
    /// Counts a subscriber to which this many published frames have not been sent.
    pub fn add(&mut self, frames: usize) {
        self.frames += frames;
        self.most = self.most.max(frames);
        self.subscribers += usize::from(frames > 0);
    }

    /// Returns the counts of both groups together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            frames: self.frames + other.frames,
            most: self.most.max(other.most),
            subscribers: self.subscribers + other.subscribers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_subscriber_is_counted_beside_the_sum() {
        let (mut one, mut other) = (Behind::default(), Behind::default());
        one.add(0);
        one.add(7);
        other.add(2);
        assert_eq!(one.and(other), Behind { frames: 9, most: 7, subscribers: 2 });
    }
}
