//! Tools for modules that read keys of the configuration. A module takes its keys from a table that several modules
//! share, checks their values, and reports what is wrong with a value and for which key.
//!
//! The keys of a module are a struct that implements [`Keys`]; all of its fields are optional. The module checks them
//! with a [`Section`] and makes its settings from them. A mistake is a [`Problem`]. The configuration assembles the
//! keys of all modules, and reports each problem with the place where the value was set.

mod near;
mod number;
mod problem;
mod reading;
mod section;
mod unread;
mod variables;

pub use near::nearest;
pub use number::whole_number;
pub use problem::{FoundValue, Mistake, NeededType, Problem, Subject};
pub use reading::{Keys, names};
pub use section::{Section, distinct_names};
pub use unread::UnreadSection;
pub use variables::{NotText, Variables};
