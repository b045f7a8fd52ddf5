//! The audio a task carries: what it is and how it travels.

pub mod base64_reader;
pub mod container;
