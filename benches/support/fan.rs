//! The modules of `fan_out` and `tasks`: workloads, the sides that are measured on them, and the table of findings.

pub(crate) mod figures;
pub(crate) mod floor;
pub(crate) mod gemini;
pub(crate) mod measure;
pub(crate) mod nchan;
pub(crate) mod options;
pub(crate) mod part;
pub(crate) mod poster;
pub(crate) mod publishing;
pub(crate) mod round;
pub(crate) mod row;
pub(crate) mod schedule;
pub(crate) mod setup;
pub(crate) mod side;
pub(crate) mod subscriber;
pub(crate) mod subscribers;
pub(crate) mod table;
pub(crate) mod workload;
