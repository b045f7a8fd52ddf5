//! hearken: audio understanding as asynchronous tasks.

pub mod audio;
pub mod inspect;
