//! The sides that are measured beside each other.

use std::fmt;

use super::workload::Workload;

/// One way to deliver events to subscribers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// hearken with its defaults: the socket is handed over when a stream has begun.
    HandOver,
    /// hearken with `stream.hand_over = false`: the response's body is streamed to the end.
    StreamedBody,
    /// The floor, with one write for each event and subscriber.
    Floor,
    /// The floor, with one write for all due events.
    FloorTogether,
    /// nginx with the nchan module.
    Nchan,
}

impl Side {
    pub(crate) const ALL: [Self; 5] =
        [Self::HandOver, Self::StreamedBody, Self::Floor, Self::FloorTogether, Self::Nchan];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::HandOver => "hand-over",
            Self::StreamedBody => "body",
            Self::Floor => "floor",
            Self::FloorTogether => "floor-c",
            Self::Nchan => "nchan",
        }
    }

    /// Returns the sides that a name means: the name of one side, or of a server with several sides.
    pub(crate) fn named(name: &str) -> Vec<Self> {
        let is_meant = |side: &Self| match side {
            Self::HandOver | Self::StreamedBody => name == "hearken" || name == side.name(),
            Self::Floor | Self::FloorTogether => name == "floor" || name == side.name(),
            Self::Nchan => name == side.name(),
        };
        Self::ALL.into_iter().filter(is_meant).collect()
    }

    pub(crate) fn is_hearken(self) -> bool {
        matches!(self, Self::HandOver | Self::StreamedBody)
    }

    /// Returns true if a workload measures anything about this side. Where events come one by one, no writes can
    /// be combined, and an idle workload has no writes.
    pub(crate) fn suits(self, workload: &Workload) -> bool {
        /// Events of one task, per second.
        const MANY: u64 = 100;
        self != Self::FloorTogether || workload.rate >= MANY
    }

    /// Returns lines of hearken's configuration.
    pub(crate) fn settings(self) -> &'static str {
        match self {
            Self::StreamedBody => "[stream]\nhand_over = false\n",
            Self::HandOver | Self::Floor | Self::FloorTogether | Self::Nchan => "",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
