//! Who is measured beside whom.

use std::fmt;

use super::workload::Workload;

/// One way to bring events to subscribers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// hearken as it is: the socket is handed over when a stream has begun.
    HandOver,
    /// hearken with `stream.hand_over = false`: the response's body is streamed to the end.
    Body,
    /// The floor, with one write for each event and subscriber.
    Floor,
    /// The floor, with one write for all that is due.
    FloorTogether,
    /// nginx with the nchan module.
    Nchan,
}

impl Side {
    pub(crate) const ALL: [Self; 5] =
        [Self::HandOver, Self::Body, Self::Floor, Self::FloorTogether, Self::Nchan];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::HandOver => "hand-over",
            Self::Body => "body",
            Self::Floor => "floor",
            Self::FloorTogether => "floor-c",
            Self::Nchan => "nchan",
        }
    }

    /// The sides that are meant by a name: one's own, or one of a server with several.
    pub(crate) fn named(name: &str) -> Vec<Self> {
        let is_meant = |side: &Self| match side {
            Self::HandOver | Self::Body => name == "hearken" || name == side.name(),
            Self::Floor | Self::FloorTogether => name == "floor" || name == side.name(),
            Self::Nchan => name == side.name(),
        };
        Self::ALL.into_iter().filter(is_meant).collect()
    }

    pub(crate) fn is_hearken(self) -> bool {
        matches!(self, Self::HandOver | Self::Body)
    }

    /// Does this side tell anything of such a workload? Where events come one by one there is nothing to write
    /// together, and who writes nothing does so in one way.
    pub(crate) fn suits(self, workload: &Workload) -> bool {
        /// Of one task, per second.
        const MANY: u64 = 100;
        self != Self::FloorTogether || workload.rate >= MANY
    }

    /// Lines of hearken's configuration.
    pub(crate) fn settings(self) -> &'static str {
        match self {
            Self::Body => "[stream]\nhand_over = false\n",
            Self::HandOver | Self::Floor | Self::FloorTogether | Self::Nchan => "",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
