//! hearken: audio understanding as asynchronous tasks.

pub mod actors;
pub mod api;
pub mod audio;
pub mod channel;
pub mod cli;
pub mod config;
pub mod error;
pub mod inspect;
pub mod keys;
pub mod server;
pub mod store;
pub mod task;
pub mod upstream;
pub mod wire;
