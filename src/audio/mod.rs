//! The audio a task carries: where it comes from, what it is and how it travels.

pub mod address;
pub mod base64_reader;
pub mod base64_text;
pub mod container;
pub mod data_uri;
pub mod gate;
pub mod source;
