//! What a room needs to read its keys of the configuration: it takes them from a table that several rooms share, checks
//! their values, and says what is wrong with one and where it stands.
//!
//! A room has a struct of [`Keys`], all of them optional, and makes its settings of them in a [`Section`]. What is wrong
//! is a [`Problem`]. The configuration assembles the rooms' keys, and tells problems with the place where a value was set.

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
