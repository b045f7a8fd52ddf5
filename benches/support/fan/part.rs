//! The parts that the processes of these benchmarks have.

use serde::{Deserialize, Serialize};

use super::super::Outcome;
use super::super::helper::Director;
use super::floor::Floor;
use super::gemini::Upstream;
use super::poster::Poster;
use super::subscribers::Subscribers;

/// The part of one process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Part {
    Upstream(Upstream),
    Subscribers(Subscribers),
    Floor(Floor),
    Poster(Poster),
}

impl Part {
    pub(crate) fn play(self, director: &Director) -> Outcome<()> {
        match self {
            Self::Upstream(upstream) => upstream.play(director),
            Self::Subscribers(subscribers) => subscribers.play(director),
            Self::Floor(floor) => floor.play(director),
            Self::Poster(poster) => poster.play(director),
        }
    }
}
