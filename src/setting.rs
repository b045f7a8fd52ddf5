//! Tools for modules that read keys of the configuration. A module takes its keys from a table that several modules
//! share, checks their values, and reports what is wrong with a value and for which key.
//!
//! A module has a struct of [`Keys`], all of them optional, and makes its settings from them with a [`Section`]. A
//! mistake is a [`Problem`]. The configuration assembles the keys of all modules, and reports problems with the place
//! where the value was set.

mod near;
mod number;
mod problem;
mod reading;
mod section;
mod unread;
mod variables;

pub use near::nearest;
pub use number::whole;
pub use problem::{Found, Problem, Subject, Wanted, What};
pub use reading::{Keys, names};
pub use section::{Section, distinct_names};
pub use unread::Unread;
pub use variables::{NotText, Variables};
