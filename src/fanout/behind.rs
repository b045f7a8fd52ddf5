//! How far the subscribers are behind what is published.

/// How far subscribers are behind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Behind {
    /// Frames that are published and not yet written, of all subscribers together.
    pub frames: usize,
    /// The frames that the slowest subscriber has still to get.
    pub most: usize,
    /// How many subscribers have any still to get.
    pub subscribers: usize,
}

impl Behind {
    /// Counts a subscriber that has still to get so many frames.
    pub fn add(&mut self, frames: usize) {
        self.frames += frames;
        self.most = self.most.max(frames);
        self.subscribers += usize::from(frames > 0);
    }

    /// Returns the sum of both.
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
    fn the_slowest_subscriber_is_told_beside_the_sum() {
        let (mut one, mut other) = (Behind::default(), Behind::default());
        one.add(0);
        one.add(7);
        other.add(2);
        assert_eq!(one.and(other), Behind { frames: 9, most: 7, subscribers: 2 });
    }
}
