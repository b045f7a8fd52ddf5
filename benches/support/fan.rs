//! What `fan_out` and `tasks` are made of: workloads, the sides that are measured on them, and the table of what was
//! found.

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
pub(crate) mod side;
pub(crate) mod stage;
pub(crate) mod subscriber;
pub(crate) mod subscribers;
pub(crate) mod table;
pub(crate) mod workload;
